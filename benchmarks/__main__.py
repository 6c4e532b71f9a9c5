"""
Measure everything and write the tables: ``python -m benchmarks run [KEY ...]``.

Into ``results/bench`` go ``main.md`` and ``steps.md``, which the site shows, ``everything.md`` and
``all.json``.
``python -m benchmarks search [KEY ...]`` tries other recipes than the default, see `search`.
``python -m benchmarks store`` copies both into the site's page, and the search's beside this.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import platform
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from aaelib.shapes import sources
from aaelib.shapes.writing import replacing
from aaelib.study import site

from . import measure, tables
from .rows import GROWTH, ROWS, evenness

FOLDER = Path(__file__).resolve().parents[1] / "results" / "bench"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Only these rows; nothing is written.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Times that each is timed.")] = 7,
):
    """Time ours and what it is compared with, in turn; find the memory that each takes."""
    known = [*ROWS, *GROWTH]
    if unknown := sorted(set(keys or ()) - set(known)):
        raise typer.BadParameter(f"no row {unknown}; there are: {', '.join(known)}")
    wanted = keys or known
    progress = tqdm(wanted, file=sys.stderr)
    source = sources.load_sockets("TT", limit=1).source
    measured = {"machine": _machine(), "source": source, "rounds": rounds}
    measured |= {"rows": [], "growth": []}
    for key in progress:
        progress.set_description(key)
        if key in ROWS:
            measured["rows"].append(_measure_row(key, ROWS[key], rounds))
        else:
            measured["growth"].append(_measure_growth(key, GROWTH[key], rounds))
    if not keys:
        measured["evenness"] = dict(zip(("mean", "worst"), evenness(), strict=True))
        _write(FOLDER / "all.json", json.dumps(measured, indent=1))
        for table in (tables.main, tables.steps, tables.everything):
            _write(FOLDER / f"{table.__name__}.md", table(measured))
    print(tables.everything(measured))


@app.command()
def search(
    keys: Annotated[list[str] | None, typer.Argument(help="Only these trials.")] = None,
    profile: Annotated[str, typer.Option(help="Whose recipe is varied.")] = "default",
    split: Annotated[list[int] | None, typer.Option(help="Seeds of splits; 0 by default.")] = None,
):
    """Vary the recipe, one thing at a time, and compare on validation sockets."""
    from . import search

    try:
        search.prepare(profile, keys)
    except (FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    print(search.run(profile, keys, split or (0,)))


@app.command()
def page():
    """Time the explorer's page in a browser, into results/bench/page.md."""
    from . import page

    text = page.table(page.measured())
    _write(FOLDER / "page.md", text)
    print(text)


@app.command()
def kills(
    training: Annotated[int, typer.Option(help="Kills of training; 0: leave it out.")] = 10,
    reproduce: Annotated[int, typer.Option(help="Kills of make reproduce; 0 as well.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
):
    """Kill runs at random moments and compare with one that nobody killed (see kills.md)."""
    from . import kills

    print(kills.run(training, reproduce, seed))


@app.command()
def faults(
    train: Annotated[int, typer.Option(help="Faults of a short training.")] = 0,
    resample: Annotated[int, typer.Option(help="Faults of a resampling.")] = 0,
    reproduce: Annotated[int, typer.Option(help="Faults of a notebook of the study.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the faults.")] = 0,
):
    """Let single writes of runs fail, by strace; exit with 1 if something was lost or mixed."""
    from . import faults

    counts = {"train": train, "resample": resample, "reproduce": reproduce}
    text, wrong = faults.run({key: count for key, count in counts.items() if count}, seed)
    print(text)
    for fault, found in wrong.items():
        print(*fault, ":", *found)
    raise typer.Exit(bool(wrong))


@app.command()
def meshes(
    folder: Annotated[Path | None, typer.Argument(help="By default packages are fetched.")] = None,
):
    """Read public mesh files, by ours and by a second reader; exit with 1 if they differ."""
    from . import public_meshes

    text, differ = public_meshes.run(folder)
    print(text, *differ, sep="\n")
    raise typer.Exit(bool(differ))


@app.command()
def workers(steps: Annotated[int, typer.Option(help="Steps that are timed.")] = 30):
    """Time training steps that one and two processes share, and predict more, into workers.md."""
    from . import workers

    text = workers.run(steps, _processor())
    _write(Path(__file__).with_name("workers.md"), text)
    print(text)


@app.command()
def resampling(
    meshes: Annotated[int, typer.Option(help="Of the synthetic tree.")] = 5000,
):
    """Resample trees of shapes by one process and by all cores, into resampling.md here."""
    from . import resampling

    text = resampling.run(meshes, _processor())
    if meshes >= 5000:
        _write(Path(__file__).with_name("resampling.md"), text)
    print(text)


@app.command()
def store():
    """Copy the main table into the site's page, and the search's, if there is one, beside this."""
    site.include(FOLDER.parents[1] / "docs" / "howto" / "benchmarks.md", FOLDER, "bench")
    searched = FOLDER.parent / "search" / "search.md"
    if searched.exists():
        _write(Path(__file__).with_name("search.md"), searched.read_text(encoding="utf-8"))


@app.command(hidden=True)
def peak(key: str, which: str):
    """Print the gigabytes that one call takes at most: of a contender, or at a value."""
    prepare = (
        ROWS[key].contenders[which] if key in ROWS else lambda: GROWTH[key].prepare(int(which))
    )
    prepare()()
    print(measure.own_peak_memory())


def _write(file, text):
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _machine():
    best = measure.machine()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        **best,
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _measure_row(key, row, rounds):
    timings = measure.in_turn([prepare() for prepare in row.contenders.values()], rounds)
    per_unit = {
        name: measure.Timing(timing.seconds / row.per_unit(name), timing.first)
        for name, timing in zip(row.contenders, timings, strict=True)
    }
    ours = per_unit["aaelib"]
    least = measure.roofline(*row.work()) if row.work else None
    return {
        "key": key,
        "title": row.title,
        "unit": row.unit,
        "targets": row.targets,
        "least": least,
        "contenders": {
            name: {
                "seconds": timing.median,
                "spread": timing.spread,
                "rounds": len(timing.seconds),
                "first": timing.first,
                "ratio": measure.ratio(timing, ours),
                "GB": _peak(row.contenders[name], key, name) if row.memory else None,
            }
            for name, timing in per_unit.items()
        },
    }


def _peak(prepare, key, name):
    """Gigabytes that a contender takes: one that is in several rows is measured in the first."""
    if prepare not in _peaks:
        _peaks[prepare] = measure.peak_memory(key, name)
    return _peaks[prepare]


_peaks = {}


def _measure_growth(key, growth, rounds):
    timings = measure.in_turn([growth.prepare(value) for value in growth.values], rounds)
    return {
        "key": key,
        "title": growth.title,
        "unit": growth.unit,
        "parameter": growth.parameter,
        "targets": growth.targets,
        "values": [
            {
                "value": value,
                "seconds": timing.median / growth.units(value),
                "spread": timing.spread / growth.units(value),
                "GB": measure.peak_memory(key, value),
            }
            for value, timing in zip(growth.values, timings, strict=True)
        ],
    }


if __name__ == "__main__":
    app()
