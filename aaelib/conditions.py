"""What the study trains: its conditions and ablations, each a recipe, a start and sockets."""

import re
from dataclasses import dataclass, field

import numpy as np
from tqdm.auto import tqdm

from . import data, models, training
from .clouds import normalize
from .files import replacing
from .shape_model import ShapeModel


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
        return models.recipe("paper", **study["original"]["changes"])
    changes = {} if condition is None else condition.changes
    if condition is not None and condition.start == "shape models":
        changes = {**study["shape_model_start"]["changes"], **changes}
    return models.recipe(study["recipe"]["name"], **{**study["recipe"]["changes"], **changes})


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
    return {kind: ShapeModel.load(shape_models_path(study, sockets, kind)) for kind in data.KINDS}


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
    normalized, normalizer = normalize(points)
    recipe = study_recipe(study, condition)
    aae = models.AdversarialAutoencoder(recipe, normalizer.scale, seed, condition.frozen)
    if condition.transferred:
        aae.start_from(models.load(study.model_path("pretrained")))
    if condition.start == "shape models":
        shape_models = load_shape_models(study, condition.sockets).values()
        settings, limit = study["shape_model_start"], study["transfer"]["limit"]
        training.start_at_shape_models(aae, shape_models, settings["steps"], limit=limit, seed=seed)
    else:
        aae.start_decoder_at(normalized[0, : recipe.n_points])
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
        return data.batches(
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
        {"source": study.source, "condition": condition.name, "seed": seed},
    )


def train_all(study):
    """
    Train every run of the study.

    Returns
    -------
    dict
        (condition's name, seed) -> what `train` gives.
    """
    return {
        (condition.name, seed): train(study, condition, seed)
        for condition, seed in tqdm(runs(study), desc="runs")
    }


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
        models.export_weights(models.load(path), weights_path(study, name))


def write_cards(study, comparison, by_kind, exported):
    """
    Write a model card beside each of the models to take away (Mitchell et al. 2019).

    Parameters
    ----------
    study : Study
    comparison : pandas.DataFrame
        Table T4.
    by_kind : pandas.DataFrame
        Its reconstruction errors by kind.
    exported : dict
        Errors (n,) of the socket model itself, as `metrics.reconstruction_errors` gives them.

    Returns
    -------
    str
        The card of the socket model, Markdown.
    """
    best, recipe = CONDITIONS[BEST], study_recipe(study, CONDITIONS[BEST])
    source = training.card_of(study.model_path(best.slug, study["seeds"][0]))["source"]
    n = {part: len(index) for part, index in study.load_shapes("sockets")[2].items()}
    row, kinds = comparison.loc[BEST], by_kind.loc[BEST]
    chamfer, surface_mm = exported["chamfer"].mean(), exported["surface_mm"].mean()
    what = (
        "An adversarial autoencoder of point clouds, written by "
        f"`make reproduce PROFILE={study.profile}`."
    )
    sockets = f"""# Model card: sockets

{what}

| | |
|---|---|
| load | `aaelib.models.load("sockets")` |
| encoder | PointNet, to a code of {recipe.code_size} numbers, then refined |
| decoder | {recipe.linear_models} gated linear shape models and a network |
| trained on | {n["scans"] + n["more"]} sockets, transtibial (TT) and transfemoral (TF), and draws \
from their shape models |
| source | {source.split(",")[0]} |
| epochs chosen on | {n["validation"]} other sockets |
| tested on | {n["test"]} sockets that nothing was fitted to or chosen by |
| weights | half precision, coordinates single |
| licence | CC BY-SA 4.0, as the public sockets |

## How good

This model reconstructs the test sockets at a Chamfer distance of {chamfer:.5f} in the unit sphere,
with a mean surface error of {surface_mm:.2f} mm. Of table T4, means over {len(study["seeds"])}
training seed(s), of which the one that reconstructs validation sockets best is here:

| | |
|---|---|
| reconstruction, Chamfer distance in the unit sphere | {row.chamfer:.5f} |
| reconstruction, mean surface error | {row.surface_mm:.2f} mm (TT {kinds["TT surface_mm"]:.2f}, \
TF {kinds["TF surface_mm"]:.2f}) |
| samples: fidelity, coverage, JSD | {row.fidelity:.5f}, {row.coverage:.2f}, {row.jsd:.3f} |
| samples: 1-NN accuracy (0.5 is best) | {row.one_nn_accuracy:.2f} |

## Limits

- The public sockets were drawn by their publishers from shape models of 30 TT and 21 TF scans: this
  model knows no more variety than those, and right legs only.
- Sockets must be in mm, the long axis along z, the closed end down, aligned as the public ones are.
- A shape that is no socket gets the nearest thing to it, without a warning.
- A decoded socket is {recipe.n_points} points; a surface is fitted to them.

{_USE}"""
    recipe = study_recipe(study)
    corpus = training.card_of(study.model_path("pretrained"))["source"]
    pretrained = f"""# Model card: pretrained

{what}

| | |
|---|---|
| load | `aaelib.models.load("pretrained")` |
| encoder, decoder | as those of "sockets"; a code of {recipe.code_size} numbers |
| trained on | {corpus}, shapes in the unit sphere |
| weights | half precision, coordinates single; no shape is part of them |
| licence | CC BY-SA 4.0 |

## Limits

- A start for training on other shapes (`AdversarialAutoencoder.start_from`), no good model of
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
