"""The study's answer: the paper's claims beside what is found, and the conclusions in words."""

from functools import partial
from typing import NamedTuple

import pandas as pd

from . import baselines, conditions, even, figures, tables
from .conditions import BEFORE, BEST, FACTORS
from .evaluation import METRICS
from .templating import render

NEITHER, AUGMENTATION, TRANSFER, BOTH = (condition.name for condition in FACTORS)
START = "shape-model start"
REGISTRY = METRICS | even.METRICS

_CLEARLY = 0.9  # a distance from the prior is lower by a tenth or more, as no interval decides

_QUESTION = ("chamfer", "one_pass_chamfer", "jsd", "one_nn_accuracy")
_INTERACTION = {BOTH: 1, AUGMENTATION: -1, TRANSFER: -1, NEITHER: 1}
_EVEN = ("two_way_mm", "emd_mm", "one_nn_chamfer", "one_nn_emd")


def of_factors(neither, augmentation, transfer, both, metrics):
    """Claims that each factor helps, alone and with the other, as `tables.claims` takes them."""
    return (
        ("augmentation helps, alone", {augmentation: 1, neither: -1}, metrics),
        ("augmentation helps, with transfer", {both: 1, transfer: -1}, metrics),
        ("transfer helps, alone", {transfer: 1, neither: -1}, metrics),
        ("transfer helps, with augmentation", {both: 1, augmentation: -1}, metrics),
    )


CLAIMS = (
    *of_factors(NEITHER, AUGMENTATION, TRANSFER, BOTH, _QUESTION),
    ("together more than the sum", _INTERACTION, _QUESTION[:2]),
    ("a shape-model start beats augmentation", {START: 1, AUGMENTATION: -1}, _EVEN),
    ("training adds to the shape models, scans", {START: 1, BEFORE[START]: -1}, _EVEN),
    ("training adds to the shape models, all sockets", {BEST: 1, BEFORE[BEST]: -1}, _EVEN),
)


class Findings(NamedTuple):
    """
    What the study found, in tables.

    Attributes
    ----------
    table : pandas.DataFrame
        `tables.summary` by `REGISTRY` of all contenders.
    claims : pandas.DataFrame
        `tables.claims` of `CLAIMS`.
    codes : dict
        Name -> results of the models whose codes are compared with the prior: the four conditions,
        the model of all training sockets, and the ablations with another push to the prior.
    prior : pandas.DataFrame
        `tables.prior_checks` of these.
    """

    table: pd.DataFrame
    claims: pd.DataFrame
    codes: dict
    prior: pd.DataFrame


def find(study, evaluated):
    """Make the tables from what `conditions.evaluate_all` gives: `Findings`."""
    pushed = conditions.ablations(study).get("pushed to the prior by", {}).values()
    names = dict.fromkeys([*(c.name for c in FACTORS), BEST, *(c.name for c in pushed)])
    codes = {name: evaluated[name] for name in names}
    table, claims = tables.summary(evaluated, REGISTRY), tables.claims(evaluated, CLAIMS, REGISTRY)
    prior = tables.prior_checks(codes, conditions.study_recipe(study).prior_std)
    return Findings(table, claims, codes, prior)


def chart(table):
    """Draw the answer: errors of reconstruction of all that learns from the same 51 scans."""
    metrics = {name: METRICS[name] for name in ("surface_mm", "one_pass_mm")}
    untrained = [BEFORE[START], baselines.LINEAR]
    rows = [NEITHER, AUGMENTATION, TRANSFER, BOTH, START, *untrained]
    return figures.bars_with_baselines(table.loc[rows], metrics, untrained)


def paper_beside(found):
    """T0: what the paper says, where, and what is found (`Findings`) here; a `DataFrame`."""
    table, claims = found.table.loc[[NEITHER, AUGMENTATION, TRANSFER, BOTH]], found.claims
    least = table.chamfer.idxmin()
    energy = {name: found.prior.energy[f"{name}, one pass"] for name in (NEITHER, TRANSFER)}
    told = table.one_nn_accuracy[BOTH]
    of_transfer = claims.loc[["transfer helps, alone", "transfer helps, with augmentation"]]
    is_error = of_transfer.metric.isin([REGISTRY[metric][0] for metric in _QUESTION[:2]])
    errors, samples = of_transfer.answer[is_error], of_transfer.answer[~is_error]
    rows = [
        (
            "The least reconstruction error is 0.00124, by augmentation and transfer together.",
            "abstract",
            f"{table.chamfer[least]:.5f} refined, {table.one_pass_chamfer[least]:.5f} in one pass, "
            f"by '{least}'",
            least == BOTH,
        ),
        ("Transfer improves reconstruction.", "highlights", *_counted(errors)),
        ("Transfer improves generation.", "highlights", *_counted(samples)),
        (
            "Transfer regularizes the latent space.",
            "highlights",
            f"energy distance of codes (one pass) from the prior {energy[NEITHER]:.2f} without, "
            f"{energy[TRANSFER]:.2f} with transfer",
            energy[TRANSFER] < _CLEARLY * energy[NEITHER],
        ),
        (
            "Generated and real sockets can be told apart.",
            "abstract",
            f"1-NN accuracy of '{BOTH}' {told:.2f} (0.5: they can't)",
            told > 0.55,
        ),
    ]
    frame = pd.DataFrame(rows, columns=["the paper", "where", "here", "agrees"])
    return frame.assign(agrees=frame.agrees.map({True: "yes", False: "no"})).set_index("the paper")


def _counted(answers):
    """Such as "supported 1, undecided 3 of 4 comparisons", and whether all are supported."""
    told = ", ".join(f"{answer} {n}" for answer, n in answers.value_counts().items())
    return f"{told} of {len(answers)} comparisons", (answers == "supported").all()


def sentences(found):
    """The answer (`Findings`) in six sentences."""
    roles = {"neither": NEITHER, "augmentation": AUGMENTATION, "transfer": TRANSFER, "both": BOTH}
    roles |= {"start": START, "all_sockets": BEST, "untrained": BEFORE[BEST]}
    roles |= {"real": baselines.NEAREST, "inside": found.prior.inside_95[f"{BEST}, refined"]}
    change, said = partial(tables.change, found.table), partial(tables.answers, found.claims)
    text = render("answers.md.j2", table=found.table, change=change, said=said, **roles)
    return text.splitlines()
