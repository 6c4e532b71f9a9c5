"""The study's answer: the paper's claims beside what is found, and the conclusions in words."""

from typing import NamedTuple

import pandas as pd

from . import baselines, conditions, even, figures, tables
from .conditions import BEFORE, BEST, FACTORS
from .evaluation import METRICS

NEITHER, AUGMENTATION, TRANSFER, BOTH = (condition.name for condition in FACTORS)
START = "shape-model start"
REGISTRY = METRICS | even.METRICS

_CLEARLY = 0.9  # a distance from the prior is lower by a tenth or more, as no interval decides

_QUESTION = ("chamfer", "one_pass_chamfer", "jsd", "one_nn_accuracy")
_EVEN = ("two_way_mm", "emd_mm", "one_nn_chamfer", "one_nn_emd")
CLAIMS = (
    ("augmentation helps, alone", {AUGMENTATION: 1, NEITHER: -1}, _QUESTION),
    ("augmentation helps, with transfer", {BOTH: 1, TRANSFER: -1}, _QUESTION),
    ("transfer helps, alone", {TRANSFER: 1, NEITHER: -1}, _QUESTION),
    ("transfer helps, with augmentation", {BOTH: 1, AUGMENTATION: -1}, _QUESTION),
    (
        "together more than the sum",
        {BOTH: 1, AUGMENTATION: -1, TRANSFER: -1, NEITHER: 1},
        ("chamfer", "one_pass_chamfer"),
    ),
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
        the model of all training sockets, and the ablations of what pushes codes to the prior.
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
    return Findings(
        tables.summary(evaluated, REGISTRY),
        tables.claims(evaluated, CLAIMS, REGISTRY),
        codes,
        tables.prior_checks(codes, conditions.study_recipe(study).prior_std),
    )


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
    by_transfer = ("transfer helps, alone", "transfer helps, with augmentation")
    said = [claims.loc[[name]].answer.tolist() for name in by_transfer]
    of_errors = [answer for each in said for answer in each[:2]]
    of_samples = [answer for each in said for answer in each[2:]]
    rows = [
        (
            "The least reconstruction error is 0.00124, by augmentation and transfer together.",
            "abstract",
            f"{table.chamfer[least]:.5f} refined, {table.one_pass_chamfer[least]:.5f} in one pass, "
            f"by '{least}'",
            least == BOTH,
        ),
        (
            "Transfer improves reconstruction.",
            "highlights",
            _counted(of_errors),
            set(of_errors) == {"supported"},
        ),
        (
            "Transfer improves generation.",
            "highlights",
            _counted(of_samples),
            set(of_samples) == {"supported"},
        ),
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
    """Such as "supported 1, undecided 3 of 4 comparisons"."""
    counts = pd.Series(answers).value_counts()
    told = ", ".join(f"{answer} {n}" for answer, n in counts.items())
    return f"{told} of {len(answers)} comparisons"


def sentences(found):
    """The answer (`Findings`) in six sentences."""
    table, claims, prior = found.table, found.claims, found.prior

    def change(column, start, end):
        return tables.change(table, column, start, end)

    def said(claim):
        return tables.answers(claims, claim)

    best, linear = table.loc[BEST], table.loc[BEFORE[BEST]]
    refined = prior.loc[f"{BEST}, refined"]
    real = table.one_nn_emd[baselines.NEAREST]
    return (
        "**Augmentation** changes the Chamfer distance of reconstruction "
        f"{change('chamfer', NEITHER, AUGMENTATION)}, in one pass of the encoder "
        f"{change('one_pass_chamfer', NEITHER, AUGMENTATION)}. That it helps: "
        f"{said('augmentation helps, alone')}.",
        f"**Transfer** changes it {change('chamfer', NEITHER, TRANSFER)}, with augmentation "
        f"{change('chamfer', AUGMENTATION, BOTH)}. That it helps: "
        f"{said('transfer helps, alone')}; with augmentation: "
        f"{said('transfer helps, with augmentation')}.",
        "That both together bring more than the sum of each alone: "
        f"{said('together more than the sum')}.",
        "A network that **starts as linear shape models** of the same scans, beside augmentation: "
        f"two-way surface distance {change('two_way_mm', AUGMENTATION, START)}. That it is better: "
        f"{said('a shape-model start beats augmentation')}.",
        f"**What training adds to linear shape models** of {BEST}: two-way surface distance "
        f"{linear.two_way_mm:.3f} mm before, {best.two_way_mm:.3f} mm after. That it is better: "
        f"{said('training adds to the shape models, all sockets')}.",
        "**Samples** of that network: a nearest-neighbour test that sorts them from unseen sockets "
        f"is right for {100 * best.one_nn_emd:.0f} % (by earth mover's distance; 50 % is chance), "
        f"and for {100 * real:.0f} % where other real sockets stand in their place; "
        f"{100 * refined.inside_95:.0f} % of unseen sockets have codes in the prior's 95 % region.",
    )
