"""Select the shapes that a model has not seen, by the card beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..shapes.folders import digest
from ..shapes.splits import PARTS, interleaved

TRAINED_PER_SHAPE = 10  # training shapes at most that baselines take, for each shape to evaluate


@dataclass(frozen=True)
class Selection:
    """
    The shapes to evaluate a model on, and those that its baselines may know.

    Attributes
    ----------
    chosen : (n,) int array
        Indices of the shapes to evaluate on.
    which : str
        Which they are, as part of a sentence.
    is_new : (n,) bool array
        Which of them the model was not trained on.
    trained : int array
        Indices of training shapes, drawn at random where there are many.
    n_trained : int
        How many training shapes there are.
    """

    chosen: np.ndarray
    which: str
    is_new: np.ndarray
    trained: np.ndarray
    n_trained: int


def select(card, shapes, everything=False, limit=200, seed=0):
    """
    Select the shapes to evaluate a model on: by default those that it has not seen.

    Parameters
    ----------
    card : dict
        What is written beside the model; empty where nothing is known.
    shapes : aaelib.shapes.Shapes
    everything : bool
        Take the shapes that it was trained on or selected by as well.
    limit : int
        At most so many, classes in proportion, drawn by `seed`; `TRAINED_PER_SHAPE` times as many
        training shapes.
    seed : int

    Returns
    -------
    Selection

    Raises
    ------
    ValueError
        If fewer than two shapes are left.
    """
    n, split = len(shapes), card.get("split", {})
    is_its_folder = bool(shapes.folder) and card.get("folder") == shapes.folder
    known, namesakes = _known(split, shapes, is_its_folder)
    used, doubtful = known["training"] | known["validation"], namesakes.sum()
    chosen = np.arange(n)
    if not split:
        which = f"all {n} shapes; which of them the model was trained on is not known"
    elif everything:
        which = f"all {n} shapes; the model was trained on or selected by {used.sum()}"
        which += f", and {doubtful} more have names of such" if doubtful else ""
    else:
        chosen = np.flatnonzero(~(used | namesakes))
        which = f"the {len(chosen)} of {n} shapes that the model was neither trained on nor "
        which += "selected by"
        which += f", without {doubtful} that have names of such" if doubtful else ""
    if len(chosen) < 2:
        raise ValueError(
            f"{shapes.folder or shapes.source}: {which}, and 2 or more are needed to evaluate; "
            "name a folder with others, or evaluate all, those it was trained on as well (--all)"
        )
    if split and not is_its_folder:
        which += " (as far as points and names tell)"
    if len(chosen) > limit:
        which += f", {limit} of them drawn"
    if earlier := card.get("weights_from"):
        which += f"; it started from the weights of {Path(earlier).name}, which may have seen them"
    chosen, trained = _drawn(shapes, chosen, limit, seed), np.flatnonzero(known["training"])
    is_new = ~(known["training"] | namesakes)[chosen]
    some = _drawn(shapes, trained, TRAINED_PER_SHAPE * limit, seed)
    return Selection(chosen, which, is_new, some, len(trained))


def _known(split, shapes, is_its_folder):
    """
    Masks of the shapes that a model was trained on, selected by or kept from, and of namesakes.

    A shape is known by its points, wherever its file lies, and in the folder that the model was
    trained on also by its name: there it may have been saved anew. Elsewhere a shape that has the
    name of a training or validation shape may be the same, resampled: the cloud of a mesh, say.

    Returns
    -------
    known : dict
        Part -> mask (n,); of no shape if the card does not tell.
    namesakes : (n,) bool array
        Of shapes that are not known, but have such a name.
    """
    digests = [digest(cloud) for cloud in shapes.points]
    known, namesakes = {}, np.zeros(len(shapes), bool)
    for part in PARTS:
        members = split.get(part, {})
        is_named = np.isin(shapes.names, list(members))
        known[part] = np.isin(digests, list(members.values())) | (is_named & is_its_folder)
        namesakes |= is_named & (part != "test")
    return known, namesakes & ~np.any(list(known.values()), axis=0)


def _drawn(shapes, index, limit, seed):
    """At most so many of some shapes, classes in proportion."""
    if len(index) <= limit:
        return index
    return np.sort(index[interleaved(shapes.kinds[index], seed)[:limit]])
