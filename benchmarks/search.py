"""
Vary the default recipe, one thing at a time: ``python -m benchmarks search [KEY ...]``.

Each trial differs in one thing from a base, the study's "shape-model start" on all training
sockets, on the profile's first split, and is scored on validation sockets; a difference no larger
than that between splits decides nothing. Test sockets take no part.

The profile's notebooks 01 and 02 must have run (``make reproduce``). Every finished trial is a line
of ``results/search/trials.csv``; one that is there with the same settings and source is not run
again, and one that was cut off goes on. Lines do not know of changed code: delete
``results/search`` to measure all of it anew. ``results/search/search.md`` is the table, which
``python -m benchmarks store`` copies beside this file.
"""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from aaelib.models.runs import card_of
from aaelib.shapes import sources
from aaelib.shapes.writing import replacing
from aaelib.study import conditions
from aaelib.study.conditions import Condition
from aaelib.study.evaluation import METRICS, Unseen
from aaelib.study.workspace import Study

FOLDER = Path(__file__).resolve().parents[1] / "results" / "search"
DRAWS_SEED = 1000  # other draws than those by which epochs are selected
COLUMNS = (*METRICS, "discriminator_accuracy", "training_s")


@dataclass(frozen=True)
class Trial:
    """
    A line of the table.

    Parameters
    ----------
    what : str
        What is different, and from what.
    condition : Condition
        What is trained; its name, of the trial that trains it, names the model.
    profile : dict
        Section -> entries of the profile that are different.
    refinement_steps : int, optional
        Evaluate with that many, whatever the recipe that trained has.
    reference : str or None
        Key of the trial from which one thing is different.
    """

    what: str
    condition: Condition
    profile: dict = field(default_factory=dict)
    refinement_steps: int | None = None
    reference: str | None = "base"


def trials(study):
    """
    What is tried.

    Parameters
    ----------
    study : Study
        Its recipe at the shape-model start is what is varied.

    Returns
    -------
    dict
        Key -> Trial.
    """
    start = dataclasses.replace(conditions.CONDITIONS["shape-model start"], sockets="training")
    base = dataclasses.replace(start, name="base")
    found = {"base": Trial("base: shape-model start, all training sockets", base, reference=None)}

    def add(key, what, reference="base", profile=None, **others):
        condition = dataclasses.replace(start, name=key, **others)
        found[key] = Trial(what, condition, profile or {}, reference=reference)

    # With the study's own rates: the base's are for a decoder that is right from the start.
    add("scan", "decoder starts as a scan, the study's own rates", None, start="scan")
    for key, entry, value in (
        ("scan-rate-3e-4", "autoencoder_rate", 3e-4),
        ("plain-decoder", "linear_models", 0),
    ):
        add(key, f"scan start, {entry} {value}", "scan", start="scan", changes={entry: value})
    add(
        "regression-1",
        "encoder reads shape models for 1 step only",
        profile={"shape_model_start": {"steps": 1}},
    )
    add("finetuning-0", "finetuning_steps 0", changes={"finetuning_steps": 0})
    for steps in (0, 2, 20):
        found[f"refinement-{steps}"] = Trial(
            f"refinement_steps {steps}, of the base's model", base, refinement_steps=steps
        )
    for key, entry, value in (
        ("seen-256", "encoder_points", 256),
        ("rate-0", "autoencoder_rate", 0.0),
        ("rate-3e-4", "autoencoder_rate", 3e-4),
        ("finetuning-rate-3e-4", "finetuning_rate", 3e-4),
        ("generator-0", "generator_weight", 0.0),
        ("generator-0.1", "generator_weight", 0.1),
        ("code-8", "code_size", 8),
        ("code-32", "code_size", 32),
        ("cross-entropy", "adversarial", "cross-entropy"),
    ):
        add(key, f"{entry} {value}", changes={entry: value})
    for share in (0.2, 0.8):
        what = f"share {share} of a batch drawn"
        add(f"share-{share}", what, profile={"transfer": {"share": share}})
    original = Condition("original", sockets="training", original=True)
    found["original"] = Trial("original recipe", original, reference=None)
    return found


