"""Where shapes come from: folders, the bundled default; splits; training batches."""

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from . import corpus, folders
from .clouds import normalize
from .shape_model import ShapeModel
from .sockets import check_sockets

DATA = Path(__file__).resolve().parent.parent / "data"
KINDS = ("TT", "TF")

SOCKETS = "SocketSSM"
BUNDLED_SOCKETS = "bundled shape model (stand-in for SocketSSM)"
BUNDLED_CORPUS = "procedural surfaces (stand-in for ModelNet)"


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


# Sources --------------------------------------------------------------------------------------


def load_sockets(kind=None, source="auto", limit=None):
    """
    Load sockets: the user's folder, else what was downloaded, else the bundled default.

    Parameters
    ----------
    kind : {"TT", "TF"}, optional
        Transtibial or transfemoral only; both by default.
    source : {"auto", "SocketSSM", "bundled"}
        "auto" takes the first that there is. "SocketSSM" accepts nothing but the published
        sockets, "bundled" nothing but the stand-in.
    limit : int, optional
        At most that many of each kind.

    Returns
    -------
    Shapes
        In mm. `.source` tells what they are.

    Raises
    ------
    ValueError
        For an unknown kind or source.
    FileNotFoundError
        If `AAELIB_DATA` names no folder, or "SocketSSM" is asked for and not there.

    Warns
    -----
    UserWarning
        If sockets of a folder look as if they were in another unit than mm, or upside down, or if
        it has sub-folders that are no kinds.
    """
    if kind not in (None, *KINDS):
        raise ValueError(f"unknown kind {kind!r}; accepted: 'TT', 'TF' or None for both")
    if source not in ("auto", "SocketSSM", "bundled"):
        raise ValueError(f"unknown source {source!r}; accepted: 'auto', 'SocketSSM', 'bundled'")
    _check_limit(limit)
    kinds = KINDS if kind is None else (kind,)
    found = [] if source == "bundled" else _folders("SocketSSM")
    if found:
        return _sockets_of(found[0], kinds, limit)
    if source == "SocketSSM":
        raise FileNotFoundError(
            "no SocketSSM sockets; `make data` downloads them, or set AAELIB_DATA to a folder that "
            "holds SocketSSM/TT and SocketSSM/TF"
        )
    return _bundled_sockets(kinds, min(limit or 90, 90))


def load_corpus(source="auto", n_points=2048, limit=None, n_per_family=40, seed=0):
    """
    Load shapes for pre-training: ModelNet where there is one, else procedural surfaces.

    Parameters
    ----------
    source : {"auto", "ModelNet", "bundled"}
    n_points : int
    limit : int, optional
        ModelNet: at most that many shapes of a class, drawn by `seed`; reading all takes long.
    n_per_family : int
        Procedural surfaces: how many of each family.
    seed : int

    Returns
    -------
    Shapes
        Each in the unit sphere. `.kinds` are classes, `.names` relative paths.
    """
    if source not in ("auto", "ModelNet", "bundled"):
        raise ValueError(f"unknown source {source!r}; accepted: 'auto', 'ModelNet', 'bundled'")
    # ModelNet40 contains ModelNet10: never both.
    found = [] if source == "bundled" else _folders("ModelNet40*", "ModelNet10*")
    if found:
        parts = [load_clouds(folder, n_points, limit, seed) for folder in found]
        points = np.concatenate([part.points for part in parts])
        return Shapes(
            normalize(points, "unit-sphere")[0].astype(np.float32),
            np.concatenate([part.names for part in parts]),
            np.concatenate([part.kinds for part in parts]),
            " + ".join(folder.name for folder in found),
        )
    if source == "ModelNet":
        raise FileNotFoundError(
            "no ModelNet; `make data MODELNET=10` downloads it, or set AAELIB_DATA to a folder "
            "that holds ModelNet10 or ModelNet40"
        )
    points, labels = corpus.generate(n_per_family, n_points=n_points, seed=seed)
    labels = np.asarray(labels)
    names = np.array([f"{label}_{i:04d}" for i, label in enumerate(labels)])
    return Shapes(points, names, labels, BUNDLED_CORPUS)


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
    files = folders.find(folder)
    classes = np.array([_class(file, folder) for file in files])
    if limit is not None:
        files, classes = _at_most(limit, np.array(files), classes, seed)
    points = folders.read_all(files, n_points, seed, title=folders.name_of(folder))
    names = [str(file.relative_to(folder).with_suffix("")) for file in files]
    return Shapes(points, np.array(names), classes, folders.name_of(folder))


def _sockets_of(folder, kinds, limit):
    shapes = load_clouds(folder, limit=limit)
    if unknown := sorted(set(shapes.kinds.tolist()) - set(KINDS)):
        warnings.warn(
            f"{folder}: {', '.join(map(repr, unknown))} is no kind of socket, and what is there is "
            "left out; sub-folders are TT (transtibial) and TF (transfemoral): rename them",
            stacklevel=3,
        )
    shapes = shapes[np.isin(shapes.kinds, kinds)]
    if not len(shapes):
        raise FileNotFoundError(
            f"no {' or '.join(kinds)} sockets in {folder}; they belong into sub-folders of that "
            "name"
        )
    check_sockets(shapes.points, [folder / name for name in shapes.names])
    return Shapes(shapes.points, shapes.names, shapes.kinds, SOCKETS)


