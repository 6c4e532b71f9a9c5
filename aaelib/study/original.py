"""The paper's own recipe: how long it was trained, and what was found, in tables and words."""

import numpy as np
import pandas as pd

from ..metrics.distances import pairwise_chamfer
from ..metrics.reconstruction import reconstruction_chamfer
from .answers import of_factors
from .conditions import FACTORS, ORIGINAL
from .templating import render

PAPER_EPOCHS = 1500
NEITHER, AUGMENTATION, TRANSFER, BOTH = ORIGINAL
COMPACT = FACTORS[1].name

CLAIMS = (
    *of_factors(*ORIGINAL, ("chamfer", "jsd", "one_nn_accuracy")),
    (
        "the compact recipe is better in one pass",
        {COMPACT: 1, AUGMENTATION: -1},
        ("one_pass_chamfer",),
    ),
)


def lengths(study, n_scans, n_shapes):
    """
    Steps of the study's trainings by the paper's recipe, beside the paper's 1500 epochs.

    `n_scans` sockets and `n_shapes` everyday shapes are trained on. Returns a `DataFrame`.
    """
    rows = {}
    for name, length, size in (
        ("pre-training", study["pretraining"], n_shapes),
        ("on sockets", study["transfer"] | study["original"], n_scans),
    ):
        steps = length["epochs"] * length["steps_per_epoch"]
        passes = steps * length["batch_size"] / size
        rows[name] = {"shapes": size, "steps": steps, "batch": length["batch_size"]}
        rows[name] |= {"passes": passes, "paper": passes / PAPER_EPOCHS}
    return pd.DataFrame(rows).T.rename_axis("training")


def unseen_shapes(models, corpus, parts):
    """
    Errors of pre-trained models on validation shapes, beside the nearest training shape.

    Parameters
    ----------
    models : dict
        Name -> AdversarialAutoencoder.
    corpus : Shapes
        In unit spheres.
    parts : dict
        As `conditions.split_corpus` gives it.

    Returns
    -------
    pandas.DataFrame
        A row a model, and one of the nearest training shapes: "chamfer", the mean error of
        "unseen_shapes" shapes, and "nearer", the share of shapes whose reconstruction is nearer
        than the nearest training shape.
    """
    unseen = corpus.points[parts["validation"]]
    nearest = pairwise_chamfer(unseen, corpus.points[parts["training"]]).min(axis=1)
    errors = {
        name: reconstruction_chamfer(unseen, aae.reconstruct(unseen))
        for name, aae in models.items()
    }
    rows = {
        name: {"unseen_shapes": len(unseen), "chamfer": e.mean(), "nearer": np.mean(e < nearest)}
        for name, e in (errors | {"nearest training shape": nearest}).items()
    }
    return pd.DataFrame(rows).T.rename_axis("model")


def steadiness(runs):
    """
    How far the error of validation shapes moves from epoch to epoch, as rates do not fall.

    Parameters
    ----------
    runs : dict
        Name -> Run.

    Returns
    -------
    pandas.DataFrame
        A row a run: the Chamfer distance (one pass) of the "selected" epoch, and the "least",
        "median" and "most" of the epochs that could have been selected.
    """
    rows = {}
    for name, run in runs.items():
        errors = run.history.val_chamfer[run.card["settings"]["first_selectable"] :]
        rows[name] = {"selected": run.history.val_chamfer[run.best_epoch]}
        rows[name] |= {"least": errors.min(), "median": errors.median(), "most": errors.max()}
    return pd.DataFrame(rows).T.rename_axis("run")


def sentences(table, epochs, pretrained):
    """
    The conclusion in three sentences.

    Parameters
    ----------
    table : pandas.DataFrame
        `tables.summary` of the conditions and the compact recipe.
    epochs : pandas.DataFrame
        `steadiness` of the conditions.
    pretrained : Run
    """
    errors, curve = table.chamfer[list(ORIGINAL)], pretrained.history.val_chamfer
    half = len(curve) // 2
    late = curve[half:].median() / curve[: max(half, 1)].median() - 1
    moved, apart = (epochs.most / epochs.least).median(), errors.max() / errors.min()
    found = {"errors": errors, "medians": epochs["median"], "moved": moved, "apart": apart}
    compact = {"one_pass": table.one_pass_chamfer[COMPACT], "refined": table.chamfer[COMPACT]}
    return render("original.md.j2", **found, **compact, late=late).splitlines()
