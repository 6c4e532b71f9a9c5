"""Checks on finished models: memory, sealed sockets, fewer sockets, accuracy and plausibility."""

import pandas as pd

from ..metrics.reconstruction import reconstruction_errors
from ..models.files import load
from ..models.latent import inside
from ..shapes.sockets import fit_surfaces
from ..shapes.sources import load_sockets
from . import baselines, cards, conditions, tables
from .evaluation import Unseen, measure

CHOSEN = "the model's noise"
_EXPONENTS = range(-9, -3)  # of 10: the noises that are tried beside it


def memory(study, evaluated):
    """
    Compare how near samples and test sockets are to training sockets, on the study's split.

    Both are clouds of one density: decoders have that of the published clouds.

    Parameters
    ----------
    study : Study
    evaluated : dict
        What `conditions.evaluate_all` gives.

    Returns
    -------
    distances : dict of str to (n,) array
        Chamfer distances (unit sphere) to the nearest training socket, for
        `figures.nearest_histogram`.
    table : pandas.DataFrame
        A row a model: `baselines.memorising`.
    """
    points, sets = study.load_sockets()[0].points, conditions.socket_sets(study)
    unseen, distances, rows = conditions.unseen_sockets(study).points, {}, {}
    for name, known in ((conditions.BEST, "training"), ("neither", "scans")):
        learnt = points[sets[known]]
        of_samples = baselines.nearest_distances(evaluated[name][0]["samples"], learnt)
        of_test = baselines.nearest_distances(unseen, learnt)
        distances[f"samples, {name}"] = of_samples
        distances[f"test sockets, to {len(learnt)} sockets"] = of_test
        rows[name] = baselines.memorising(of_samples, of_test)
    return distances, pd.DataFrame(rows).T.rename_axis("model")


def sealed(study):
    """
    Evaluate all models, and linear shape models of their training sockets, on sealed sockets.

    Nothing was trained on these, chosen by or tuned to them.

    Returns
    -------
    table : pandas.DataFrame or None
        `tables.summary`; None if the user's data has no sealed sockets.
    count : int
        How many there are.
    """
    held = load_sockets(sealed=True)
    if held is None:
        return None, 0
    unseen, seeds = Unseen(held, fit_surfaces(held.points), drawn=1), conditions.draw_seeds(study)
    recipe, found = conditions.study_recipe(study), {}
    for each in study.splits():
        for condition in conditions.CONDITIONS.values():
            aae = load(conditions.path_of(each, condition))
            found.setdefault(condition.name, []).append(measure(aae, unseen, seeds))
        known, size = conditions.known_sockets(each, "training"), recipe.code_size
        result = unseen.evaluate(*baselines.linear(unseen, known, seeds, size))
        found.setdefault(baselines.LINEAR_ALL_SOCKETS, []).append(result)
    return tables.summary(found), len(held)


def taken_away(study):
    """
    Evaluate the model to take away, and the linear models it started as, on the study's split.

    Returns
    -------
    dict
        "AAE" and "linear" -> what `evaluation.measure` gives.
    """
    unseen, seeds = conditions.unseen_sockets(study), conditions.draw_seeds(study)
    before = conditions.before_training(study, conditions.CONDITIONS[conditions.BEST])
    return {
        "AAE": measure(load(cards.weights_path(study, "sockets")), unseen, seeds),
        "linear": measure(load(before), unseen, ()),
    }


def trade_off(study):
    """
    What accuracy costs plausibility: the model to take away, with more and more noise.

    Parameters
    ----------
    study : Study
        Its validation sockets are encoded.

    Returns
    -------
    pandas.DataFrame
        A row each, from little noise to much, that of the model named `CHOSEN`: "noise", in squared
        normalized units; "inside_95", the share of codes within the prior's 95 % region;
        "surface_mm", the mean error.
    """
    shapes, surfaces, split = study.load_sockets()
    points = shapes.points[split["validation"]]
    meshes = [surfaces[i].mesh() for i in split["validation"]]
    aae, rows = load(cards.weights_path(study, "sockets")), []
    chosen = aae.noise
    for aae.noise in sorted([*(10.0**k for k in _EXPONENTS), chosen]):
        codes = aae.encode(points)
        errors = reconstruction_errors(points, aae.reconstruct(points, codes=codes), meshes)
        [share] = inside(codes, aae.recipe.prior_std, [0.95])
        name = CHOSEN if aae.noise == chosen else f"{aae.noise:g}"
        rows.append((name, aae.noise, share, errors["surface_mm"].mean()))
    columns = ["refined with", "noise", "inside_95", "surface_mm"]
    return pd.DataFrame(rows, columns=columns).set_index("refined with")


def fewer_sockets(study, evaluated):
    """
    Errors of reconstruction against the number of sockets that were learnt from.

    Parameters
    ----------
    study : Study
    evaluated : dict
        What `conditions.evaluate_all` gives, of which the first split counts.

    Returns
    -------
    pandas.DataFrame
        A row for each number of sockets and "model", the AAE first: "sockets", and "chamfer" and
        "surface_mm" (means).
    """
    unseen, size = conditions.unseen_sockets(study), conditions.study_recipe(study).code_size
    rows = []
    for n, condition in conditions.ablations(study)["sockets"].items():
        known = conditions.known_sockets(study, condition.sockets)
        found = {
            "AAE": evaluated[condition.name][0],
            baselines.LINEAR: unseen.evaluate(*baselines.linear(unseen, known, (), size)),
            "nearest socket": unseen.evaluate(*baselines.nearest_known(unseen, known, ())),
        }
        means = [(e["chamfer"].mean(), e["surface_mm"].mean()) for e in found.values()]
        rows += [(name, n, *mean) for name, mean in zip(found, means, strict=True)]
    table = pd.DataFrame(rows, columns=["model", "sockets", "chamfer", "surface_mm"])
    return table.sort_values("model", key=lambda name: name != "AAE", kind="stable")
