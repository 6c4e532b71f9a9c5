"""What the study trains: its conditions and ablations, each a recipe, a start and sockets."""

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from ..metrics.reconstruction import reconstruction_chamfer
from ..models import autoencoder, batches, files, recipes, training, transfer
from ..shapes import folders, sources
from ..shapes.clouds import normalize
from ..shapes.shape_model import ShapeModel
from ..shapes.writing import replacing
from .baselines import DRAWN_PER_SOCKET


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
    """Where notebook 01 writes the shape model of a set of sockets."""
    return study.folder / "models" / f"shape_model_{kind}_{re.sub(' ', '_', sockets)}.npz"


def load_shape_models(study, sockets="scans"):
    """
    The shape models of a set of sockets, with the correspondence of their clouds.

    Returns
    -------
    dict
        Kind -> ShapeModel.
    """
    return {
        kind: ShapeModel.load(shape_models_path(study, sockets, kind)) for kind in sources.KINDS
    }


def start(study, condition, seed):
    """
    A model as it is before training.

    Parameters
    ----------
    study : Study
    condition : Condition
    seed : int

    Returns
    -------
    AdversarialAutoencoder
    """
    shapes, _, _ = study.load_shapes("sockets")
    points = shapes.points[socket_sets(study)[condition.sockets]]
    recipe = study_recipe(study, condition)
    scale = normalize(points)[1].scale
    aae = autoencoder.AdversarialAutoencoder(recipe, scale, seed, condition.frozen)
    if condition.transferred:
        transfer.start_from(aae, files.load(study.model_path("pretrained")))
    if condition.start == "shape models":
        shape_models = load_shape_models(study, condition.sockets).values()
        settings, limit = study["shape_model_start"], study["transfer"]["limit"]
        training.start_at_shape_models(aae, shape_models, settings["steps"], limit=limit, seed=seed)
    else:
        fixed_scale = scale if recipe.normalization == "dataset" else None
        first = normalize(points[:1], recipe.normalization, scale=fixed_scale)[0][0]
        transfer.start_decoder_at(aae, first[: recipe.n_points])
    return aae


def train(study, condition, seed):
    """
    Train one condition with one seed, or find it trained (`training.train`).

    Returns
    -------
    aae : AdversarialAutoencoder
    history : pandas.DataFrame
    best : int
        The selected epoch.
    """
    shapes, _, split = study.load_shapes("sockets")
    points = shapes.points[socket_sets(study)[condition.sockets]]
    aae = start(study, condition, seed)
    settings = study["transfer"]
    length = study["original"] if condition.original else settings
    shape_models = load_shape_models(study, condition.sockets) if condition.augmented else {}

    def draw(first_step, n_steps):
        return batches.batches(
            points,
            aae.scale,
            n_steps,
            settings["batch_size"],
            shape_models=tuple(shape_models.values()),
            share=settings["share"],
            limit=settings["limit"],
            jitter=settings["jitter"],
            rotate=settings["rotate"],
            normalization=aae.recipe.normalization,
            first_step=first_step,
            seed=seed,
        )

    return training.train(
        aae,
        draw,
        shapes.points[split["validation"]],
        study.model_path(condition.slug, seed),
        length["epochs"],
        length["steps_per_epoch"],
        length["first_selectable"],
        {"source": study.source, "condition": condition.name, "seed": seed}
        | {"sockets": folders.digest(points)},
    )


