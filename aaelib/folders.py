"""Folders of shapes: read, or resampled into the same tree of clouds, by several processes."""

import csv
import os
import threading
import time
from collections import defaultdict
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import joblib
import numpy as np
from tqdm.auto import tqdm

from . import meshes
from .clouds import resample
from .files import explained, locked, replacing

SUFFIXES = meshes.SUFFIXES | {".npy"}
JOURNAL = ".resampled.csv"
REFUSED = "refused.csv"

_FEW = 32  # meshes that are read sooner than other processes start
_LARGE = 50e6  # bytes of a file that is read while no other is
_SHOWN = 5  # files that an error names


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


def find(folder, suffixes=None):
    """
    The files of shapes in a folder and its sub-folders, sorted.

    What begins with a dot is left out. Links to folders are followed, but not to one that is in
    the tree anyway, around it, or seen already: so links that lead in a circle do no harm.

    Parameters
    ----------
    folder : str or Path
    suffixes : str or iterable of str, optional
        Only these endings of names, in any case; all of `SUFFIXES` by default.

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or nothing in it to read.
    ValueError
        If a suffix is of no format that can be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; name one that holds clouds or meshes")
    accepted = _accepted(suffixes)
    files = sorted(file for file in _walk(folder) if file.suffix.lower() in accepted)
    if not files:
        raise FileNotFoundError(f"no shapes in {folder}; accepted: {', '.join(sorted(accepted))}")
    return files


def name_of(folder):
    """The name of a folder, also where its path ends in a dot or two; links have their own."""
    return Path(os.path.abspath(folder)).name


def read(file, n_points=2048, seed=0):
    """
    A shape of a file as a cloud.

    Parameters
    ----------
    file : Path
        A cloud (`.npy`), which is thinned at random where it has more points, or a mesh, which is
        resampled evenly (`aaelib.clouds.resample`).
    n_points : int
    seed : int

    Returns
    -------
    numpy.ndarray
        (n_points, 3) float32, in the file's unit.

    Raises
    ------
    ValueError
        If the file is no such shape, naming it and saying what is wrong.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no file (a link that leads nowhere?); take it out or mend it")
    if not _is_cloud(file):
        return resample(file, n_points, seed)
    points = _read_array(file)
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise ValueError(
            f"{file}: {points.dtype} array of shape {points.shape}, not (n_points, 3) of real "
            "numbers; save one cloud in each file"
        )
    if len(points) < n_points:
        raise ValueError(
            f"{file}: {len(points)} points, fewer than the {n_points} asked for; ask for fewer, "
            "or sample the shape more densely"
        )
    if not (np.abs(points) <= np.finfo(np.float32).max).all():
        raise ValueError(
            f"{file}: has points that are not finite (in single precision); leave them out"
        )
    if (points == points[0]).all():
        raise ValueError(f"{file}: all points are equal, {points[0].tolist()}: that is no shape")
    if len(points) > n_points:
        keep = np.random.default_rng(seed).permutation(len(points))[:n_points]
        points = points[np.sort(keep)]
    return points.astype(np.float32)


def read_all(files, n_points=2048, seed=0, workers=None, title="shapes"):
    """
    Many shapes as clouds, see `read`; meshes by several processes where there are many.

    Parameters
    ----------
    files : sequence of Path
    n_points : int
    seed : int
        Of each sample.
    workers : int, optional
        As in `resample_tree`.
    title : str
        What a progress bar says is read.

    Returns
    -------
    numpy.ndarray
        (n, n_points, 3) float32, in the order of the files.

    Raises
    ------
    ValueError
        If files can't be read or differ in their suffix only: all are counted, some named.
    """
    files = list(files)
    place = {file: i for i, file in enumerate(files)}
    points = np.empty((len(files), n_points, 3), np.float32)
    bad = clashes(files)
    good = [file for file in files if file not in bad]
    is_quick = all(map(_is_cloud, files))
    with tqdm(total=len(good), desc=f"reading {title}", leave=False, disable=is_quick) as progress:
        for file, cloud, reason in _read_each(good, n_points, seed, workers):
            if reason is None:
                points[place[file]] = cloud
            else:
                bad[file] = reason
            progress.update()
    if bad:
        raise ValueError(_described(bad, len(files)))
    return points


def clashes(files):
    """
    The files that nothing but their suffix tells apart, and which that is of: file -> reason.

    Shapes are named without suffix: of `chair.off` and `chair.stl` one would replace the other.
    """
    alike = defaultdict(list)
    for file in files:
        alike[file.with_suffix("")].append(file)
    return {
        file: f"{file}: has the name of {', '.join(f.name for f in same if f != file)} but for "
        "the suffix, and shapes are named without; keep one of them"
        for same in alike.values()
        if len(same) > 1
        for file in same
    }


