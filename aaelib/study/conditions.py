"""The study's conditions and ablations: each a recipe, a start, settings and sockets."""

import re
import sys
from dataclasses import dataclass, field, replace

import joblib
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from ..metrics.reconstruction import reconstruction_chamfer
from ..models import recipes, training
from ..models.code import digest_of
from ..models.files import load
from ..models.recipes import NETWORKS
from ..models.runs import card_of, fingerprint
from ..models.starts import Start
from ..shapes.shape_model import ShapeModel, transported
from ..shapes.sources import KINDS
from . import baselines, evaluation
from .evaluation import Unseen, made_once, once
from .side_by_side import n_processes, side_by_side


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
        Networks start from pre-trained weights.
    networks : tuple of str
        Which of them; the encoder alone costs least (`make search`).
    start : {"scan", "shape models", "as it is"}
        What the decoder starts as: one socket; the shape models of the sockets, which the encoder
        learns to read before training; or what it is anyway.
    original : bool
        The recipe of the paper, in as many steps as the profile says under "original".
    changes : dict
        Entries of the study's recipe that are different.
    frozen : dict
        Network -> last layer that does not learn.
    """

    name: str
    sockets: str = "scans"
    augmented: bool = True
    transferred: bool = False
    networks: tuple = ("encoder",)
    start: str = "scan"
    original: bool = False
    changes: dict = field(default_factory=dict)
    frozen: dict = field(default_factory=dict)


_UNSEEN = {}


def _slug(name):
    return re.sub(r"\W+", "_", name)


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
    Condition("shape-model start", start="shape models"),
    Condition("all training sockets", sockets="training", start="shape models"),
)
BEST = OTHERS[-1].name
# What shape-model starts are before they are trained: linear within each kind of socket.
BEFORE = {
    OTHERS[1].name: "linear, scans, same points",
    BEST: "linear, all training sockets, same points",
}
CONDITIONS = {condition.name: condition for condition in (*FACTORS, *OTHERS)}

# The same question in the paper's own way: its recipe, and all networks taken over as they are.
ORIGINAL = {
    f"original, {each.name}": replace(
        each, name=f"original, {each.name}", networks=NETWORKS, start="as it is", original=True
    )
    for each in FACTORS
}


def listed():
    """`CONDITIONS` as a table."""
    columns = ["name", "sockets", "augmented", "transferred", "start"]
    table = pd.DataFrame([*CONDITIONS.values()])[columns]
    return table.set_index("name").rename_axis("condition")


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
    started, sets = CONDITIONS["shape-model start"], socket_sets(study)
    sizes = {study_recipe(study).code_size: started}
    for size in study["code_sizes"]:
        sizes[size] = replace(started, name=f"code size {size}", changes={"code_size": size})
    names = [f"{n} scans" for n in study["few_scans"]]
    numbers = {len(sets[name]): replace(started, name=name, sockets=name) for name in names}
    numbers |= {len(sets["scans"]): started, len(sets["training"]): CONDITIONS[BEST]}
    pushed = {"critic": CONDITIONS["augmentation"]}
    for name, changes in study["pushed_by"].items():
        pushed[name] = Condition(f"pushed by {name}", changes=changes)
    varied = {"frozen layers": frozen, "code size": sizes, "sockets": numbers}
    varied["pushed to the prior by"] = pushed
    return {what: values for what, values in varied.items() if len(values) > 1}


def ablated(study, evaluated):
    """
    Results of the ablations.

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
    return {
        f"{what}: {value}": evaluated[condition.name]
        for what, values in ablations(study).items()
        for value, condition in values.items()
    }


def runs(study, listed=None):
    """
    Every training run of the study, or those of the conditions in the dict `listed`.

    Returns
    -------
    list of (Study, Condition)
        Split by split.
    """
    varied = {}
    if not listed:
        listed = CONDITIONS
        varied = {c.name: c for values in ablations(study).values() for c in values.values()}
    return [
        (each, condition)
        for each in study.splits()
        for name, condition in (listed | varied).items()
        if name in listed or each.seed in study["ablation_splits"]
    ]


def socket_sets(study):
    """
    Sets of real sockets to learn from: index arrays into the study's shapes.

    Returns
    -------
    dict
        "scans"; "training", the scans and all else that is neither validation nor test; "n scans",
        n of the scans, each set within the next larger one, kinds in proportion.
    """
    shapes, _, split = study.load_sockets()
    scans, kinds = split["scans"], shapes.kinds[split["scans"]]
    sets = {"scans": scans}
    for n in study["few_scans"]:
        chosen = []
        for kind in np.unique(shapes.kinds):
            drawn = np.random.default_rng(study.seed).permutation(scans[kinds == kind])
            chosen.append(drawn[: max(3, round(n * len(drawn) / len(scans)))])
        sets[f"{n} scans"] = np.sort(np.concatenate(chosen))
    return sets | {"training": np.sort(np.concatenate([scans, split["more"]]))}