def train_all(study):
    """
    Train every run of the study.

    Returns
    -------
    dict
        (condition's name, seed) -> (history, selected epoch), as `train` gives them. The models
        are in their files: all at once would fill gigabytes.
    """
    return {
        (condition.name, seed): train(study, condition, seed)[1:]
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
    What the conditions come to on validation sockets, and on those that they learnt from.

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
        condition, (history, best) = CONDITIONS[name], trained[name, seed]
        aae = files.load(study.model_path(condition.slug, seed))
        errors = [error(aae, shapes.points[sets[condition.sockets]]), error(aae, validation)]
        rows.append(
            {"condition": name, "run": seed}
            | budget(study, condition)
            | {"best_epoch": best, "trained_chamfer": errors[0], "validation_chamfer": errors[1]}
            | {"gap": errors[1] / errors[0], "validation_jsd": training.prior_jsd(aae, validation)}
            | {"discriminator_accuracy": history.val_discriminator_accuracy[best]}
        )
    return pd.DataFrame(rows)


def weights_path(study, name):
    """Where a run writes the models to take away."""
    return study.folder / "weights" / f"{name}.npz"


def export(study, seed):
    """
    Write the models to take away: of all training sockets, and the pre-trained one.

    Parameters
    ----------
    study : Study
    seed : int
        Which of the runs with all training sockets.
    """
    chosen = {
        "sockets": study.model_path(CONDITIONS[BEST].slug, seed),
        "pretrained": study.model_path("pretrained"),
    }
    for name, path in chosen.items():
        files.export_weights(files.load(path), weights_path(study, name))


def write_cards(study, figures):
    """
    Write a model card beside each of the models to take away (Mitchell et al. 2019).

    Parameters
    ----------
    study : Study
    figures : pandas.DataFrame
        What the card of the socket model says of it, and of what it is compared with: a row each
        metric, a column each model.

    Returns
    -------
    str
        The card of the socket model, Markdown.
    """
    best, recipe = CONDITIONS[BEST], study_recipe(study, CONDITIONS[BEST])
    source = training.card_of(study.model_path(best.slug, study["seeds"][0]))["source"]
    n = {part: len(index) for part, index in study.load_shapes("sockets")[2].items()}
    steps = budget(study, best)
    what = (
        "An adversarial autoencoder of point clouds, written by "
        f"`make reproduce PROFILE={study.profile}`."
    )
    sockets = f"""# Model card: sockets

{what}

| | |
|---|---|
| load | `aaelib.models.load("sockets")` |
| encoder | PointNet, to a code of {recipe.code_size} numbers, then refined in \
{recipe.refinement_steps} steps |
| decoder | {recipe.linear_models} gated linear shape models and a network |
| trained on | {n["scans"] + n["more"]} sockets, transtibial (TT) and transfemoral (TF), and draws \
from their shape models |
| source | {source.split(",")[0]} |
| training | from the shape models: {steps["steps_before"]} steps in which the encoder learns to \
read them, {steps["steps"]} adversarial ones, {steps["steps_after"]} of the decoder at refined \
codes |
| chosen on | {n["validation"]} other sockets |
| tested on | {n["test"]} sockets that nothing was fitted to or chosen by |
| weights | half precision, coordinates single |
| licence | CC BY-SA 4.0, as the public sockets |

## How good

On the test sockets, this model in the precision in which it comes, beside the linear shape model of
the same sockets with as many numbers, and beside real training sockets. Chamfer distance and what
follows from it are in the unit sphere; samples are {DRAWN_PER_SOCKET} for each test socket. Lower
is better but for coverage; 1-NN accuracy is best at 0.5. ± is over draws.

{figures.to_markdown(disable_numparse=True)}

## Limits

- The public sockets were drawn by their publishers from shape models of 30 TT and 21 TF scans: this
  model knows no more variety than those, and right legs only.
- Sockets must be in mm, the long axis along z, the closed end down, aligned as the public ones are.
- A shape that is no socket gets the nearest thing to it, without a warning.
- A decoded socket is {recipe.n_points} points; a surface is fitted to them.

{_USE}"""
    recipe = study_recipe(study)
    corpus = training.card_of(study.model_path("pretrained"))["source"]
    terms = "CC BY-SA 4.0"
    if "ModelNet" in corpus:
        terms += "; what it learnt from, ModelNet, is for academic use only: use it for no more"
    pretrained = f"""# Model card: pretrained

{what}

| | |
|---|---|
| load | `aaelib.models.load("pretrained")` |
| encoder, decoder | as those of "sockets"; a code of {recipe.code_size} numbers |
| trained on | {corpus}, shapes in the unit sphere |
| weights | half precision, coordinates single; no shape is part of them |
| licence | {terms} |

## Limits

- A start for training on other shapes (`aaelib.models.transfer.start_from`), no good model of
  everyday ones: table T3 has its errors. What it is worth for sockets is in table T4, in the
  conditions with and without transfer.

{_USE}"""
    for name, text in (("sockets", sockets), ("pretrained", pretrained)):
        with replacing(weights_path(study, name).with_suffix(".md")) as temporary:
            temporary.write_text(text)
    return sockets


_USE = """## Intended use

Research and teaching on shape models of sockets. **Not a medical device**: a generated socket has
not been assessed by anyone, and must not be made for a patient.
"""