def attempts(function, tasks, workers=None):
    """
    Call a function of a file and more for many of them, in several processes.

    Tasks are handed out a few at a time, so that memory does not grow with their number. Large
    files, and all that are left when the system ends a process (for want of memory, most often),
    come last and one at a time: so the file that was too much is known.

    Parameters
    ----------
    function : callable
        Of a module. A ValueError that it raises is a reason; other errors are raised.
    tasks : sequence of tuple
        Its arguments, the first of them a file, each file once.
    workers : int, optional
        Processes; 1 is this one. By default as many as there are processors, or 1 for few tasks.

    Yields
    ------
    file : Path
        In any order.
    result
        What the function returned, or None.
    reason : str or None
        Why there is no result.
    """
    workers = workers or (1 if len(tasks) < _FEW else joblib.cpu_count())
    if workers == 1:
        yield from (_attempt(function, task) for task in tasks)
        return
    left = {task[0]: task for task in tasks}
    small = [task for task in tasks if not _is_large(task[0])]
    try:
        for found in _in_processes(function, small, workers):
            del left[found[0]]
            yield found
    except BrokenProcessPool:
        pass
    for file, task in left.items():
        try:
            # Of two processes only one has something to do.
            yield from _in_processes(function, [task], 2)
        except BrokenProcessPool:
            yield (
                file,
                None,
                f"{file}: the system ended the process that read it, most often for want of "
                "memory; close other programs, or take a mesh with fewer faces",
            )


def _read_each(files, n_points, seed, workers):
    """`attempts` to read files: clouds by this process, as that takes no time, then meshes."""
    for is_cloud, processes in ((True, 1), (False, workers)):
        tasks = [(file, n_points, seed) for file in files if _is_cloud(file) == is_cloud]
        yield from attempts(read, tasks, processes)


def _is_cloud(file):
    return file.suffix.lower() == ".npy"


def _in_processes(function, tasks, workers):
    """Results of `_attempt`, in the order in which they are there."""
    # Loky's are not forked, as TensorFlow may be running, and do not run the caller's script again.
    with joblib.parallel_config("loky", inner_max_num_threads=1, idle_worker_timeout=10):
        parallel = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1)
        return parallel(
            joblib.delayed(_attempt_apart)(function, task, os.getpid()) for task in tasks
        )


def _attempt_apart(function, task, parent):
    _end_with(parent)
    return _attempt(function, task)


@cache
def _end_with(parent):
    """Let this process end when the one that started it does, also when that is killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _attempt(function, task):
    try:
        return task[0], function(*task), None
    except ValueError as error:
        return task[0], None, str(error)


def _is_large(file):
    return file.is_file() and file.stat().st_size > _LARGE


def _read_array(file):
    try:
        # Not np.load, which would open archives too.
        with file.open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # a header can be wrong in many ways
        raise ValueError(
            f"{file}: not a plain .npy array ({error or type(error).__name__}); write it again "
            "with numpy.save, as numbers"
        ) from error


def _described(bad, total):
    """What is wrong with the files of `bad`, file -> reason, in one message."""
    reasons = [bad[file] for file in sorted(bad)]
    if len(reasons) == 1:
        return reasons[0]
    more = [f"and {len(reasons) - _SHOWN} more"] if len(reasons) > _SHOWN else []
    return "\n  ".join(
        [f"{len(reasons)} of {total} files can't be used:", *reasons[:_SHOWN], *more]
    )


# Trees ----------------------------------------------------------------------------------------


def _accepted(suffixes):
    if suffixes is None:
        return SUFFIXES
    suffixes = [suffixes] if isinstance(suffixes, str) else suffixes
    wanted = {"." + suffix.lower().lstrip(".") for suffix in suffixes}
    if unknown := wanted - SUFFIXES:
        raise ValueError(
            f"unknown suffixes {', '.join(sorted(unknown))}; accepted: "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return wanted


def _walk(folder):
    """All files in a folder and its sub-folders, but for hidden ones; see `find`."""
    root = folder.resolve()
    seen = set()

    def enters(path):
        real = path.resolve()
        is_repeated = real in seen or (
            path.is_symlink() and (real.is_relative_to(root) or root.is_relative_to(real))
        )
        seen.add(real)
        return not is_repeated

    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        place = Path(place)
        folders[:] = [
            name for name in sorted(folders) if not name.startswith(".") and enters(place / name)
        ]
        yield from (place / name for name in files if not name.startswith("."))


def _raise(error):
    raise error


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
