"""
Vary the study's recipes, one thing at a time: ``python -m benchmarks search [KEY ...]``.

A trial differs in one thing from another, its reference, and is scored on validation sockets; a
difference no larger than that between splits decides nothing. Test sockets take no part.

The profile's notebook 01 must have run (``make reproduce``). Every finished trial is a line of
``results/search/trials.csv``; one that is there with the same settings and source is not run again,
and one that was cut off goes on. Lines do not know of changed code: delete ``results/search`` to
measure all of it anew. ``results/search/search.md`` is the table, which ``python -m benchmarks
store`` copies beside this file.
"""

import dataclasses
import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture
from tqdm.auto import tqdm

from aaelib import shapes
from aaelib.models import latent
from aaelib.models.recipes import NETWORKS
from aaelib.models.runs import card_of
from aaelib.shapes.folders import Shapes
from aaelib.shapes.writing import replacing
from aaelib.study import conditions
from aaelib.study.conditions import Condition
from aaelib.study.evaluation import METRICS, Unseen
from aaelib.study.spread import with_spread
from aaelib.study.workspace import Study

FOLDER = Path(__file__).resolve().parents[1] / "results" / "search"
RATES = "autoencoder_rate", "discriminator_rate", "generator_rate"
DRAWS_SEED = 1000  # other draws than those by which epochs are selected
COLUMNS = (*METRICS, "code_energy", "discriminator_accuracy", "training_s")


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
    mixture : int
        Samples are decoded from so many Gaussians, fitted to the codes of training sockets (Ghosh
        et al. 2020). 0: from the prior.
    reference : str or None
        Key of the trial from which one thing is different.
    """

    what: str
    condition: Condition
    profile: dict = field(default_factory=dict)
    refinement_steps: int | None = None
    mixture: int = 0
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
    found = {}

    def add(key, reference, what, changes=None, profile=None, **others):
        made = dataclasses.replace(found[reference].condition, name=key, **others)
        made = dataclasses.replace(made, changes=made.changes | (changes or {}))
        profile = found[reference].profile | (profile or {})
        found[key] = Trial(what, made, profile, reference=reference)

    # Transfer, on 51 scans and nothing else.
    found["neither"] = Trial("51 scans, random weights", conditions.FACTORS[0], reference=None)
    add("encoder", "neither", "the encoder pre-trained", transferred=True)
    add("transfer", "encoder", "all networks, the decoder keeps its order", networks=NETWORKS)
    add("decoder", "transfer", "only the decoder pre-trained", networks=("decoder",))
    both = ("encoder", "decoder")
    add("autoencoder", "transfer", "encoder and decoder pre-trained", networks=both)
    add(
        "as-published", "transfer", "decoder not moved to a scan, as in the paper", start="as it is"
    )
    recipe = conditions.study_recipe(study)
    slower = {each: 0.3 * getattr(recipe, each) for each in RATES}
    add("slower", "transfer", "all rates x 0.3", slower)
    add("frozen", "encoder", "encoder's first two layers frozen", frozen={"encoder": "point_2"})
    add("procedural", "encoder", "procedural corpus", profile={"corpus": {"source": "bundled"}})
    many = {"corpus": {"source": "bundled", "n_per_family": 3 * study["corpus"]["n_per_family"]}}
    add("procedural-many", "procedural", "three times as many shapes", profile=many)
    add("both-corpora", "encoder", "both corpora", profile={"corpus": {"source": "both"}})
    long = 3 * study["pretraining"]["epochs"]
    add(
        "longer",
        "encoder",
        "pre-trained three times as long",
        profile={"pretraining": {"epochs": long}},
    )

    # What pushes codes towards the prior.
    found["augmentation"] = Trial("augmentation, critic", conditions.FACTORS[1], reference=None)
    for weight in (0.0, 0.3):
        add(
            f"critic-{weight:g}", "augmentation", f"weight {weight:g}", {"generator_weight": weight}
        )
    for key, matching in (("mmd", "mmd"), ("sliced", "sliced Wasserstein")):
        add(key, "augmentation", f"{matching} in place of the critic", {"matching": matching})
        for weight in (0.3, 3.0):
            add(f"{key}-{weight:g}", key, f"weight {weight:g}", {"generator_weight": weight})
    for count in (1, 2):
        what = f"critic, samples from {count} Gaussians fitted to codes"
        found[f"mixture-{count}"] = dataclasses.replace(
            found["augmentation"], what=what, mixture=count, reference="augmentation"
        )

    # The model to take away.
    start = dataclasses.replace(conditions.CONDITIONS[conditions.BEST], name="base")
    found["base"] = Trial("shape-model start, all training sockets", start, reference=None)
    for steps in (1, 6000):
        changed = {"shape_model_start": {"steps": steps}}
        add(
            f"regression-{steps}",
            "base",
            f"encoder reads shape models for {steps} steps",
            profile=changed,
        )
    for steps in (2, 10):
        found[f"refinement-{steps}"] = Trial(
            f"refinement_steps {steps}, of the base's model", start, refinement_steps=steps
        )
    for entry, value in (
        ("finetuning_steps", 0),
        ("autoencoder_rate", 0.0),
        ("autoencoder_rate", 1e-4),
        ("generator_rate", 1e-4),
        ("generator_weight", 0.03),
    ):
        add(f"{entry}-{value:g}", "base", f"{entry} {value:g}", {entry: value})
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
    recipe = dataclasses.asdict(conditions.study_recipe(study, condition))
    if trial.refinement_steps is not None:
        recipe["refinement_steps"] = trial.refinement_steps
    whole = {
        name: {
            k: v for k, v in (study[name] | trial.profile.get(name, {})).items() if k != "changes"
        }
        for name in ("sockets", "shape_model", "corpus", "pretraining", "transfer")
    }
    whole["corpus"].setdefault("source", "auto")
    whole |= {
        "start": study["shape_model_start"] | trial.profile.get("shape_model_start", {}),
        "recipe": recipe,
        "condition": {k: v for k, v in vars(condition).items() if k not in ("name", "changes")},
        "run": {"profile": study.profile, "mixture": trial.mixture, "source": study.source},
    }
    del whole["start"]["changes"]  # they are in the recipe
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
        If the profile's first notebook has not run, naming what runs it.
    """
    study = Study(profile, "search")
    every = trials(study)
    if unknown := sorted(set(keys or ()) - set(every)):
        raise ValueError(f"no trial {unknown}; there are: {', '.join(every)}")
    study.load_sockets()
    return study, every