def _check_limit(limit):
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be 1 or more, or None for all")


def _folders(*patterns):
    """Folders of the first pattern in the first place, the user's or the downloads', with any."""
    places = [DATA]
    if named := os.environ.get("AAELIB_DATA"):
        if not Path(named).is_dir():
            raise FileNotFoundError(f"AAELIB_DATA is {named!r}, which is no folder")
        known = [
            f for p in ("SocketSSM", "ModelNet10*", "ModelNet40*") for f in Path(named).glob(p)
        ]
        if not known:
            raise FileNotFoundError(
                f"AAELIB_DATA is {named!r}, which holds no folder SocketSSM, ModelNet10* or "
                "ModelNet40*; name the folder above them (see data/README.md)"
            )
        places.insert(0, Path(named))
    for place in places:
        for pattern in patterns:
            if found := sorted(f for f in place.glob(pattern) if f.is_dir()):
                return found
    return []


def _class(file, folder):
    parts = file.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else folders.name_of(folder)


def _at_most(limit, files, classes, seed):
    rng = np.random.default_rng(seed)
    chosen = []
    for name in np.unique(classes):
        members = np.flatnonzero(classes == name)
        chosen.append(np.sort(rng.permutation(members)[:limit]))
    chosen = np.concatenate(chosen)
    return files[chosen], classes[chosen]


# The bundled default --------------------------------------------------------------------------


def bundle(shapes, surfaces, n_modes=14):
    """
    Write the bundled default: one shape model of each kind, small enough for the repository.

    Parameters
    ----------
    shapes : Shapes
        All of SocketSSM.
    surfaces : sequence of SocketSurface
        Theirs.
    n_modes : int
        Modes to keep of each kind.

    Returns
    -------
    list of Path
        The files.
    """
    files = [DATA / "sockets" / f"{kind}.npz" for kind in KINDS]
    for kind, file in zip(KINDS, files, strict=True):
        members = np.flatnonzero(shapes.kinds == kind)
        model = ShapeModel.fit([surfaces[i] for i in members], n_modes)
        # Half precision is off by less than 0.02 mm on a mode.
        ShapeModel(
            model.mean_.astype(np.float32),
            model.modes_.astype(np.float16),
            model.variance_fractions_,
            model.n_surfaces_,
        ).save(file)
    return files


def _bundled_sockets(kinds, n, n_points=2048):
    points, names, labels = [], [], []
    for kind in kinds:
        model = ShapeModel.load(DATA / "sockets" / f"{kind}.npz")
        # The same draws whichever kinds are asked for.
        seed = KINDS.index(kind)
        for i, surface in enumerate(
            tqdm(model.sample(n, seed), desc=f"bundled {kind}", leave=False)
        ):
            points.append(surface.sample(n_points, seed=1000 * seed + i))
            names.append(f"{kind}/drawn_{kind.lower()}_{i:03d}")
            labels.append(kind)
    return Shapes(
        np.stack(points).astype(np.float32), np.array(names), np.array(labels), BUNDLED_SOCKETS
    )


# Splits ---------------------------------------------------------------------------------------


def split_sockets(shapes, n_scans=None, validation=0.25, test=0.35, seed=0):
    """
    Draw "the scans", and share the rest between validation, test and more to train on, per kind.

    The paper had 30 transtibial and 21 transfemoral scans; they were not published. As many
    sockets take their place: all that a condition without augmentation may train on, and all that
    the augmenting shape model may see.

    Parameters
    ----------
    shapes : Shapes
    n_scans : dict, optional
        Kind -> number of scans; the paper's by default.
    validation, test : float
        Shares of the rest that go there, above 0 and in all at most 1.
    seed : int

    Returns
    -------
    dict
        "scans", "more", "validation", "test" -> sorted index arrays into `shapes`, disjoint. "more"
        is what is left: models that may train on all but validation and test have it too.

    Raises
    ------
    ValueError
        If a kind has too few sockets to leave one for validation and one for test.
    """
    n_scans = n_scans or {"TT": 30, "TF": 21}
    rng = np.random.default_rng(seed)
    if not (validation > 0 and test > 0 and validation + test <= 1):
        raise ValueError(
            f"shares are {validation} for validation and {test} for test; each must be above 0, "
            "both together at most 1"
        )
    split = {"scans": [], "more": [], "validation": [], "test": []}
    for kind, count in n_scans.items():
        members = rng.permutation(np.flatnonzero(shapes.kinds == kind))
        rest = len(members) - count
        if rest < 2:
            raise ValueError(
                f"{len(members)} {kind} sockets ({shapes.source}) leave {rest} beside {count} "
                "scans; validation and test need one each"
            )
        held = min(max(1, round(validation * rest)), rest - 1)
        tested = min(max(1, round(test * rest)), rest - held)
        ends = np.cumsum([count, held, tested])
        parts = zip(("scans", "validation", "test", "more"), np.split(members, ends), strict=True)
        for part, index in parts:
            split[part].append(index)
    return {name: np.sort(np.concatenate(parts)) for name, parts in split.items()}


