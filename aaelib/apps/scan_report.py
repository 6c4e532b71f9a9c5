"""Table, figures and sentences of completed scans, from what `as_scanned.evaluate` found."""

import numpy as np

from ..metrics import surface_distance
from ..metrics.inference import bootstrap
from ..study import figures
from . import galleries
from .as_scanned import (
    CASES,
    COLUMNS,
    FAILURE,
    INSIDE,
    LINEAR,
    LINEAR_FEW,
    LINEAR_LONG,
    LINEAR_READ,
    NEAREST,
    ONE_PASS,
    REFINED,
    Contenders,
    Truth,
    tested,
)
from .completion import Completion, search
from .posterior import given_scan

_ALIKE = 0.1  # mm
SHOWN = NEAREST, LINEAR, LINEAR_READ, ONE_PASS, REFINED  # in the gallery


def table(frame):
    """
    Mean errors of each contender, a row for each case and contender, with spread over splits.

    Columns as of `evaluate`, "failed" the share, each with "_sd" over the splits beside it.
    """
    numbers = [*COLUMNS, "failed"]
    by_split = frame.groupby(["missing", "contender", "split"], sort=False)[numbers].mean()
    grouped = by_split.groupby(level=["missing", "contender"], sort=False)
    means, spreads = grouped.mean(), grouped.std().add_suffix("_sd")
    ordered = [name for each in numbers for name in (each, f"{each}_sd")]
    found = means.join(spreads)[ordered].drop(columns="steps_sd")
    return found.set_index(found.index.map(lambda each: f"{each[0]:.0%} missing, {each[1]}"))


def ratio(frame, contender, other, missing):
    """
    Error of a contender divided by that of another, with its 95 % interval: (3,).

    The geometric mean over the scans with a missing part. Logarithms of the errors of the same
    scans are compared, by a bootstrap over splits and scans together (`inference.bootstrap`).
    """
    rows = frame[frame.missing == missing].set_index(["contender", "split", "socket"]).mean_mm
    logs = [np.log(rows[name].unstack("socket").to_numpy()) for name in (contender, other)]
    found = bootstrap(logs[0] - logs[1])
    return tuple(np.exp([found.mean, found.low, found.high]))


def curves(frame):
    """Figure of the mean error against the share that is missing, a line for each contender."""
    shown = frame.assign(missing=100 * frame.missing)
    by_split = shown.groupby(["missing", "contender", "split"], sort=False).mean_mm.mean()
    labels = {"missing": "missing part of the wall, %", "mean": "two-way distance, mm"}
    return figures.lines(by_split.reset_index(), "missing", "mean_mm", "contender", labels)


def gallery(study, missing=0.3):
    """
    Figure of five scans of the first split, and what each contender makes of them.

    Points are coloured by their distance from the true surface, mm.
    """
    surfaces = tested(study)
    some = np.linspace(0, len(surfaces) - 1, 5).astype(int)
    made, truths = Contenders(study), [Truth(surfaces[i]) for i in some]
    pairs = zip(truths, some, strict=True)
    scans = [truth.scan(CASES[missing], (study.seed, int(i))) for truth, i in pairs]
    clouds, titles = [each.points for each in scans], ["scan"] * len(some)
    for name in SHOWN:
        found = [made.by_name[name](each.points)[0] for each in scans]
        clouds += [f.cloud @ f.motion[:3, :3].T + f.motion[:3, 3] for f in found]
        titles += [name] * len(some)
    away = []
    for i, cloud in enumerate(clouds):
        which = i % len(some)
        true = truths[which].mesh.copy().apply_transform(scans[which].motion)
        away.append(surface_distance(cloud, true))
    return figures.cloud_gallery(clouds, titles, len(some), away, "mm", (0, FAILURE))


def left_open(frame):
    """
    Mean shares of the wall inside of intervals, from what `as_scanned.left_open` found.

    A row for each case, model and part of the wall, each number with "_sd" over the splits.
    """
    grouped = frame.groupby(["missing", "model", "part"], sort=False)[[*INSIDE]]
    found = grouped.mean().join(grouped.std().add_suffix("_sd"))
    found = found[[name for each in INSIDE for name in (each, f"{each}_sd")]]
    return found.set_index(found.index.map("{0[0]:.0%} missing, {0[1]}, {0[2]} part".format))


def open_gallery(study, missing=0.3):
    """Figure of what one scan of the first split leaves open, see `galleries.left_open`."""
    made, surfaces = Contenders(study), tested(study)
    middle = len(surfaces) // 2
    points = Truth(surfaces[middle]).scan(CASES[missing], (study.seed, middle)).points
    begun = made.begun[REFINED](points)
    whole = Completion.of(search(points, *begun)[0])
    return galleries.left_open(given_scan(points, whole, *begun), n=5)