def study_recipe(study, condition=FACTORS[0]):
    """The recipe of a profile, or of one of its conditions."""
    if condition.original:
        return recipes.recipe("paper", **study["original"]["changes"])
    start = study["shape_model_start"]["changes"] if condition.start == "shape models" else {}
    changes = study["recipe"]["changes"] | start | condition.changes
    return recipes.recipe(study["recipe"]["name"], **changes)


def shape_models_path(study, sockets, kind):
    """The file of the shape model of a set of sockets."""
    name = f"shape_model_{kind}_{_slug(sockets)}_{study.seed}"
    return study.model_path(name).with_suffix(".npz")


def fit_shape_models(study):
    """
    Fit and write a shape model of each set of sockets, with the correspondence of their clouds.

    The scans of each split, all its training sockets, and where it has ablations fewer scans.
    """
    fits = [
        (each, name, kind)
        for each in study.splits()
        for name in socket_sets(each)
        if name in ("scans", "training") or each.seed in study["ablation_splits"]
        for kind in KINDS
    ]
    side_by_side(_fit_shape_model, fits, [1.0] * len(fits), "shape models")


def _fit_shape_model(study, sockets, kind):
    shapes, surfaces, _ = study.load_sockets()
    chosen = [i for i in socket_sets(study)[sockets] if shapes.kinds[i] == kind]
    n_points, some = study["shape_model"]["points"], [surfaces[i] for i in chosen]
    path, grids = shape_models_path(study, sockets, kind), [each.vertices for each in some]
    code = digest_of("aaelib.shapes.shape_model")
    with made_once(path, [code, grids, shapes.points[chosen], n_points, study.seed]) as is_new:
        if is_new:
            transported(some, shapes.points[chosen], n_points, seed=study.seed).save(path)


def load_shape_models(study, sockets="scans"):
    """
    Kind -> shape model of a set of sockets, with the correspondence of their clouds.

    Notebook 01 fits them; one that is not there is fitted now.
    """
    found = {}
    for kind in KINDS:
        path = shape_models_path(study, sockets, kind)
        if not path.exists():
            _fit_shape_model(study, sockets, kind)
        found[kind] = ShapeModel.load(path)
    return found


def path_of(study, condition, trained=True):
    """Path of a condition's model of the study's split, or of what it starts as."""
    return study.model_path(f"{_slug(condition.name)}{'' if trained else '_before'}_{study.seed}")


def before_training(study, condition):
    """Path of the model that a shape-model start gives; it is made once, and kept."""
    shapes, _, split = study.load_sockets()
    learnt, recipe = shapes[socket_sets(study)[condition.sockets]], study_recipe(study, condition)
    validation = shapes[split["validation"]]
    models = tuple(load_shape_models(study, condition.sockets).values())
    steps, limit = study["shape_model_start"]["steps"], study["transfer"]["limit"]
    begun = Start(decoder="shape models", shape_models=models, steps=steps, limit=limit)
    path, settings = path_of(study, condition, trained=False), training.Settings(seed=study.seed)
    known_by = fingerprint([learnt, validation], recipe, begun, settings, {})
    with made_once(path, known_by) as is_new:
        if is_new:
            aae = begun.begin(learnt.points, recipe, study.seed)
            training.estimate_noise(aae, aae.normalize(validation.points)[0])
            aae.save(path)
    return path


def split_corpus(study, corpus):
    """Split shapes for pre-training: "training" and "validation", index arrays."""
    share, seed = study["corpus"]["validation"], study["splits"][0]
    parts = train_test_split(np.arange(len(corpus)), test_size=share, random_state=seed)
    return dict(zip(("training", "validation"), parts, strict=True))


def pretrain(study, corpus, condition=FACTORS[-1]):
    """Train the networks that a condition starts from, or find them trained; return the `Run`."""
    path, recipe = pretrained_path(study, condition), study_recipe(study, condition)
    settings = training.Settings(seed=study["splits"][0], **study["pretraining"])
    if not path.exists():
        seconds = settings.n_steps * training.step_seconds(recipe, settings.batch_size)
        _announce(f"{settings.n_steps:,} steps of pre-training", seconds)
    begun = Start(scale=1.0)  # the corpus is in unit spheres already
    return training.train(corpus, split_corpus(study, corpus), recipe, begun, settings, path)