def settings(study, trial):
    """
    All that a trial's numbers depend on, but for the code.

    Parameters
    ----------
    study : Study
        As the profile has it.
    trial : Trial

    Returns
    -------
    dict
        Flat; of trials that are one thing apart, one entry differs.
    """
    condition = trial.condition
    sections = {
        name: study[name] | trial.profile.get(name, {})
        for name in ("sockets", "shape_model", "transfer", "shape_model_start")
    }
    if condition.original:
        sections["transfer"] = sections["transfer"] | study["original"]
    recipe = dataclasses.asdict(conditions.study_recipe(study, condition))
    if trial.refinement_steps is not None:
        recipe["refinement_steps"] = trial.refinement_steps
    # What the recipe takes over of these is in the recipe.
    sections["transfer"].pop("changes", None)
    sections["shape_model_start"].pop("changes", None)
    whole = {
        **sections,
        "recipe": recipe,
        "condition": {
            "sockets": condition.sockets,
            "augmented": condition.augmented,
            "transferred": condition.transferred,
            "frozen": condition.frozen,
            "start": condition.start,
        },
        "run": {
            "profile": study.profile,
            "split": study.seed,
            "source": study.source,
        },
    }
    return {f"{name}.{key}": value for name, part in whole.items() for key, value in part.items()}


def prepare(profile, keys=None):
    """
    The study, its inputs read, and its trials.

    Parameters
    ----------
    profile : str
    keys : sequence of str, optional
        Those that are wanted.

    Returns
    -------
    study : Study
    every : dict
        What `trials` gives.

    Raises
    ------
    ValueError
        For an unknown profile or key, naming those that there are.
    FileNotFoundError
        If the profile's notebooks have not run, naming what runs them.
    """
    study = Study(profile, "search")
    every = trials(study)
    if unknown := sorted(set(keys or ()) - set(every)):
        raise ValueError(f"no trial {unknown}; there are: {', '.join(every)}")
    _check_inputs(study)
    return study, every