def open_sentence(frame):
    """How often walls are where completed scans have them, from `as_scanned.left_open`."""
    means = frame[frame.model == REFINED].groupby(["missing", "part"])[[*INSIDE]].mean()
    inside = (100 * means[[*INSIDE[:-1]]]).round().astype(int).astype(str).agg(", ".join, axis=1)
    most, half = max(frame.missing), means.half
    return (
        "**How sure is a completed scan?** With 30 % missing, intervals of 50, 80 and 95 % hold "
        f"the true wall in {inside[0.3, 'missing']} % of its missing part and in "
        f"{inside[0.3, 'scanned']} % of the rest. The intervals of 90 % are "
        f"± {half[0.3, 'missing']:.1f} mm and ± {half[0.3, 'scanned']:.1f} mm wide on average. "
        f"With {most:.0%} missing they hold {inside[most, 'missing']} % of the missing part."
    )


def sentences(frame):
    """When to use which, in four sentences made from what `evaluate` found."""
    means = frame.groupby(["missing", "contender"])[["mean_mm", "failed", "steps"]].mean()
    error = {key: f"{each:.2f} mm" for key, each in means.mean_mm.items()}
    failed = {key: f"{each:.0%} failures" for key, each in means.failed.items()}
    steps = {key: f"{each:.0f} steps" for key, each in means.steps.items()}
    refined, linear, long = ((0.3, name) for name in (REFINED, LINEAR, LINEAR_LONG))
    most = max(frame.missing)
    helps = "it is not shown to help"
    if ratio(frame, REFINED, LINEAR, 0.3)[2] < 1:
        helps = "its encoder gives the search a better start"
    saves = ratio(frame, LINEAR_READ, LINEAR_FEW, 0.3)[2] < 1
    return (
        "**What is the autoencoder for?** For scans that are tilted, noisy, of either leg and "
        f"partly missing, {helps}. With 30 % missing, the search from what its encoder reads ends "
        f"{error[refined]} from the true socket ({failed[refined]}). Linear shape models end at "
        f"{error[linear]} in about as much time ({failed[linear]}; "
        f"{_verdict(frame, REFINED, LINEAR, 0.3)}), and at {error[long]} from many starts, in "
        f"{steps[long]} instead of {steps[refined]} ({failed[long]}; "
        f"{_verdict(frame, REFINED, LINEAR_LONG, 0.3)}).",
        "**With time to spare**, either will do: network and linear models are searched by the "
        f"same distance, and in {_alike(frame, REFINED, LINEAR_LONG, 0.3):.0%} of the scans with "
        "30 % missing the network and the linear models from many starts end within "
        f"{_ALIKE} mm of each other. With nothing missing, of these two, "
        f"{_verdict(frame, REFINED, LINEAR_LONG, 0.0)}.",
        f"**In few steps** a learnt start {'helps' if saves else 'is not shown to help'}. The "
        f"linear models, by one and the same search of {steps[0.3, LINEAR_READ]}, end at "
        f"{error[0.3, LINEAR_READ]} from the places that the encoder reads and at "
        f"{error[0.3, LINEAR_FEW]} from their means in every position "
        f"({_verdict(frame, LINEAR_READ, LINEAR_FEW, 0.3)}); with {most:.0%} missing, at "
        f"{error[most, LINEAR_READ]} and {error[most, LINEAR_FEW]} "
        f"({_verdict(frame, LINEAR_READ, LINEAR_FEW, most)}).",
        f"**Without a search** nothing will do: the encoder alone is {error[0.3, ONE_PASS]} off, "
        f"and the nearest training socket, which needs no model, {error[0.3, NEAREST]} "
        f"({failed[0.3, NEAREST]}). Ratios are of geometric means; the five intervals are not "
        "corrected for their number.",
    )


def _alike(frame, contender, other, missing):
    """Share of scans in which two contenders' errors are within `_ALIKE`."""
    rows = frame[frame.missing == missing].set_index(["contender", "split", "socket"]).mean_mm
    return ((rows[contender] - rows[other]).abs() < _ALIKE).mean()


def _verdict(frame, contender, other, missing):
    times, low, high = ratio(frame, contender, other, missing)
    found = "neither is shown to be nearer"
    if low > 1 or high < 1:
        found = f"the {'first' if high < 1 else 'second'} is nearer"
    return f"{found}: {times:.2f} times the error, {low:.2f} to {high:.2f}"
