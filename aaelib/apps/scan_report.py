"""Table, figures and sentences of completed scans, from what `as_scanned.evaluate` found."""

from functools import partial
from itertools import cycle

import numpy as np

from ..metrics import surface_distance
from ..metrics.inference import bootstrap
from ..study import figures
from ..study.templating import render
from . import as_scanned, galleries
from .completion import Completion, search
from .posterior import given_scan

# In the gallery.
SHOWN = (
    *(as_scanned.NEAREST, as_scanned.LINEAR, as_scanned.LINEAR_READ),
    *(as_scanned.ONE_PASS, as_scanned.REFINED),
)


def table(frame):
    """
    Mean errors of each contender, a row for each case and contender, with spread over splits.

    Columns as of `evaluate`, "failed" the share, each with "_sd" over the splits beside it.
    """
    numbers = [*as_scanned.COLUMNS, "failed"]
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
    logs = np.log(_errors(frame, missing))
    found = bootstrap((logs[contender] - logs[other]).unstack("socket").to_numpy())
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
    surfaces = as_scanned.tested(study)
    some = np.linspace(0, len(surfaces) - 1, 5).astype(int)
    made, truths = as_scanned.contenders(study)[0], [as_scanned.Truth(surfaces[i]) for i in some]
    pairs = zip(truths, some, strict=True)
    scans = [truth.scan(as_scanned.CASES[missing], (study.seed, int(i))) for truth, i in pairs]
    pairs = zip(truths, scans, strict=True)
    walls = [truth.mesh.copy().apply_transform(each.motion) for truth, each in pairs]
    clouds = [each.points for each in scans]
    for name in SHOWN:
        found = [made[name](each.points)[0] for each in scans]
        clouds += [f.cloud @ f.motion[:3, :3].T + f.motion[:3, 3] for f in found]
    titles = [name for name in ("scan", *SHOWN) for _ in some]
    away = list(map(surface_distance, clouds, cycle(walls)))
    return figures.cloud_gallery(clouds, titles, len(some), away, "mm", (0, as_scanned.FAILURE))


def left_open(frame):
    """
    Mean shares of the wall inside of intervals, from what `as_scanned.left_open` found.

    A row for each case, model and part of the wall, each number with "_sd" over the splits.
    """
    by, numbers = ["missing", "model", "part"], [*as_scanned.INSIDE]
    by_split = frame.groupby([*by, "split"], sort=False)[numbers].mean()
    grouped = by_split.groupby(level=by, sort=False)
    found = grouped.mean().join(grouped.std().add_suffix("_sd"))
    found = found[[name for each in numbers for name in (each, f"{each}_sd")]]
    return found.set_index(found.index.map("{0[0]:.0%} missing, {0[1]}, {0[2]} part".format))


def open_gallery(study, missing=0.3):
    """Figure of how uncertain one completed scan is, by `galleries.left_open`."""
    begins, surfaces = as_scanned.contenders(study)[1], as_scanned.tested(study)
    middle = len(surfaces) // 2
    truth = as_scanned.Truth(surfaces[middle])
    points = truth.scan(as_scanned.CASES[missing], (study.seed, middle)).points
    begun = begins[as_scanned.REFINED](points)
    whole = Completion.of(search(points, *begun)[0])
    return galleries.left_open(given_scan(points, whole, *begun), n=5)


def open_sentence(frame):
    """How often walls are where completed scans have them, from `as_scanned.left_open`."""
    means = (
        frame[frame.model == as_scanned.REFINED]
        .groupby(["missing", "part"])[[*as_scanned.INSIDE]]
        .mean()
    )
    inside = (
        (100 * means[[*as_scanned.INSIDE[:-1]]])
        .round()
        .astype(int)
        .astype(str)
        .agg(", ".join, axis=1)
    )
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
    errors = _errors(frame, 0.3)
    alike = ((errors[as_scanned.REFINED] - errors[as_scanned.LINEAR_LONG]).abs() < 0.1).mean()
    found = {"means": means, "ratio": partial(ratio, frame), "alike": alike}
    most = max(frame.missing)
    return render("as_scanned.md.j2", by=as_scanned, most=most, **found).splitlines()


def _errors(frame, missing):
    """Mean errors, mm, by contender, split and socket."""
    return frame[frame.missing == missing].set_index(["contender", "split", "socket"]).mean_mm
