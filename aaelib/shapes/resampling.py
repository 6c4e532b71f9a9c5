"""Resample trees of meshes into trees of clouds."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from .folders import _accepted, _read_each, clashes, find, name_of
from .writing import explained, locked, replacing

JOURNAL = ".resampled.csv"
REFUSED = "refused.csv"


@dataclass(frozen=True)
class Resampling:
    """
    What `resample_tree` did.

    Attributes
    ----------
    written : list of Path
        Clouds that were written.
    kept : list of Path
        Clouds that were there already, made from the same files with the same settings.
    refused : list of (Path, str)
        Files that gave no cloud, and why. They are in the target's `refused.csv` too.
    removed : list of Path
        Clouds of earlier runs that were removed, as their files are gone or refused now.
    seconds : float
        That it took in all.
    """

    written: list
    kept: list
    refused: list
    removed: list
    seconds: float

    @property
    def shapes_per_second(self):
        """Shapes written in a second."""
        return len(self.written) / self.seconds


def resample_tree(source, target, n_points=2048, seed=0, workers=None, suffixes=None):
    """
    Write evenly spread points of every shape in a tree of folders into the same tree of `.npy`.

    `a/b/chair.off` becomes `a/b/chair.npy`, (n_points, 3) float32, `clouds.resample` of that file
    with that seed: whatever else is in the tree, and however many processes work. Clouds in the
    tree are thinned to as many points. A file that can't be read is left out and listed.

    A run that was cut off goes on where it stopped, and a later one does what is new: a cloud is
    kept if the target's journal (`.resampled.csv`) says that it was made from a file of this name,
    size and time of change, with the same n_points and seed. All others are made, in the place of
    what has their name. A cloud that the journal says was made from a file of this source is
    removed when that file is there no more, or refused. What else is in the target stays: clouds
    of other sources or of one's own, and of files that the suffixes leave out this time.

    Processes take about 0.15 GB each, and a file as much as its arrays; large files are read one
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
        Processes. By default one for each processor, or none besides this where files are few.
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
        If the folders lie in each other, or a setting is out of range.
    RuntimeError
        If another process is writing into the target.
    OSError
        If the target can't be written; what is written stays, and another run goes on from there.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    _check_settings(n_points, seed, workers)
    _check_apart(source, target)
    files = find(source, suffixes)
    refused = clashes(files)
    clouds = {
        file: target / file.relative_to(source).with_suffix(".npy")
        for file in files
        if file not in refused
    }
    with locked(target):
        journal = _Journal(source, target)
        # Taken before a file is read: one that changes meanwhile is read again by the next run.
        marks = {file: _mark(file, source, n_points, seed) for file in clouds}
        kept = [file for file, cloud in clouds.items() if journal.has(cloud, marks[file])]
        todo = sorted(set(clouds) - set(kept))
        journal.claim(clouds[file] for file in kept)
        progress = tqdm(total=len(todo), desc=f"resampling {name_of(source)}", unit="shape")
        with progress, journal:
            # Written here: waiting for the disk keeps no process from reading on.
            for file, points, reason in _read_each(todo, n_points, seed, workers):
                if reason is None:
                    with replacing(clouds[file]) as temporary:
                        np.save(temporary, points)
                    journal.add(clouds[file], marks[file])
                else:
                    refused[file] = reason
                progress.update()
        found = {cloud for file, cloud in clouds.items() if file not in refused}
        removed = journal.remove_all_but(found, _accepted(suffixes))
        _list_refused(target, refused)
    return Resampling(
        written=[clouds[file] for file in todo if file not in refused],
        kept=[clouds[file] for file in kept],
        refused=sorted(refused.items()),
        removed=removed,
        seconds=time.perf_counter() - start,
    )


def _check_settings(n_points, seed, workers):
    for name, value, least in (("n_points", n_points, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}; it must be {least} or more")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more, or None for all processors")


def _check_apart(source, target):
    places = source.resolve(), target.resolve()
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise ValueError(
            f"{target} and {source} lie in each other, so clouds would be taken for sources; name "
            "a target beside the source"
        )


# What a target knows of its clouds ------------------------------------------------------------


class _Journal:
    """
    Lines of a target's journal: a cloud, the mark of what it was made from, and in which source.

    Lines are added as clouds are written, and the last one of a cloud counts.
    """

    def __init__(self, source, target):
        self.source, self.target, self.file = str(source.resolve()), target, target / JOURNAL
        self.marks, self.sources = {}, {}
        for cloud, *mark, made_of in self._rows():
            self.marks[cloud], self.sources[cloud] = tuple(mark), made_of

    def _rows(self):
        if not self.file.exists():
            return []
        with _opened(self.file, "r") as stream:
            whole = [line for line in stream if line.endswith("\n")]
        return [row for row in csv.reader(whole) if len(row) == 7 and _is_inside(row[0])]

    def _write(self):
        with replacing(self.file) as temporary, _opened(temporary, "w") as stream:
            csv.writer(stream).writerows(
                [cloud, *mark, self.sources[cloud]] for cloud, mark in self.marks.items()
            )

    def __enter__(self):
        # Anew: what a killed run had begun to add would run into the next line.
        self._write()
        with explained(self.file):
            self.stream = _opened(self.file, "a")
        return self

    def __exit__(self, *_):
        with explained(self.file):  # what could not be written is tried once more
            self.stream.close()

    def _name(self, cloud):
        return cloud.relative_to(self.target).as_posix()

    def has(self, cloud, mark):
        """Whether a cloud is there and was made from what has that mark."""
        return self.marks.get(self._name(cloud)) == mark and cloud.is_file()

    def claim(self, clouds):
        """Note that clouds which are kept are of this source, which may have been moved."""
        self.sources |= {self._name(cloud): self.source for cloud in clouds}

    def add(self, cloud, mark):
        name = self._name(cloud)
        self.marks[name], self.sources[name] = mark, self.source
        with explained(self.file):
            csv.writer(self.stream).writerow([name, *mark, self.source])
            self.stream.flush()

    def remove_all_but(self, clouds, suffixes):
        """Remove this source's other clouds; those whose files only have other suffixes stay."""
        wanted = set(map(self._name, clouds))
        gone = [
            name
            for name, (file, *_) in self.marks.items()
            if self.sources[name] == self.source
            and name not in wanted
            and (Path(file).suffix.lower() in suffixes or not Path(self.source, file).exists())
        ]
        removed = [self.target / name for name in sorted(gone) if (self.target / name).is_file()]
        for cloud in removed:
            cloud.unlink()
        for name in gone:
            del self.marks[name], self.sources[name]
        if gone:
            self._write()
        return removed


def _is_inside(name):
    """Whether a cloud's name stays in the target: what a journal from elsewhere may not."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts


def _mark(file, source, n_points, seed):
    """What a cloud is made from: name, size and time of change of its file; settings."""
    state = file.stat() if file.exists() else None
    size, changed = (state.st_size, state.st_mtime_ns) if state else ("", "")
    name = file.relative_to(source).as_posix()
    return tuple(map(str, (name, size, changed, n_points, seed)))


def _list_refused(target, refused):
    file = target / REFUSED
    if not refused:
        file.unlink(missing_ok=True)
        return
    with replacing(file) as temporary, _opened(temporary, "w") as stream:
        csv.writer(stream).writerows([("file", "reason"), *sorted(refused.items())])


def _opened(file, mode):
    # Names of files may hold what is no Unicode.
    return file.open(mode, encoding="utf-8", errors="surrogateescape", newline="")
