"""Folders of shapes: read, or resampled into the same tree of clouds, by several processes."""

import hashlib
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

SUFFIXES = meshes.SUFFIXES | {".npy"}

_FEW = 32  # meshes that are read sooner than other processes start
_LARGE = 50e6  # bytes of a file that is read while no other is
_SHOWN = 5  # files that an error names


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


@dataclass(frozen=True)
class Shapes:
    """
    A set of clouds and what is known of them.

    Attributes
    ----------
    points : (n, n_points, 3) float32 array
        Sockets: mm, long axis z, closed end down. A corpus: each shape in the unit sphere, z up.
    names : (n,) array of str
        Paths of the files in their folder, without suffix, or what stands for them.
    kinds : (n,) array of str
        "TT" (transtibial) or "TF" (transfemoral); a corpus: the class.
    source : str
        Where the shapes come from, in words that tables and figures show.
    """

    points: np.ndarray
    names: np.ndarray
    kinds: np.ndarray
    source: str

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        """The shapes of an index array, a mask or a slice."""
        return Shapes(self.points[index], self.names[index], self.kinds[index], self.source)


def digest(points):
    """
    What tells clouds apart, whatever their files are called.

    Parameters
    ----------
    points : (..., 3) array
        One cloud, or several at once. Digests are of single precision, and of the points' order.

    Returns
    -------
    str
        BLAKE2b (RFC 7693) of the coordinates as little-endian float32: 16 hexadecimal digits.
    """
    content = np.ascontiguousarray(points, "<f4").tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def load_clouds(folder, n_points=2048, limit=None, seed=0):
    """
    Load any folder of clouds (`.npy`) and meshes; the class of a shape is its first sub-folder.

    Of shapes in the folder itself it is the folder's name. Meshes are read by several processes
    where there are many. Reading them again and again takes long: `aaelib.folders.resample_tree`
    makes a folder of clouds of them.

    Parameters
    ----------
    folder : str or Path
    n_points : int
        Points of each cloud. Meshes are resampled evenly; clouds with more points are thinned.
    limit : int, optional
        At most that many shapes of a class, drawn by `seed`.
    seed : int

    Returns
    -------
    Shapes
        In the files' own unit, as they are.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or nothing in it to read.
    ValueError
        If files can't be read as shapes, or have one name but for the suffix: how many, and which.
    """
    _check_limit(limit)
    folder = Path(folder)
    files = find(folder)
    classes = np.array([_class(file, folder) for file in files])
    if limit is not None:
        files, classes = _at_most(limit, np.array(files), classes, seed)
    points = read_all(files, n_points, seed, title=name_of(folder))
    names = [str(file.relative_to(folder).with_suffix("")) for file in files]
    return Shapes(points, np.array(names), classes, name_of(folder))


def _check_limit(limit):
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be 1 or more, or None for all")


def _class(file, folder):
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else name_of(folder)


def _at_most(limit, files, classes, seed):
    rng = np.random.default_rng(seed)
    chosen = []
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        chosen.append(np.sort(rng.permutation(members)[:limit]))
    chosen = np.concatenate(chosen)
    return files[chosen], classes[chosen]