# Training batches -----------------------------------------------------------------------------


def batches(
    clouds,
    scale,
    n_steps,
    batch_size=32,
    shape_models=(),
    share=0.8,
    limit=2.5,
    jitter=0.0,
    rotate=False,
    normalization="dataset",
    first_step=0,
    seed=0,
):
    """
    Training batches as a `tf.data.Dataset`: real clouds, and fresh draws of shape models.

    Each batch is a function of `seed` and its step alone, so that a run that is resumed at
    `first_step` sees what it would have seen.

    Parameters
    ----------
    clouds : (n, n_points, 3) array
        Real clouds, mm.
    scale : float
        Millimetres of a normalized unit ("dataset" normalization).
    n_steps : int
        Number of the last batch.
    batch_size : int
    shape_models : sequence of ShapeModel
        The augmentation; each gives as large a part of the drawn clouds as it has of all surfaces
        fitted. None: real clouds only.
    share : float
        Part of a batch that is drawn from the shape models, [0, 1].
    limit : float
        Bound of the drawn weights, standard deviations.
    jitter : float
        Standard deviation of the noise on every coordinate, normalized units.
    rotate : bool
        Turn each cloud about the long axis by a random angle.
    normalization : {"dataset", "unit-sphere"}
    first_step : int
    seed : int

    Returns
    -------
    tf.data.Dataset
        Of (batch_size, n_points, 3) float32 normalized clouds.
    """
    import tensorflow as tf

    fixed_scale = scale if normalization == "dataset" else None
    real = tf.constant(normalize(clouds, normalization, scale=fixed_scale)[0], tf.float32)
    n_points = real.shape[1]
    bases = [m.point_basis(n_points, seed=seed) for m in shape_models]
    drawn = round(share * batch_size) if bases else 0
    counts = proportional_counts(drawn, [m.n_surfaces_ for m in shape_models])

    def batch(step):
        keys = tf.random.experimental.stateless_split(tf.stack([seed, tf.cast(step, tf.int32)]), 8)
        chosen = tf.random.stateless_uniform(
            [batch_size - drawn], keys[0], 0, real.shape[0], tf.int32
        )
        parts = [tf.gather(real, chosen)]
        for i, (mean, modes) in enumerate(bases):
            key = tf.random.experimental.stateless_fold_in(keys[1], i)
            cloud, _ = draw_clouds(mean, modes, counts[i], limit, key)
            parts.append(_normalized(cloud, fixed_scale))
        points = tf.concat(parts, axis=0)
        if rotate:
            points = _turned(
                points, tf.random.stateless_uniform([batch_size], keys[2], 0, 2 * np.pi)
            )
        if jitter:
            points += tf.random.stateless_normal(tf.shape(points), keys[3], stddev=jitter)
        return tf.ensure_shape(points, (batch_size, n_points, 3))

    steps = tf.data.Dataset.range(first_step, n_steps)
    return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2)


def proportional_counts(total, sizes):
    """
    Share a number out in proportion to sizes, the remainders to the largest fractions.

    Parameters
    ----------
    total : int
    sizes : sequence of int
        May be empty.

    Returns
    -------
    list of int
        Their sum is `total`.
    """
    exact = total * np.asarray(sizes, float) / max(1, sum(sizes))
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()


def draw_clouds(mean, modes, count, limit, key):
    """
    Draw clouds of a shape model in TensorFlow.

    Parameters
    ----------
    mean, modes : arrays
        As `ShapeModel.point_basis` gives them.
    count : int
    limit : float
        Bound of the weights, standard deviations.
    key : (2,) int tensor
        Of TensorFlow's stateless random numbers.

    Returns
    -------
    clouds : (count, n_points, 3) float32 tensor
        Of one pattern, drawn as well; in the unit of `mean`.
    weights : (count, n_modes) float32 tensor
    """
    import tensorflow as tf

    for_pattern, for_weights = tf.unstack(tf.random.experimental.stateless_split(key, 2))
    pattern = tf.random.stateless_uniform([], for_pattern, 0, len(mean), tf.int32)
    weights = tf.random.stateless_parameterized_truncated_normal(
        [count, modes.shape[1]], for_weights, 0.0, 1.0, -limit, limit
    )
    chosen_mean, chosen_modes = tf.gather(mean, pattern), tf.gather(modes, pattern)
    return chosen_mean + tf.tensordot(weights, chosen_modes, 1), weights


def _normalized(points, scale):
    """`clouds.normalize` for tensors."""
    import tensorflow as tf

    centred = points - tf.reduce_mean(points, axis=1, keepdims=True)
    if scale is None:
        scale = tf.reduce_max(tf.norm(centred, axis=-1, keepdims=True), axis=1, keepdims=True)
    return centred / scale


def _turned(points, angles):
    """`clouds.rotate` for tensors."""
    import tensorflow as tf

    cos, sin = tf.cos(angles)[:, None], tf.sin(angles)[:, None]
    x, y, z = tf.unstack(points, axis=-1)
    return tf.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
