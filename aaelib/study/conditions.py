"""The study's conditions and ablations: each a recipe, a start, settings and sockets."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..metrics.reconstruction import reconstruction_chamfer
from ..models import recipes, training
from ..models.files import load
from ..models.starts import Start
from ..shapes.shape_model import ShapeModel
from ..shapes.sources import KINDS

_OF_BATCHES = ("batch_size", "share", "limit", "jitter", "rotate")


@dataclass(frozen=True)
class Condition:
    """
    One way to train an adversarial autoencoder of sockets.

    Parameters
    ----------
    name : str
        What tables call it.
    sockets : str
        The set of real sockets that it learns from, see `socket_sets`.
    augmented : bool
        Part of each batch is drawn from the shape models of those sockets.
    transferred : bool
        All networks start from pre-trained weights.
    start : {"scan", "shape models"}
        What the decoder starts as: one socket, or the shape models of the sockets, which the
        encoder learns to read before training.
    original : bool
        The recipe of the paper, in as many steps as take as long as the study's own.
    changes : dict
        Entries of the study's recipe that are different.
    frozen : dict
        Network -> last layer that does not learn.
    """

    name: str
    sockets: str = "scans"
    augmented: bool = True
    transferred: bool = False
    start: str = "scan"
    original: bool = False
    changes: dict = field(default_factory=dict)
    frozen: dict = field(default_factory=dict)

    @property
    def slug(self):
        return re.sub(r"\W+", "_", self.name)


def _shape_model_start(name, **others):
    return Condition(name, start="shape models", **others)


# The paper's question: what do augmentation and transfer bring?
FACTORS = (
    Condition("neither", augmented=False),
    Condition("augmentation"),
    Condition("transfer", augmented=False, transferred=True),
    Condition("augmentation + transfer", transferred=True),
)


# How else to spend the same 51 scans and the same time; and all sockets that may be trained on.
OTHERS = (
    Condition("original recipe", original=True),
    _shape_model_start("shape-model start"),
    _shape_model_start("all training sockets", sockets="training"),
)
BEST = OTHERS[-1].name
CONDITIONS = {condition.name: condition for condition in (*FACTORS, *OTHERS)}


def ablations(study):
    """
    What else is varied, one thing at a time.

    Parameters
    ----------
    study : Study

    Returns
    -------
    dict
        What is varied -> list of (its value, Condition). Those that are a condition already have
        its name.
    """
    size = study_recipe(study).code_size
    n_sockets = {name: len(index) for name, index in socket_sets(study).items()}
    few = [(f"{n} scans", n_sockets[f"{n} scans"]) for n in study["few_scans"]]
    return {
        "frozen layers": [
            ("none", CONDITIONS["augmentation + transfer"]),
            *(
                (
                    f"encoder to {layer}",
                    Condition(f"frozen to {layer}", transferred=True, frozen={"encoder": layer}),
                )
                for layer in study["frozen_to"]
            ),
        ],
        "code size": [
            (size, CONDITIONS["shape-model start"]),
            *(
                (other, _shape_model_start(f"code size {other}", changes={"code_size": other}))
                for other in study["code_sizes"]
            ),
        ],
        "sockets": [
            *((n, _shape_model_start(name, sockets=name)) for name, n in few),
            (n_sockets["scans"], CONDITIONS["shape-model start"]),
            (n_sockets["training"], CONDITIONS[BEST]),
        ],
    }


def runs(study):
    """
    Every training run of the study.

    Returns
    -------
    list of (Condition, seed)
    """
    listed = [(condition, seed) for condition in CONDITIONS.values() for seed in study["seeds"]]
    for varied in ablations(study).values():
        for _, condition in varied:
            if condition.name not in CONDITIONS:
                listed += [(condition, seed) for seed in study["ablation_seeds"]]
    return listed


def socket_sets(study):
    """
    Sets of real sockets to learn from: index arrays into the study's shapes.

    Returns
    -------
    dict
        "scans"; "training", the scans and all else that is neither validation nor test; "n scans",
        n of the scans, each set within the next larger one, kinds in proportion.
    """
    shapes, _, split = study.load_shapes("sockets")
    sets = {"scans": split["scans"]}
    for n in study["few_scans"]:
        chosen = []
        for kind in np.unique(shapes.kinds):
            of_kind = split["scans"][shapes.kinds[split["scans"]] == kind]
            count = max(3, round(n * len(of_kind) / len(split["scans"])))
            chosen.append(np.random.default_rng(study.seed).permutation(of_kind)[:count])
        sets[f"{n} scans"] = np.sort(np.concatenate(chosen))
    sets["training"] = np.sort(np.concatenate([split["scans"], split["more"]]))
    return sets


def study_recipe(study, condition=None):
    """The recipe of a profile, or of one of its conditions."""
    if condition is not None and condition.original:
        return recipes.recipe("paper", **study["original"]["changes"])
    changes = {} if condition is None else condition.changes
    if condition is not None and condition.start == "shape models":
        changes = {**study["shape_model_start"]["changes"], **changes}
    return recipes.recipe(study["recipe"]["name"], **{**study["recipe"]["changes"], **changes})


def shape_models_path(study, sockets, kind):
    """The file to which notebook 01 writes the shape model of a set of sockets."""
    return study.folder / "models" / f"shape_model_{kind}_{re.sub(' ', '_', sockets)}.npz"


def load_shape_models(study, sockets="scans"):
    """Kind -> shape model of a set of sockets, with the correspondence of their clouds."""
    return {kind: ShapeModel.load(shape_models_path(study, sockets, kind)) for kind in KINDS}


def start(study, condition):
    """The `Start` of a condition."""
    settings = study["shape_model_start"]
    from_models = condition.start == "shape models"
    shape_models = load_shape_models(study, condition.sockets) if from_models else {}
    return Start(
        model=load(study.model_path("pretrained")) if condition.transferred else None,
        frozen=condition.frozen,
        decoder="shape models" if from_models else "cloud",
        shape_models=tuple(shape_models.values()),
        steps=settings["steps"],
        limit=study["transfer"]["limit"],
    )


def before_training(study, condition, seed):
    """The model of a condition as it is before training."""
    shapes, _, _ = study.load_shapes("sockets")
    points = shapes.points[socket_sets(study)[condition.sockets]]
    return start(study, condition).begin(points, study_recipe(study, condition), seed)


def train(study, condition, seed):
    """Train one condition with one seed, or find it trained; return its `Run`."""
    shapes, _, split = study.load_shapes("sockets")
    shape_models = load_shape_models(study, condition.sockets) if condition.augmented else {}
    length = study["original"] if condition.original else study["transfer"]
    settings = {name: study["transfer"][name] for name in _OF_BATCHES}
    settings |= {name: length[name] for name in ("epochs", "steps_per_epoch", "first_selectable")}
    return training.train(
        shapes,
        {
            "training": socket_sets(study)[condition.sockets],
            "validation": split["validation"],
            "test": split["test"],
        },
        study_recipe(study, condition),
        start(study, condition),
        training.Settings(shape_models=tuple(shape_models.values()), seed=seed, **settings),
        study.model_path(condition.slug, seed),
        {"source": study.source, "condition": condition.name},
    )


def train_all(study):
    """Train every run of the study: (condition's name, seed) -> `Run`."""
    return {
        (condition.name, seed): train(study, condition, seed)
        for condition, seed in tqdm(runs(study), desc="runs")
    }


def budget(study, condition):
    """
    How many steps a condition's networks learn for.

    Parameters
    ----------
    study : Study
    condition : Condition

    Returns
    -------
    dict of str to int
        "steps_before": of pre-training, or in which the encoder learns to read the shape models;
        "steps": adversarial ones on sockets; "steps_after": of the decoder at refined codes.
    """
    before = 0
    if condition.transferred:
        before = study["pretraining"]["epochs"] * study["pretraining"]["steps_per_epoch"]
    if condition.start == "shape models":
        before = study["shape_model_start"]["steps"]
    length = study["original" if condition.original else "transfer"]
    return {
        "steps_before": before,
        "steps": length["epochs"] * length["steps_per_epoch"],
        "steps_after": study_recipe(study, condition).finetuning_steps,
    }


def on_validation(study, trained):
    """
    Errors on validation sockets, and on the sockets that each condition learnt from.

    Parameters
    ----------
    study : Study
    trained : dict
        What `train_all` gave.

    Returns
    -------
    pandas.DataFrame
        A row for each run of `CONDITIONS`: "condition", "run" (its seed), what `budget` gives,
        "best_epoch"; "trained_chamfer", "validation_chamfer", the mean errors of reconstruction in
        unit spheres, and "gap", the second over the first; "validation_jsd", of samples;
        "discriminator_accuracy", on codes of the selected epoch.
    """
    shapes, _, split = study.load_shapes("sockets")
    sets, validation = socket_sets(study), shapes.points[split["validation"]]

    def error(aae, points):
        return reconstruction_chamfer(points, aae.reconstruct(points)).mean()

    rows = []
    for name, seed in tqdm([run for run in trained if run[0] in CONDITIONS], desc="validation"):
        condition, run = CONDITIONS[name], trained[name, seed]
        aae = load(run.path)  # not run.model, which stays in memory
        errors = [error(aae, shapes.points[sets[condition.sockets]]), error(aae, validation)]
        rows.append(
            {"condition": name, "run": seed}
            | budget(study, condition)
            | {"best_epoch": run.best_epoch}
            | {"trained_chamfer": errors[0], "validation_chamfer": errors[1]}
            | {"gap": errors[1] / errors[0], "validation_jsd": training.prior_jsd(aae, validation)}
            | {"discriminator_accuracy": run.history.val_discriminator_accuracy[run.best_epoch]}
        )
    return pd.DataFrame(rows)
