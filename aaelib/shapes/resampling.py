"""Resample trees of meshes into trees of clouds."""

import errno
import os
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from .clouds import place
from .folders import clashes, digest_of_file, find, name_of, read_each, walk
from .meshes import buffers_of, unit_of
from .writing import locked, replacing, without_formulas, write_array

RECORD = ".resampled"
REFUSED = "refused.csv"

# The file's name without suffix in a line of the record, which a killed run may have cut off.
_NAME = re.compile(rb"(?m)^\('.*?', ['\"](.*)\.\w+['\"], '")


@dataclass(frozen=True)
class Resampling:
    """
    Report of `resample_tree`.

    Attributes
    ----------
    written : list of Path
        Clouds that were written.
    kept : list of Path
        Clouds of an earlier run, made of the same files with the same settings.
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
    def clouds(self):
        """Clouds of the source, written or kept."""
        return sorted(self.written + self.kept)

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
    is kept if the target's `.resampled` says that exactly it was made of exactly its file, by
    sha256, with the same settings and version of aaelib. Times do not count. A cloud without a file
    in the source is listed and stays. A file of a cloud's name, where no run has written one,
    stays, too: what would have replaced it is refused.

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
    up, unit : str, optional
        Of the shapes, see `clouds.place`; clouds are upright, in mm.

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
    names = {file: file.relative_to(source).as_posix() for file in files}
    refused = clashes(files)
    target.mkdir(parents=True, exist_ok=True)
    with locked(target), (target / RECORD).open("a+b", buffering=0) as record:
        record.seek(0)
        content = record.read()
        known, written = set(content.splitlines()), set(_NAME.findall(content))
        there = [file for file in files if os.path.exists(clouds[file])]
        own = [file for file in there if _stem(names[file]) in written]
        for file in set(there) - set(own):
            reason = f"{file}: {clouds[file]} was not written by an earlier run; move it away"
            refused.setdefault(file, reason)
        usable = [file for file in files if file not in refused]
        settings = f"aaelib {version('aaelib')}, {n_points} points, seed {seed}, {up}, {unit}"
        # Before a file is read: if it changes meanwhile, the next run reads it again.
        made_of = {
            file: (settings, names[file], "".join(map(digest_of_file, [file, *buffers_of(file)])))
            for file in tqdm(usable, "comparing", leave=False, delay=1)
        }
        kept = [file for file in usable if _entry(clouds[file], made_of[file]) in known]
        todo = sorted(set(usable) - set(kept))
        found = read_each(todo, n_points, seed, workers)
        title = f"resampling {name_of(source)}"
        # Written here: waiting for the disk keeps no process from reading on.
        for file, points, reason in tqdm(found, title, len(todo), unit="shape"):
            if reason is None:
                try:
                    with replacing(clouds[file]) as temporary:
                        write_array(temporary, place(points, up, unit_of(file, unit)))
                        # A line that a killed run left by half ends here.
                        record.write(b"\n" + _entry(temporary, made_of[file]) + b"\n")
                except OSError as error:
                    if error.errno != errno.ENAMETOOLONG:
                        raise
                    reason = f"{file}: the name is too long for its cloud; rename it"
            if reason is not None:
                refused[file] = reason
        removed = sorted({clouds[file] for file in own if file in refused})
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
        advice = "so clouds would be taken for sources; name a target beside the source"
        raise ValueError(f"{target} and {source} lie in each other, {advice}")


def _stem(name):
    return ascii(os.path.splitext(name)[0])[1:-1].encode()


def _entry(cloud, made_of):
    """A line of the record: what a cloud was made of, and its own digest."""
    return ascii((*made_of, digest_of_file(cloud))).encode()


def _list_refused(file, refused):
    if not refused:
        file.unlink(missing_ok=True)
        return
    table = pd.DataFrame(sorted(refused.items()), columns=["file", "reason"]).astype(str)
    with replacing(file) as temporary:
        # Names of files may hold what is no Unicode.
        text = without_formulas(table).to_csv(index=False)
        temporary.write_text(text, errors="surrogateescape")
