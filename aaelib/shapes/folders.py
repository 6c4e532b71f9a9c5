"""Folders of shapes: find the files and read them as clouds, with several processes."""

import hashlib
import os
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from tqdm.auto import tqdm

from . import meshes
from .clouds import in_single_precision, place, resample
from .splits import at_most

SUFFIXES = meshes.SUFFIXES | {".npy"}

_FEW = 32  # this process reads so many meshes sooner than other processes start
_LARGE = 50e6  # bytes of a file that is read while no other is
_SHOWN = 5  # files that an error names
_ENDED = (
    "the system ended the process that read it, most often for want of memory; close other "
    "programs, or take a mesh with fewer faces"
)


@dataclass(frozen=True)
class Shapes:
    """
    A set of clouds with their names and classes.

    Attributes
    ----------
    points : (n, n_points, 3) float32 array
        Sockets: mm, long axis z, closed end down. A corpus: each shape in the unit sphere, z up.
    names : (n,) array of str
        Paths of the files in their folder, without suffix, or other unique names.
    kinds : (n,) array of str
        "TT" (transtibial) or "TF" (transfemoral); of a corpus the class.
    source : str
        Where the shapes come from, in words that tables and figures show.
    folder : str
        The folder that they were read from, resolved; empty for shapes that are not from one.
    files : (n,) array of Path or None
        Their files.
    up, unit : str or None
        How the points were placed, see `placed`.
    """

    points: np.ndarray
    names: np.ndarray
    kinds: np.ndarray
    source: str
    folder: str = ""
    files: np.ndarray | None = None
    up: str | None = None
    unit: str | None = None

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        """Take the shapes of an index array, a mask or a slice."""
        arrays = {k: v[index] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)

    def placed(self, up=None, unit=None):
        """
        Turn shapes as they are in their files so that `up` is z, and scale them from `unit` to mm.

        See `clouds.place`. What states its unit is in mm already.
        """
        return replace(self, points=placed(self.points, self.files, up, unit), up=up, unit=unit)


def placed(points, files, up, unit):
    """Points (n, n_points, 3) of files as `clouds.place` places them."""
    units = [meshes.unit_of(file, unit) for file in files]
    pairs = zip(points, units, strict=True)
    return np.stack([place(cloud, up, each) for cloud, each in pairs])


def load_clouds(folder, n_points=2048, limit=None, seed=0, files=None):
    """
    Load any folder of clouds (`.npy`) and meshes; the class of a shape is its first sub-folder.

    The class of a shape in the folder itself is the folder's name. Several processes read meshes
    where there are many. That takes long each time: `resample_tree` makes a folder of clouds, once.

    Parameters
    ----------
    folder : str or Path
    n_points : int
        Points of each cloud. Meshes are resampled evenly; clouds with more points are thinned.
    limit : int, optional
        At most that many shapes of a class, drawn by `seed`.
    seed : int
    files : sequence of Path, optional
        Load only these of the folder's files, such as the `clouds` of a `Resampling`.

    Returns
    -------
    Shapes
        In the files' own unit and place, see `read`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or nothing in it to read.
    ValueError
        If files can't be read as shapes, or have one name but for the suffix: how many, and which.
    """
    folder = Path(folder)
    files = np.array(find(folder) if files is None else files)
    parts = [file.relative_to(folder).parts for file in files]
    classes = np.array([first if others else name_of(folder) for first, *others in parts])
    chosen = at_most(limit, classes, seed)
    files, classes = files[chosen], classes[chosen]
    points = read_all(files, n_points, seed, title=name_of(folder))
    names = np.array([str(file.relative_to(folder).with_suffix("")) for file in files])
    return Shapes(points, names, classes, name_of(folder), str(folder.resolve()), files)


def name_of(folder):
    """Name a folder, also where its path ends in a dot or two; a link has its own name."""
    return Path(os.path.abspath(folder)).name