def pretrained_path(study, condition=FACTORS[-1]):
    """Path of the pre-trained model that a condition starts from."""
    return study.model_path("pretrained_original" if condition.original else "pretrained")


def start(study, condition):
    """The `Start` of a condition."""
    if condition.start == "shape models":
        begun = load(before_training(study, condition))
        return Start(model=begun, frozen=condition.frozen, scale=begun.scale)
    model = load(pretrained_path(study, condition)) if condition.transferred else None
    decoder = "cloud" if condition.start == "scan" else "as it is"
    return Start(model, condition.networks, frozen=condition.frozen, decoder=decoder)


def train(study, condition):
    """Train one condition on the study's split, or find it trained; return its `Run`."""
    shapes, _, split = study.load_sockets()
    parts = {part: split[part] for part in ("validation", "test")}
    parts = {"training": socket_sets(study)[condition.sockets]} | parts
    drawn = load_shape_models(study, condition.sockets) if condition.augmented else {}
    settings = study["transfer"] | {"shape_models": tuple(drawn.values()), "seed": study.seed}
    if condition.original:
        settings |= {name: value for name, value in study["original"].items() if name != "changes"}
    settings, recipe = training.Settings(**settings), study_recipe(study, condition)
    about = {"source": study.source, "condition": condition.name, "start": condition.start}
    begun, path = start(study, condition), path_of(study, condition)
    return training.train(shapes, parts, recipe, begun, settings, path, about)


def train_all(study, listed=None):
    """Say how long it takes, then train and evaluate `runs`: {(condition, split): `Run`}."""
    listed = runs(study, listed)
    new = [study_recipe(*run) for run in listed if not path_of(*run).exists()]
    # Of a step in one of the processes, all of which are busy.
    steps = [(recipe, study["transfer"]["batch_size"]) for recipe in dict.fromkeys(new)]
    taken = side_by_side(training.step_seconds, steps, [1.0] * len(steps), "steps, to time them")
    taken, seconds = dict(zip(dict.fromkeys(new), taken, strict=True)), []
    for each, condition in listed:
        counts, each.source = budget(study, condition), study.source
        # Pre-training is done already.
        n_steps = sum(counts.values()) - condition.transferred * counts["steps_before"]
        is_new = not path_of(each, condition).exists()
        seconds.append(is_new and n_steps * taken[study_recipe(study, condition)])
    if new:
        _announce(f"{len(new)} models to train", sum(seconds) / n_processes(len(listed)))
    done = side_by_side(_train_and_evaluate, listed, seconds, "runs")
    return {(c.name, each.seed): run for (each, c), run in zip(listed, done, strict=True)}


def _train_and_evaluate(study, condition):
    run = train(study, condition)
    evaluate(study, condition)
    return run


def _announce(what, seconds):
    # To standard error: notebooks are stored without it, as times differ from run to run.
    minutes = max(1, round(seconds / 60))
    print(f"{what}: about {minutes} min here, validation apart", file=sys.stderr)


def unseen_sockets(study):
    """The test sockets of the study's split, as `Unseen`."""
    shapes, surfaces, split = study.load_sockets()
    tested = split["test"]
    emd_points = study["evaluation"]["emd_points"]
    made = Unseen(shapes[tested], [surfaces[i] for i in tested], drawn=1, emd_points=emd_points)
    # What it has computed of real sockets serves all runs of a split.
    return _UNSEEN.setdefault(joblib.hash(made.key), made)


def known_sockets(study, sockets):
    """A set of sockets (`socket_sets`) that baselines may learn from, as `Known`."""
    shapes, surfaces, _ = study.load_sockets()
    index = socket_sets(study)[sockets]
    return baselines.Known(shapes[index], [surfaces[i] for i in index])


def draw_seeds(study):
    """Seeds of the draws of the prior, other than those by which epochs are selected."""
    return range(1000, 1000 + study["evaluation"]["draws"])


