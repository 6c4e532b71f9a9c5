"""Resample trees of meshes into trees of clouds."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .clouds import place
from .folders import clashes, find, name_of, read_each, walk
from .writing import locked, replacing

SETTINGS = ".settings.json"
REFUSED = "refused.csv"


@dataclass(frozen=True)
class Resampling:
    """
    Report of `resample_tree`.

    Attributes
    ----------
    written : list of Path
        Clouds that were written.
    kept : list of Path
        Clouds of an earlier run that are newer than their meshes and have the same settings.
    refused : list of (Path, str)
        Files that gave no cloud, and why. They are in the target's `refused.csv` too.
    removed : list of Path
        Clouds that were removed because their files are refused now.
    left_over : list of Path
        Other clouds in the target: none of the source's files has their name. They stay.
    seconds : float
        How long the run took.
    """

    written: list
    kept: list
    refused: list
    removed: list
    left_over: list
    seconds: float

    @property
    def shapes_per_second(self):
        """Clouds written in a second."""
        return len(self.written) / self.seconds


def resample_tree(
    source, target, n_points=2048, seed=0, workers=None, suffixes=None, up=None, unit=None
):
    """
    Write evenly spread points of every shape in a tree of folders into the same tree of `.npy`.

    `a/b/chair.off` becomes `a/b/chair.npy`, (n_points, 3) float32, `clouds.resample` of that file
    with that seed, whatever else is in the tree and however many processes work. Clouds in the
    tree are thinned to as many points. A file that can't be read is left out and listed, and its
    cloud of an earlier run is removed.

    A run that was cut off goes on where it stopped, and a later run makes only what is new: a cloud
    is kept if it is newer than its file, and if the target's `.settings.json` says that it was made
    from the same source with the same `n_points` and `seed`. With other settings all clouds of the
    source are made anew. A cloud without a file in the source is listed and stays.

    Processes take about 0.15 GB each, and a file as much as its arrays. Large files are read one
    at a time.

    Parameters
    ----------
    source : str or Path
        The folder of shapes, see `find`.
    target : str or Path
        The folder of clouds; made when missing. Neither may lie in the other.
    n_points : int
        Points of each cloud, 1 or more.
    seed : int
        Of every sample, 0 or more.
    workers : int, optional
        Processes. By default one for each processor, or only this one for few files.
    suffixes : str or iterable of str, optional
        Only files that end so, such as ".off"; by default all that can be read, `SUFFIXES`.

    Returns
    -------
    Resampling

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or nothing in it to read.
    ValueError
        If one folder lies in the other, or a setting is out of range.
    RuntimeError
        If another process is writing into the target.
    OSError
        If the target can't be written. What is written stays, and another run goes on from there.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    _check(source.resolve(), target.resolve(), n_points=n_points, seed=seed, workers=workers)
    files = find(source, suffixes)
    clouds = {file: target / file.relative_to(source).with_suffix(".npy") for file in find(source)}
    refused = clashes(files)
    with locked(target):
        now = time.time_ns()
        settings = {"n_points": int(n_points), "seed": int(seed), "source": str(source.resolve())}
        settings |= {name: value for name, value in (("up", up), ("unit", unit)) if value}
        since = _in_force_since(target / SETTINGS, json.dumps(settings).encode(), now)
        usable = [file for file in files if file not in refused]
        kept = [file for file in usable if _is_current(clouds[file], file, since)]
        todo = sorted(set(usable) - set(kept))
        found = read_each(todo, n_points, seed, workers)
        title = f"resampling {name_of(source)}"
        # Written here: waiting for the disk keeps no process from reading on.
        for file, points, reason in tqdm(found, title, len(todo), unit="shape"):
            if reason is not None:
                refused[file] = reason
            else:
                with replacing(clouds[file]) as temporary:
                    np.save(temporary, place(points, up, unit))
                    # A file that changes while it is read is newer than its cloud.
                    os.utime(temporary, ns=(now, now))
        removed = sorted({clouds[file] for file in refused if clouds[file].exists()})
        for cloud in removed:
            cloud.unlink()
        _list_refused(target / REFUSED, refused)
    expected = set(clouds.values())
    return Resampling(
        written=[clouds[file] for file in todo if file not in refused],
        kept=[clouds[file] for file in kept],
        refused=sorted(refused.items()),
        removed=removed,
        left_over=sorted(f for f in walk(target) if f.suffix == ".npy" and f not in expected),
        seconds=time.perf_counter() - start,
    )


def _check(source, target, **settings):
    """Raise if a setting is out of range, or one folder lies in the other."""
    for name, value in settings.items():
        least = 0 if name == "seed" else 1
        if value is not None and value < least:
            raise ValueError(f"{name} is {value}; it must be {least} or more")
    if source.is_relative_to(target) or target.is_relative_to(source):
        raise ValueError(
            f"{target} and {source} lie in each other, so clouds would be taken for sources; name "
            "a target beside the source"
        )


def _in_force_since(file, settings, now):
    """
    Time (ns) since which clouds are made with these settings: that of the file that holds them.

    The file is written before the first cloud. So a run that is killed leaves no cloud of its own
    under the old settings, and the clouds of earlier ones are older than the new settings.
    """
    if not (file.is_file() and file.read_bytes() == settings):
        with replacing(file) as temporary:
            temporary.write_bytes(settings)
            os.utime(temporary, ns=(now, now))
    return file.stat().st_mtime_ns


def _is_current(cloud, file, since):
    """Whether a cloud was made with the settings in force, after its file last changed."""
    if not (cloud.is_file() and file.is_file()):
        return False
    made, state = cloud.stat().st_mtime_ns, file.stat()
    # The time of change, too: a file that was copied or moved here may say that it is old.
    return made >= since and made > max(state.st_mtime_ns, state.st_ctime_ns)


def _list_refused(file, refused):
    if not refused:
        file.unlink(missing_ok=True)
        return
    table = pd.DataFrame(sorted(refused.items()), columns=["file", "reason"])
    with replacing(file) as temporary:
        # Names of files may hold what is no Unicode.
        table.to_csv(temporary, index=False, errors="surrogateescape")
