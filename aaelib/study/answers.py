"""The study's answer: the paper's claims beside what is found, and the conclusions in words."""

import pandas as pd

from . import baselines, even, tables
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


def paper_beside(table, claims, prior):
    """
    T0: what the paper says, where, and what is found here.

    Parameters
    ----------
    table : pandas.DataFrame
        `tables.summary` of the four conditions.
    claims : pandas.DataFrame
        `tables.claims` of `CLAIMS`.
    prior : pandas.DataFrame
        `tables.prior_checks` of the four conditions.

    Returns
    -------
    pandas.DataFrame
    """
    least = table.chamfer.idxmin()
    energy = {name: prior.energy[f"{name}, one pass"] for name in (NEITHER, TRANSFER)}
    told = table.one_nn_accuracy[BOTH]
    by_transfer = ("transfer helps, alone", "transfer helps, with augmentation")
    found = {name: claims.loc[[name]].answer.tolist() for name in by_transfer}
    of_errors = [answer for each in found.values() for answer in each[:2]]
    of_samples = [answer for each in found.values() for answer in each[2:]]
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


def sentences(table, claims, prior):
    """
    The answer in six sentences.

    Parameters
    ----------
    table : pandas.DataFrame
        `tables.summary` by `REGISTRY` of all contenders.
    claims, prior
        As for `paper_beside`.
    """

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
        f"Of the codes of unseen sockets {100 * refined.inside_95:.0f} % lie in the prior's 95 % "
        f"region. Its samples are told from real sockets with accuracy {best.one_nn_emd:.2f} (1-NN "
        f"by earth mover's distance; 0.5: not at all), other real sockets with {real:.2f}.",
    )