def evaluate(study, condition, trained=True):
    """
    Evaluate the model of a condition on test sockets, or read what an earlier call found.

    Parameters
    ----------
    study : Study
    condition : Condition
    trained : bool
        False: the model that a shape-model start gives, before it is trained.

    Returns
    -------
    dict of str to numpy.ndarray
        What `evaluation.measure` gives; of `CONDITIONS` and `ORIGINAL` also the mean errors of the
        sockets that the model learnt from (``trained_chamfer``) and of validation sockets
        (``validation_chamfer``), and the divergence of samples from these (``validation_jsd``).
    """
    unseen, seeds, others = unseen_sockets(study), draw_seeds(study), {}
    if trained and condition.name in CONDITIONS | ORIGINAL:
        shapes, _, split = study.load_sockets()
        others["trained"] = shapes.points[socket_sets(study)[condition.sockets]]
        others["validation"] = shapes.points[split["validation"]]
    path = path_of(study, condition) if trained else before_training(study, condition)

    def measured():
        aae = load(path)
        found = evaluation.measure(aae, unseen, seeds)
        for name, points in others.items():
            errors = reconstruction_chamfer(points, aae.reconstruct(points))
            found[f"{name}_chamfer"] = errors.mean()
        if others:
            found["validation_jsd"] = training.prior_jsd(aae, others["validation"])
        return found

    code = digest_of(evaluation.__name__)
    key = [card_of(path).get("fingerprint"), code, unseen.key, list(seeds), others]
    return once(path.with_suffix(".evaluation.npz"), key, measured)


def evaluate_all(study, listed=None):
    """
    Evaluate `runs`, what shape-model starts begin as, and the baselines.

    Returns
    -------
    dict
        Name -> list of results, one for each split.
    """
    listed = runs(study, listed)
    begun = [(each, c, False) for each, c in listed if c.name in BEFORE]
    of_runs = side_by_side(evaluate, listed + begun, [1.0] * len(listed + begun), "evaluation")
    others = [(each, name) for name in baselines.NAMES for each in study.splits()]
    of_others = side_by_side(evaluate_baseline, others, [1.0] * len(others), "baselines")
    names = [c.name for _, c in listed] + [BEFORE[c.name] for _, c, _ in begun]
    names += [name for _, name in others]
    found = {}
    for name, result in zip(names, of_runs + of_others, strict=True):
        found.setdefault(name, []).append(result)
    return found


def evaluate_baseline(study, name):
    """Evaluate a baseline on the study's split, or read what an earlier call found."""
    unseen, seeds = unseen_sockets(study), draw_seeds(study)
    known = [known_sockets(study, each) for each in ("scans", "training")]
    code, size = digest_of(baselines.__name__, evaluation.__name__), study_recipe(study).code_size
    key = [code, unseen.key, *socket_sets(study).values(), size, list(seeds)]
    made = baselines.of_study(unseen, *known, size, seeds)[name]
    file = study.model_path(f"{_slug(name)}_{study.seed}").with_suffix(".evaluation.npz")
    return once(file, key, lambda: unseen.evaluate(*made()))


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
        "steps": on sockets; "steps_after": of the decoder at refined codes.
    """
    before = 0
    if condition.transferred:
        before = study["pretraining"]["epochs"] * study["pretraining"]["steps_per_epoch"]
    if condition.start == "shape models":
        before = study["shape_model_start"]["steps"]
    length = study["original" if condition.original else "transfer"]
    steps = length["epochs"] * length["steps_per_epoch"]
    after = study_recipe(study, condition).finetuning_steps
    return {"steps_before": before, "steps": steps, "steps_after": after}


def on_validation(study, trained, listed=None):
    """
    Errors on validation sockets, and on the sockets that each condition learnt from.

    Parameters
    ----------
    study : Study
    trained : dict
        What `train_all` gave.
    listed : dict, optional
        The conditions, `CONDITIONS` by default.

    Returns
    -------
    pandas.DataFrame
        A row for each run: "condition", "split", what `budget` gives, "best_epoch";
        "trained_chamfer", "validation_chamfer", the mean errors of reconstruction in unit spheres,
        and "gap", the second over the first; "validation_jsd", of samples;
        "discriminator_accuracy", on codes of the selected epoch.
    """
    rows = []
    for each in study.splits():
        for name, condition in (listed or CONDITIONS).items():
            run, found = trained[name, each.seed], evaluate(each, condition)
            accuracy = run.history.val_discriminator_accuracy[run.best_epoch]
            row = {"condition": name, "split": each.seed} | budget(study, condition)
            row["best_epoch"] = run.best_epoch
            row |= {key: float(found[key]) for key in ("trained_chamfer", "validation_chamfer")}
            row["gap"] = row["validation_chamfer"] / row["trained_chamfer"]
            row["validation_jsd"] = float(found["validation_jsd"])
            rows.append(row | {"discriminator_accuracy": accuracy})
    return pd.DataFrame(rows)