def digest(points):
    """
    Identify clouds by their coordinates, whatever their files are called.

    Parameters
    ----------
    points : (..., 3) array
        One cloud, or several at once. The order of the points counts.

    Returns
    -------
    str
        BLAKE2b (RFC 7693) of the coordinates as little-endian float32: 16 hexadecimal digits.
    """
    content = np.ascontiguousarray(points, "<f4").tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def digest_of_file(file):
    """Sha256 of a file's bytes, in hexadecimal digits; empty if it can't be read."""
    if not os.path.isfile(file):  # a pipe would be waited for
        return ""
    try:
        with open(file, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:  # who reads the file will say why; others are read
        return ""


# Files ----------------------------------------------------------------------------------------


def find(folder, suffixes=None):
    """
    Find the files of shapes in a folder and its sub-folders, sorted.

    Names that begin with a dot are left out. Links to folders are followed, but each folder is
    read once, so links that lead in a circle do no harm.

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
    suffixes = [suffixes] if isinstance(suffixes, str) else suffixes or SUFFIXES
    accepted = {"." + suffix.lower().lstrip(".") for suffix in suffixes}
    if unknown := ", ".join(sorted(accepted - SUFFIXES)):
        raise ValueError(f"unknown suffixes {unknown}; accepted: {', '.join(sorted(SUFFIXES))}")
    files = sorted(file for file in walk(folder) if file.suffix.lower() in accepted)
    if not files:
        there = passed_over(folder) or "nothing"
        kinds = ", ".join(sorted(accepted))
        raise FileNotFoundError(f"no shapes in {folder}, passed over: {there}; accepted: {kinds}")
    return files


def passed_over(folder):
    """Count the files of a folder that hold no shapes, by suffix: "2 .vtk, 1 .pcd"."""
    suffixes = (file.suffix.lower() for file in walk(Path(folder)))
    counts = Counter(suffix or "without suffix" for suffix in suffixes if suffix not in SUFFIXES)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def walk(folder):
    """Yield all files in a folder and its sub-folders, but for hidden ones; see `find`."""
    root = folder.resolve()
    seen = set()

    def enters(path):
        real = path.resolve()
        in_line = real.is_relative_to(root) or root.is_relative_to(real)
        new = real not in seen and not (path.is_symlink() and in_line)
        if new:
            seen.add(real)
        return new

    for here, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        here = Path(here)
        folders[:] = [f for f in sorted(folders) if not f.startswith(".") and enters(here / f)]
        yield from (here / name for name in files if not name.startswith("."))


def _raise(error):
    raise error


def clashes(files):
    """
    Map the files that differ from another one in their suffix only to the reason to refuse them.

    Shapes are named without suffix: of `chair.off` and `chair.stl` one would replace the other.
    """
    alike, reasons = defaultdict(list), {}
    for file in files:
        alike[file.with_suffix("")].append(file.name)
    for file in files:
        if others := ", ".join(n for n in alike[file.with_suffix("")] if n != file.name):
            advice = "and shapes are named without; keep one of them"
            reasons[file] = f"{file}: has the name of {others} but for the suffix, {advice}"
    return reasons


def read(file, n_points=2048, seed=0):
    """
    Read a shape as a cloud: a mesh is resampled evenly, a cloud with more points is thinned.

    Parameters
    ----------
    file : Path
        A cloud (`.npy`) or a mesh.
    n_points : int
    seed : int

    Returns
    -------
    numpy.ndarray
        (n_points, 3) float32, in the file's unit and place; around the origin if the shape is so
        far from it that float32 would change it.

    Raises
    ------
    ValueError
        If the file is no such shape. The message names it and says what is wrong.
    """
    path = os.path.abspath(file)
    if (shown := os.fsencode(path).decode("utf-8", "backslashreplace")) != path:
        raise ValueError(f"{shown}: the name is not UTF-8, as pages and tables are; rename it")
    if not file.is_file():
        raise ValueError(f"{file}: no file (a link that leads nowhere?); take it out or mend it")
    if file.suffix.lower() != ".npy":
        return resample(file, n_points, seed)
    points = read_array(file)
    if fault := _fault(points, n_points):
        raise ValueError(f"{file}: {fault}")
    if len(points) > n_points:
        keep = np.random.default_rng(seed).permutation(len(points))[:n_points]
        points = points[np.sort(keep)]
    return in_single_precision(points)


def _fault(points, n_points):
    """Say why an array is no cloud of `n_points` or more; None if it is one."""
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        is_wide = points.ndim == 2 and points.shape[1] > 3  # by normals, colours
        advice = "keep points[:, :3]" if is_wide else "save one cloud in each file"
        if points.ndim == 2 and len(points) == 3:
            advice = "save points.T"
        found = f"{points.dtype} array of shape {points.shape}"
        return f"{found}, not (n_points, 3) of real numbers; {advice}"
    if len(points) < n_points:
        advice = "ask for fewer, or sample the shape more densely"
        return f"{len(points)} points, fewer than the {n_points} asked for; {advice}"
    if not (np.abs(points) <= np.finfo(np.float32).max).all():
        return "has points that are not finite (in single precision); leave them out"
    if (points == points[0]).all():
        return f"all points are equal, {points[0].tolist()}: that is no shape"
    return None


def read_points(file, least=100, n_points=4096):
    """
    Read a scan: the points of an array or of a file without faces, or points on a mesh.

    Returns (k, 3) points in a mixed order, `n_points` evenly spread ones of a mesh. Raises a
    ValueError that names the file if it is neither, or has fewer than `least` points.
    """
    if file.suffix.lower() == ".npy":
        points = read_array(file)
    else:
        mesh = meshes.read(file)
        points = np.asarray(mesh.vertices)
        if len(mesh.faces):
            middle = mesh.bounds.mean(axis=0)
            points = middle + resample(mesh.apply_translation(-middle), n_points)
    if fault := _fault(points, least):
        raise ValueError(f"{file}: {fault}")
    # Points of an organized scan are stored row by row.
    return np.random.default_rng(0).permutation(points).astype(float)


def read_array(file):
    """Read a plain `.npy` array, or raise a ValueError that names the file."""
    try:
        # np.load would open archives, too.
        with file.open("rb") as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # a header can be wrong in many ways
        advice = "write it again with numpy.save, as numbers"
        what = f"not a plain .npy array ({error or type(error).__name__})"
        raise ValueError(f"{file}: {what}; {advice}") from error


# Many files -----------------------------------------------------------------------------------


def read_all(files, n_points=2048, seed=0, title="shapes"):
    """
    Read many shapes as clouds (n, n_points, 3) float32, see `read`; meshes by several processes.

    Raises a ValueError that counts the files that can't be used and names some.
    """
    clouds, bad = {}, clashes(files)
    good = [file for file in files if file not in bad]
    found = read_each(good, n_points, seed)
    for file, cloud, reason in tqdm(found, f"reading {title}", len(good), False, delay=1):
        clouds[file] = cloud
        if reason is not None:
            bad[file] = reason
    if bad:
        reasons = [bad[file] for file in sorted(bad)]
        more = [f"and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
        head = f"{len(bad)} of {len(files)} files can't be used:"
        raise ValueError("\n  ".join([head, *reasons[:_SHOWN], *more]))
    return np.stack([clouds[file] for file in files])


def read_each(files, n_points, seed, workers=None):
    """
    Yield (file, cloud, None), or (file, None, reason to refuse it), in any order.

    This process reads clouds, as that takes no time, then several processes read meshes. They get
    files one at a time, so that memory does not grow with their number. Large files, and all that
    are left when the system ends a process (most often for want of memory), come last, each alone:
    so it is known which file was too much.

    Parameters
    ----------
    files : sequence of Path
    n_points, seed : int
    workers : int, optional
        Processes; 1 is this one. By default as many as there are processors, or 1 for few meshes.
    """
    left = {file: None for file in files if file.suffix.lower() != ".npy"}
    workers = workers or (1 if len(left) < _FEW else joblib.cpu_count())
    if workers == 1:
        left = {}
    yield from (_attempt(file, n_points, seed) for file in files if file not in left)
    small = [file for file in left if not file.is_file() or file.stat().st_size < _LARGE]
    try:
        for found in _in_processes(small, n_points, seed, workers):
            del left[found[0]]
            yield found
    except BrokenProcessPool:
        pass
    for file in left:
        try:
            # Of two processes only one has something to do.
            yield from _in_processes([file], n_points, seed, 2)
        except BrokenProcessPool:
            yield file, None, f"{file}: {_ENDED}"


def _in_processes(files, n_points, seed, workers):
    # Loky's are not forked, as TensorFlow may be running, and do not run the caller's script again.
    with joblib.parallel_config("loky", inner_max_num_threads=1, idle_worker_timeout=10):
        parallel = joblib.Parallel(workers, return_as="generator_unordered", batch_size=1)
        here = os.getpid()
        yield from parallel(joblib.delayed(_attempt)(file, n_points, seed, here) for file in files)
    # Of a pool that is left idle Python warns when the process ends, as of a leak.
    get_reusable_executor().shutdown()


def _attempt(file, n_points, seed, parent=None):
    if parent is not None:
        end_with(parent)
    try:
        return file, read(file, n_points, seed), None
    except ValueError as error:
        cause = error.__cause__
        if getattr(cause, "errno", None) and not isinstance(cause, PermissionError):
            # The disk failed, so nothing is known about the file: it is not refused.
            message = f"not read ({cause}); see that its disk is there, then run again"
            raise OSError(cause.errno, message, str(file)) from error
        return file, None, str(error)


@cache
def end_with(parent):
    """Let this process end when the one that started it (its id) does, even if that is killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