def run(profile, keys=None, splits=(0,), measure=None):
    """
    Run the trials that are not finished, and write the table.

    Parameters
    ----------
    profile, keys
        As in `prepare`; the table has all that are finished.
    splits : sequence of int
        Seeds of splits of the sockets.
    measure : callable, optional
        `measure(profile, trial, split)` gives the trial's numbers, by default those of `measured`.

    Returns
    -------
    str
        The table.
    """
    study, every = prepare(profile, keys)
    progress = tqdm([(key, split) for split in splits for key in keys or every])
    for key, split in progress:
        progress.set_description(f"{key}, split {split}")
        known_by = {"settings": _digest(settings(study, every[key])), "split": split}
        if (finished()[list(known_by)] == pd.Series(known_by)).all(axis=1).any():
            continue
        numbers = (measure or measured)(profile, every[key], split)
        line = {"key": key, **numbers, **known_by}
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
        return pd.DataFrame({"key": [], "settings": [], "split": []})
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
    known = {_digest(settings(study, trial)): key for key, trial in every.items()}
    found = rows.assign(key=rows.settings.map(known)).groupby("key")
    shown = found.mean(numeric_only=True).reindex(columns=COLUMNS)
    spread = found.std(numeric_only=True).reindex(columns=COLUMNS).add_suffix("_sd")
    about = pd.DataFrame(
        {
            "differs from": {key: trial.reference or "" for key, trial in every.items()},
            "in": {key: trial.what for key, trial in every.items()},
            "splits": found.size().reindex(every, fill_value=0),
        }
    ).loc[[key for key in every if key in shown.index]]
    frame = about.join(with_spread(shown.join(spread)))
    missing = [key for key in every if key not in shown.index]
    left_out = f" Not run: {', '.join(missing)}." if missing else ""
    return (
        f"{frame.rename_axis('trial').to_markdown(disable_numparse=True)}\n\n**The search for the "
        "recipe**, one thing varied at a time, on validation sockets. chamfer, mm, fidelity, jsd: "
        "lower is better; coverage: higher; one_nn_accuracy, discriminator_accuracy: 0.5 is best. "
        "code_energy: energy distance of refined codes from the prior. training_s: seconds, the "
        f"start and fine-tuning included, if trained in one go. ± is over splits.{left_out} "
        f"*Source: {study.source} · profile {study.profile}*\n"
    )


