"""The paper's own recipe: how long it was trained, and what was found, in tables and words."""

import numpy as np
import pandas as pd

from ..metrics.distances import pairwise_chamfer
from ..metrics.reconstruction import reconstruction_chamfer
from . import tables
from .conditions import FACTORS, ORIGINAL

PAPER_EPOCHS = 1500
NEITHER, AUGMENTATION, TRANSFER, BOTH = ORIGINAL
COMPACT = FACTORS[1].name

_METRICS = ("chamfer", "jsd", "one_nn_accuracy")
CLAIMS = (
    ("augmentation helps, alone", {AUGMENTATION: 1, NEITHER: -1}, _METRICS),
    ("augmentation helps, with transfer", {BOTH: 1, TRANSFER: -1}, _METRICS),
    ("transfer helps, alone", {TRANSFER: 1, NEITHER: -1}, _METRICS),
    ("transfer helps, with augmentation", {BOTH: 1, AUGMENTATION: -1}, _METRICS),
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


def unseen_shapes(run, corpus, parts):
    """
    Errors of a pre-trained model on validation shapes, beside the nearest training shape.

    Parameters
    ----------
    run : Run
    corpus : Shapes
        In unit spheres.
    parts : dict
        As `conditions.split_corpus` gives it.

    Returns
    -------
    pandas.DataFrame
        One row.
    """
    unseen = corpus.points[parts["validation"]]
    errors = reconstruction_chamfer(unseen, run.model.reconstruct(unseen))
    nearest = pairwise_chamfer(unseen, corpus.points[parts["training"]]).min(axis=1)
    row = {
        "unseen shapes": len(unseen),
        "reconstruction": errors.mean(),
        "nearest training shape": nearest.mean(),
        "better": np.mean(errors < nearest),
    }
    return pd.DataFrame(row, index=pd.Index(["pre-trained"], name="model"))


def sentences(table, claims, pretrained):
    """The conclusion in three sentences, from the tables of notebook 08."""
    curve = pretrained.history.val_chamfer
    late = curve.iloc[-1] / curve.iloc[len(curve) // 2] - 1
    return [
        f"With the paper's recipe augmentation takes the Chamfer distance of unseen sockets "
        f"{tables.change(table, 'chamfer', NEITHER, AUGMENTATION)}: "
        f"{tables.answers(claims, 'augmentation helps, alone')}. Transfer takes it "
        f"{tables.change(table, 'chamfer', NEITHER, TRANSFER)} alone: "
        f"{tables.answers(claims, 'transfer helps, alone')}; and with augmentation "
        f"{tables.change(table, 'chamfer', AUGMENTATION, BOTH)}: "
        f"{tables.answers(claims, 'transfer helps, with augmentation')}.",
        f"The compact recipe with augmentation has {table.one_pass_chamfer[COMPACT]:.5f} in one pass and "
        f"{table.chamfer[COMPACT]:.5f} with refined codes, in about the same time; the best of the paper's "
        f"recipe is {table.loc[list(ORIGINAL)].chamfer.min():.5f}.",
        f"In the second half of pre-training the error on unseen shapes still changed by {100 * late:+.0f} %: "
        + ("more steps would help." if late < -0.03 else "more of the same steps would help little."),
    ]