def run(profile, keys=None, measure=None):
    """
    Run the trials that are not finished, and write the table.

    Parameters
    ----------
    profile, keys
        As in `prepare`; the table has all that are finished.
    measure : callable, optional
        `measure(profile, trial)` gives the trial's numbers, by default those of `measured`.

    Returns
    -------
    str
        The table.
    """
    study, every = prepare(profile, keys)
    progress = tqdm([key for key in every if key in keys] if keys else list(every))
    for key in progress:
        progress.set_description(key)
        digest = _digest(settings(study, every[key]))
        if digest in finished().settings.values:
            continue
        numbers = (measure or measured)(profile, every[key])
        line = {
            "key": key,
            "what": every[key].what,
            **numbers,
            "source": study.source,
            "profile": profile,
            "split": study.seed,
            "settings": digest,
        }
        # Read again: what another run has finished meanwhile stays.
        with replacing(FOLDER / "trials.csv") as temporary:
            pd.DataFrame([*finished().to_dict("records"), line]).to_csv(temporary, index=False)
    text = table(study, every, finished())
    with replacing(FOLDER / "search.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def finished():
    """All trials that were finished, whatever their settings: a row each."""
    file = FOLDER / "trials.csv"
    if not file.exists():
        return pd.DataFrame({"key": [], "settings": []})
    return pd.read_csv(file, dtype={"settings": str})


def table(study, every, rows):
    """
    The table in Markdown.

    Parameters
    ----------
    study : Study
    every : dict
        What `trials` gave.
    rows : pandas.DataFrame
        What `finished` gave; those with other settings than these trials are left out.

    Returns
    -------
    str
    """
    by_settings = {row["settings"]: row for row in rows.to_dict("records")}
    lines = []
    for key, trial in every.items():
        if row := by_settings.get(_digest(settings(study, trial))):
            numbers = {c: "-" if pd.isna(row[c]) else f"{row[c]:.4g}" for c in COLUMNS}
            lines.append({"trial": key, "what": trial.what} | numbers)
    frame = pd.DataFrame(lines, columns=["trial", "what", *COLUMNS])
    shown = frame.to_markdown(index=False, disable_numparse=True)
    missing = [key for key in every if key not in set(frame.trial)]
    left_out = f" Not run: {', '.join(missing)}." if missing else ""
    return (
        f"{shown}\n\n**The search for the recipe**, one thing varied at a time. Reconstruction "
        "with refined codes and in one pass of the encoder; generation by 3 samples a socket. "
        "chamfer, mm, fidelity, jsd: lower is better; coverage: higher; one_nn_accuracy, "
        "discriminator_accuracy: 0.5 is best. training_s: seconds, the start and fine-tuning "
        f"included; none where nothing was trained, or not in one go.{left_out} *Source: "
        f"{study.source} · profile {study.profile} · split {study.seed} · validation sockets: "
        "differences below the spread of T4 over splits are chance.*\n"
    )


def _check_inputs(study):
    """Raise FileNotFoundError unless the notebooks have written what the search needs."""
    study.load_sockets()
    files = [conditions.shape_models_path(study, "training", kind) for kind in sources.KINDS]
    missing = [str(file) for file in files if not file.exists()]
    if missing:
        raise FileNotFoundError(
            f"missing: {', '.join(missing)}; the search needs what the notebooks 01 and 02 of the "
            f"profile {study.profile!r} write: `make reproduce PROFILE={study.profile}`"
        )


def measured(profile, trial):
    """
    Train a trial, or find it trained, and score it on validation sockets.

    Parameters
    ----------
    profile : str
    trial : Trial

    Returns
    -------
    dict
        By `COLUMNS`.
    """
    study = _TrialStudy(profile, trial.profile)
    path = conditions.path_of(study, trial.condition)
    # The clock knows nothing of an earlier process.
    new = not card_of(path) and not path.with_suffix(".resume").exists()
    begun = time.perf_counter()
    run = conditions.train(study, trial.condition)
    seconds = time.perf_counter() - begun
    shapes, surfaces, split = study.load_sockets()
    index = split["validation"]
    unseen = Unseen(shapes[index], [surfaces[i] for i in index])
    return scores(run.model, unseen, trial.refinement_steps) | {
        "discriminator_accuracy": run.history.val_discriminator_accuracy[run.best_epoch],
        "training_s": seconds if new and trial.refinement_steps is None else np.nan,
    }


def scores(aae, unseen, refinement_steps=None):
    """
    How well a model reconstructs sockets, with refined codes and without, and generates such.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    unseen : Unseen
        Sockets that it was not trained on.
    refinement_steps : int, optional
        By default those of its recipe.

    Returns
    -------
    dict of str to float
        Means, by `COLUMNS`.
    """
    points, drawn = unseen.points, aae.sample(unseen.drawn * len(unseen), DRAWS_SEED)
    refined, one_pass = (
        aae.reconstruct(points, refinement_steps=steps) for steps in (refinement_steps, 0)
    )
    found = unseen.evaluate(refined, [drawn], one_pass)
    return {name: float(np.mean(values)) for name, values in found.items()}


class _TrialStudy(Study):
    """A profile with some entries changed; its inputs are the study's, its models the search's."""

    def __init__(self, profile, changes):
        super().__init__(profile, "search")
        for section, entries in changes.items():
            self.parameters[section] = self.parameters[section] | entries

    def model_path(self, name):
        return FOLDER / "models" / f"{self.profile}_{name}.keras"


def _digest(entries):
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]
