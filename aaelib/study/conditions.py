"""The study's conditions and ablations: each a recipe, a start, settings and sockets."""

import json
import re
from dataclasses import dataclass, field

import keras
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..models import recipes, training
from ..models.files import load
from ..models.runs import card_of, fingerprint
from ..models.starts import Start
from ..shapes.shape_model import ShapeModel
from ..shapes.sources import KINDS
from ..shapes.writing import replacing
from .evaluation import Unseen, measure_once, unrefined


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
    Ablations of the profile: conditions that differ in one thing.

    Parameters
    ----------
    study : Study

    Returns
    -------
    dict
        What is varied -> {its value: Condition}. What has a single value in the profile is left
        out; a value that one of `CONDITIONS` has stands for that one.
    """
    frozen = {"none": CONDITIONS["augmentation + transfer"]}
    for layer in study["frozen_to"]:
        name, kept = f"frozen to {layer}", {"encoder": layer}
        frozen[f"encoder to {layer}"] = Condition(name, transferred=True, frozen=kept)
    sizes = {study_recipe(study).code_size: CONDITIONS["shape-model start"]}
    for size in study["code_sizes"]:
        sizes[size] = _shape_model_start(f"code size {size}", changes={"code_size": size})
    sets, names = socket_sets(study), [f"{n} scans" for n in study["few_scans"]]
    numbers = {len(sets[name]): _shape_model_start(name, sockets=name) for name in names}
    numbers[len(sets["scans"])] = CONDITIONS["shape-model start"]
    numbers[len(sets["training"])] = CONDITIONS[BEST]
    varied = {"frozen layers": frozen, "code size": sizes, "sockets": numbers}
    return {what: values for what, values in varied.items() if len(values) > 1}


def ablated(study, evaluated):
    """
    Results of the ablations, and of `BEST` with and without refinement of its codes.

    Parameters
    ----------
    study : Study
    evaluated : dict
        What `evaluate_all` gives.

    Returns
    -------
    dict
        "what: value" -> list of results, as `tables.summary` takes them.
    """
    found = {
        f"{what}: {value}": evaluated[condition.name]
        for what, values in ablations(study).items()
        for value, condition in values.items()
    }
    steps = study_recipe(study, CONDITIONS[BEST]).refinement_steps
    found[f"refinement: {steps} steps"] = evaluated[BEST]
    found["refinement: none"] = unrefined(evaluated[BEST])
    return found


def runs(study):
    """
    Every training run of the study.

    Returns
    -------
    list of (Condition, seed)
    """
    listed = [(condition, seed) for condition in CONDITIONS.values() for seed in study["seeds"]]
    varied = [c for values in ablations(study).values() for c in values.values()]
    others = [condition for condition in varied if condition.name not in CONDITIONS]
    return listed + [(condition, seed) for condition in others for seed in study["ablation_seeds"]]


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


def study_recipe(study, condition=FACTORS[0]):
    """The recipe of a profile, or of one of its conditions."""
    if condition.original:
        return recipes.recipe("paper", **study["original"]["changes"])
    changes = dict(study["recipe"]["changes"])
    if condition.start == "shape models":
        changes |= study["shape_model_start"]["changes"]
    return recipes.recipe(study["recipe"]["name"], **changes | condition.changes)


def shape_models_path(study, sockets, kind):
    """The file to which notebook 01 writes the shape model of a set of sockets."""
    return study.folder / "models" / f"shape_model_{kind}_{re.sub(' ', '_', sockets)}.npz"


def load_shape_models(study, sockets="scans"):
    """Kind -> shape model of a set of sockets, with the correspondence of their clouds."""
    return {kind: ShapeModel.load(shape_models_path(study, sockets, kind)) for kind in KINDS}


def before_training(study, condition, seed):
    """Path of the model that a shape-model start gives; it is made once, and kept."""
    shapes, _, _ = study.load_shapes("sockets")
    learnt, recipe = shapes[socket_sets(study)[condition.sockets]], study_recipe(study, condition)
    begun = Start(
        frozen=condition.frozen,
        decoder="shape models",
        shape_models=tuple(load_shape_models(study, condition.sockets).values()),
        steps=study["shape_model_start"]["steps"],
        limit=study["transfer"]["limit"],
    )
    path = study.model_path(f"{condition.slug}_before", seed)
    known_by = fingerprint([learnt], recipe, begun, training.Settings(seed=seed), {})
    if card_of(path).get("fingerprint") != known_by:
        aae = begun.begin(learnt.points, recipe, seed)
        # Only with optimizers can it be saved; these have no state to save.
        aae.compile(*(keras.optimizers.SGD() for _ in range(3)))
        aae.save(path)
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps({"fingerprint": known_by}))
    return path


def start(study, condition, seed):
    """The `Start` of a condition."""
    if condition.start == "shape models":
        begun = load(before_training(study, condition, seed))
        return Start(model=begun, frozen=condition.frozen, scale=begun.scale)
    model = load(study.model_path("pretrained")) if condition.transferred else None
    return Start(model=model, frozen=condition.frozen, decoder="cloud")


def train(study, condition, seed):
    """Train one condition with one seed, or find it trained; return its `Run`."""
    shapes, _, split = study.load_shapes("sockets")
    shape_models = load_shape_models(study, condition.sockets) if condition.augmented else {}
    settings = dict(study["transfer"])
    if condition.original:
        settings |= {name: value for name, value in study["original"].items() if name != "changes"}
    parts = {part: split[part] for part in ("validation", "test")}
    return training.train(
        shapes,
        {"training": socket_sets(study)[condition.sockets], **parts},
        study_recipe(study, condition),
        start(study, condition, seed),
        training.Settings(shape_models=tuple(shape_models.values()), seed=seed, **settings),
        study.model_path(condition.slug, seed),
        {"source": study.source, "condition": condition.name, "start": condition.start},
    )


def train_all(study):
    """Train and evaluate every run of the study: (condition's name, seed) -> `Run`."""
    trained, unseen = {}, unseen_sockets(study)
    for condition, seed in tqdm(runs(study), desc="runs"):
        trained[condition.name, seed] = train(study, condition, seed)
        evaluate(study, unseen, condition, seed)
    return trained


def unseen_sockets(study):
    """The test sockets, as `Unseen`."""
    shapes, surfaces, split = study.load_shapes("sockets")
    return Unseen(shapes[split["test"]], [surfaces[i] for i in split["test"]])


def draw_seeds(study):
    """Seeds of the draws of the prior, other than those by which epochs are selected."""
    return range(1000, 1000 + study["evaluation"]["draws"])


def evaluate(study, unseen, condition, seed, trained=True):
    """
    Evaluate the model of a condition on test sockets, or read what an earlier call found.

    Parameters
    ----------
    study : Study
    unseen : Unseen
        What `unseen_sockets` gives.
    condition : Condition
    seed : int
    trained : bool
        False: the model that a shape-model start gives, before it is trained.

    Returns
    -------
    dict of str to numpy.ndarray
        As `evaluation.measure_once` gives it, with its unrefined reconstruction for `BEST`, and of
        `CONDITIONS` with ``trained_chamfer``, of the sockets that the model learnt from, and
        ``validation_chamfer``.
    """
    others = {}
    if trained and condition.name in CONDITIONS:
        shapes, _, split = study.load_shapes("sockets")
        index = {
            "trained": socket_sets(study)[condition.sockets],
            "validation": split["validation"],
        }
        others = {name: shapes.points[each] for name, each in index.items()}
    path = study.model_path(condition.slug, seed)
    return measure_once(
        path if trained else before_training(study, condition, seed),
        unseen,
        draw_seeds(study),
        others,
        unrefined=trained and condition.name == BEST,
    )


def evaluate_all(study, unseen):
    """Evaluate every run of the study: condition's name -> list of results, one for each seed."""
    found = {}
    for condition, seed in tqdm(runs(study), desc="evaluation"):
        found.setdefault(condition.name, []).append(evaluate(study, unseen, condition, seed))
    return found


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
    rows, unseen = [], unseen_sockets(study)
    for (name, seed), run in trained.items():
        if name not in CONDITIONS:
            continue
        found = evaluate(study, unseen, CONDITIONS[name], seed)
        accuracy = run.history.val_discriminator_accuracy[run.best_epoch]
        rows.append(
            {"condition": name, "run": seed}
            | budget(study, CONDITIONS[name])
            | {"best_epoch": run.best_epoch}
            | {key: float(found[key]) for key in ("trained_chamfer", "validation_chamfer")}
            | {"gap": float(found["validation_chamfer"] / found["trained_chamfer"])}
            | {"validation_jsd": float(found["validation_jsd"])}
            | {"discriminator_accuracy": accuracy}
        )
    return pd.DataFrame(rows)