def measured(profile, trial, split):
    """
    Train a trial, or find it trained, and score it on validation sockets.

    Parameters
    ----------
    profile : str
    trial : Trial
    split : int

    Returns
    -------
    dict
        By `COLUMNS`.
    """
    study = _TrialStudy(profile, trial.profile, split)
    sockets, surfaces, parts = study.load_sockets()
    if trial.condition.transferred:
        conditions.pretrain(study, _corpus(**study["corpus"]))
    # The clock knows nothing of an earlier process.
    path = conditions.path_of(study, trial.condition)
    new = not card_of(path) and not path.with_suffix(".resume").exists()
    begun = time.perf_counter()
    run = conditions.train(study, trial.condition)
    seconds = time.perf_counter() - begun
    index = parts["validation"]
    unseen = Unseen(sockets[index], [surfaces[i] for i in index])
    learnt = sockets.points[conditions.socket_sets(study)[trial.condition.sockets]]
    return scores(run.model, unseen, trial, learnt) | {
        "discriminator_accuracy": run.history.val_discriminator_accuracy[run.best_epoch],
        "training_s": seconds if new and trial.refinement_steps is None else np.nan,
    }


def scores(aae, unseen, trial, learnt):
    """
    How well a model reconstructs sockets, with refined codes and without, and generates such.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    unseen : Unseen
        Sockets that it was not trained on.
    trial : Trial
        Its `refinement_steps` and `mixture`.
    learnt : (n, n_points, 3) array
        Sockets that it was trained on, mm.

    Returns
    -------
    dict of str to float
        Means, by `COLUMNS`.
    """
    points, count, prior_std = unseen.points, unseen.drawn * len(unseen), aae.recipe.prior_std
    codes, one_pass = (aae.encode(points, steps) for steps in (trial.refinement_steps, 0))
    drawn = aae.draw_prior(count, DRAWS_SEED)
    if trial.mixture:
        fitted = GaussianMixture(trial.mixture, reg_covar=(0.1 * prior_std) ** 2, random_state=0)
        drawn = fitted.fit(aae.encode(learnt)).sample(count)[0]
    refined, fast = (aae.reconstruct(points, codes=each) for each in (codes, one_pass))
    found = unseen.evaluate(refined, [aae.decode(drawn)], fast)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return means | {"code_energy": latent.prior_check(codes, prior_std)["energy"]}


def _corpus(source="auto", limit=None, n_per_family=80, **_):
    """A corpus as `load_corpus` gives it, or "both" corpora in one."""
    if source != "both":
        return shapes.load_corpus(source, limit=limit, n_per_family=n_per_family)
    parts = [_corpus(each, limit, n_per_family) for each in ("ModelNet", "bundled")]
    joined = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("points", "names", "kinds")
    )
    return Shapes(*joined, " + ".join(part.source for part in parts))


class _TrialStudy(Study):
    """A profile with some entries changed; its sockets are the study's, its models the search's."""

    def __init__(self, profile, changes, split=0):
        super().__init__(profile, "search", split)
        for section, entries in changes.items():
            self.parameters[section] = self.parameters[section] | entries

    def model_path(self, name):
        pretraining = [self.parameters[section] for section in ("corpus", "pretraining")]
        suffix = f"_{_digest(pretraining)}" if name == "pretrained" else ""
        return FOLDER / "models" / f"{self.profile}_{name}{suffix}.keras"


def _digest(entries):
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]
