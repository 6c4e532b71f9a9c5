"""The whole socket of a scan: a code and a place that agree with the scan's points."""

import warnings
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from threadpoolctl import threadpool_limits

from ..models import in_numpy
from ..shapes.clouds import as_points, normals
from ..shapes.meshes import nearest_on
from ..shapes.scanning import positions
from ..shapes.sockets import MIN_POINTS, SIZES, SocketSurface, surface_points, unit_hint, wall_hint
from . import design

_PRIOR = 0.01  # mm^2 of mean squared distance that one standard deviation of a code costs
_ALONG = 0.003  # weight of the squared distance whatever its direction: with more, points hold fast
_PROBE, _DAMPING = 0.05, 1e-3  # of differences, prior's standard deviations; of the first step
_COARSE, _FINE = 256, 1024  # points of a scan that are looked at
_FINAL = (8.0, 4), (4.0, 12)  # reach, mm, beyond which points hardly count, and steps
_WITHOUT_STRAYS = 0.02, 0.98  # between these quantiles
# Of the variance of a posterior: chosen on validation sockets, so that intervals hold the truth as
# often as they say.
_WIDENED = 1.44
_MISFIT = 3.0  # mm; a scan whose median distance from the socket is larger is refused
_SEEN, _LITTLE = 15.0, 0.4  # mm from a point of the scan; share of a wall, below it a warning
_FAR = 25.0  # mm, at which a rank no longer asks how far

# What a search does before, with few points: reach, steps from each start, starts that go on.
FROM_MEANS = (25.0, 5, 12), (8.0, 4, 4)
FROM_READ = (25.0, 2, 8), (8.0, 3, 2)
THOROUGH = (25.0, 8, 48), (8.0, 8, 12)


class Linear:
    """
    A linear shape model as a decoder of clouds, mm; with no modes a single cloud.

    Parameters
    ----------
    mean : (n_points, 3) array
    modes : (n_modes, n_points, 3) array
        By one standard deviation.
    """

    def __init__(self, mean, modes=()):
        self.mean, self.modes = mean, np.reshape(modes, (-1, *np.shape(mean)))

    @classmethod
    def of(cls, shape_model, n_modes):
        """Of a `ShapeModel`'s first modes, its clouds centred as decoded ones are."""
        mean, modes = (each[0] for each in shape_model.point_basis(n_patterns=1))
        modes = modes[:n_modes]
        return cls(mean - mean.mean(axis=0), modes - modes.mean(axis=1, keepdims=True))

    @property
    def middle(self):
        """The mean's code."""
        return np.zeros(len(self.modes))

    def of_points(self, indices):
        """The same, whose clouds have these points alone."""
        return Linear(self.mean[indices], self.modes[:, indices])

    def decode(self, codes):
        return self.mean + np.tensordot(codes, self.modes, 1)


@dataclass(frozen=True)
class Start:
    """
    Where a search begins.

    Attributes
    ----------
    decoder : NumpyAutoencoder or Linear
    code, center : numpy.ndarray
        (code_size,); the second is the prior's mean.
    motion : numpy.ndarray
        (4, 4), from the decoded socket to the scan; a reflection for a left leg's.
    bounds : tuple of float
        Of the code's first number, which may tell kinds apart.
    std : float
        Standard deviation of the prior on each number.
    kind : str
        "TT", "TF" or "" if the model does not tell kinds.
    """

    decoder: object
    code: np.ndarray
    center: np.ndarray
    motion: np.ndarray
    bounds: tuple = (-np.inf, np.inf)
    std: float = 1.0
    kind: str = ""

    @property
    def cloud(self):
        """What is decoded, (n_points, 3)."""
        return self.decoder.decode(self.code[None])[0]

    @property
    def is_left(self):
        """Whether the scan would be of a left leg."""
        return bool(np.linalg.det(self.motion[:3, :3]) < 0)


@dataclass(frozen=True)
class Completion:
    """
    The whole socket of a scan, see `complete`.

    Attributes
    ----------
    found : Start
        Where the search ended.
    surface : SocketSurface
        The right leg's socket, upright at the origin, mm.
    code : numpy.ndarray
        (code_size,) float32; of that socket, whose mirror image a left leg's is.
    kind, side : str
        "TT", "TF" or "" if the model does not tell kinds; "right" or "left".
    motion : numpy.ndarray
        (4, 4), from `surface` to the scan; a reflection for a left leg's.
    """

    found: Start
    surface: SocketSurface

    @classmethod
    def of(cls, found):
        """What a search found, with its surface."""
        return cls(found, design.decoded_surface(found.decoder, found.code.astype(np.float32)))

    @property
    def code(self):
        return self.found.code.astype(np.float32)

    @property
    def kind(self):
        return self.found.kind

    @property
    def side(self):
        return "left" if self.found.is_left else "right"

    @property
    def motion(self):
        return self.found.motion

    def placed(self, mesh):
        """A mesh around `surface`, such as its `shell`, where the scan is."""
        return mesh.copy().apply_transform(self.motion)


def complete(aae, points, scans=None, name="the scan"):
    """
    Find the whole socket of a scan that may be noisy, tilted, cut off or of either leg.

    The most plausible code and the place are sought together (`search`), so that the socket is near
    the points that are there; what is missing is as the model's prior has it. With an encoder of
    scans the search starts at what that reads, otherwise at the mean of each kind, in many turns.
    Points that are far from all others are left out before.

    Parameters
    ----------
    aae : AdversarialAutoencoder or NumpyAutoencoder
        With "dataset" normalization.
    points : (n, 3) array
        100 or more of the socket's inner surface, mm; its brim about upwards.
    scans : ScanEncoder, optional
        Of this model.
    name : str
        Of the scan, for messages.

    Returns
    -------
    Completion

    Raises
    ------
    ValueError
        If the points are too few, not finite, not in mm, of a closed wall or of no socket, or the
        model's sockets have no size.

    Warns
    -----
    UserWarning
        If less than 40 % of the socket that was found is in the scan.
    """
    design.check_has_size(aae)
    if 2 * aae.scale < SIZES[0] / 2:
        raise ValueError(f"the model's shapes are {2 * aae.scale:.3g} mm large: no sockets")
    points = as_points(points, name, ndim=2)
    if len(points) < MIN_POINTS:
        raise ValueError(f"{name} has {len(points)} points; {MIN_POINTS} or more are needed")
    size = np.ptp(np.quantile(points, _WITHOUT_STRAYS, axis=0), axis=0).max()
    if not SIZES[0] / 2 <= size <= 2 * SIZES[1]:
        raise ValueError(f"{name}: {unit_hint(size)}")
    aae, points = in_numpy.of(aae), surface_points(points)[0]
    points = np.random.default_rng(0).permutation(points)
    whole = Completion.of(search(points, *begun(aae, points, scans))[0])
    there, mesh = (points - whole.motion[:3, 3]) @ whole.motion[:3, :3], whole.surface.mesh()
    if wall := wall_hint(mesh, there):
        raise ValueError(f"{name}: {wall}")
    if (away := np.median(nearest_on(mesh, there)[1])) > _MISFIT:
        raise ValueError(
            f"{name}: no socket of the model follows it; half of its points are {away:.1f} mm or "
            "more from the nearest. Is it a socket's inner surface, its brim about upwards?"
        )
    seen = np.mean(cKDTree(there).query(mesh.vertices)[0] < _SEEN)
    if seen < _LITTLE:
        warnings.warn(
            f"{name}: only {seen:.0%} of the socket that was found is in the scan; kind, side and "
            "all else are the model's guess",
            stacklevel=2,
        )
    return whole


def begun(aae, points, scans=None):
    """Where the search for a scan's socket begins, and its stages, see `complete`."""
    if scans:
        return as_read(aae, points, scans), FROM_READ
    return from_means(aae, points), FROM_MEANS


@threadpool_limits.wrap(limits=1)  # matrices are small: threads would wait for each other
def as_read(aae, points, scans):
    """
    The `Start`s at what a `ScanEncoder` reads in a scan, the nearest to it first.

    A code that is read is not sure of the kind: each kind is tried.
    """
    kinds, starts = design.mean_codes(aae), []
    for (code, motion), (center, bounds) in product(zip(*scans.read(points), strict=True), kinds):
        code, kind = code.copy(), _kind(aae, center)
        if not bounds[0] <= code[0] <= bounds[1]:
            code[0] = center[0]
        starts.append(Start(aae, code, center, motion, bounds, scans.std, kind))
    return ranked(points, starts)


def from_means(aae, points):
    """Starts at the mean of each kind that a model knows, of either leg, in each turn."""
    about = {"std": aae.recipe.prior_std}
    return [
        start
        for mean, bounds in design.mean_codes(aae)
        for start in turned(points, aae, mean, bounds=bounds, kind=_kind(aae, mean), **about)
    ]


def _kind(aae, code):
    return str(design.kinds_of(aae, code[None])[0])


def turned(points, decoder, code, **others):
    """Starts at a code for a scan (n, 3) that is about upright, see `scanning.positions`."""
    turns = positions()
    motions = np.tile(np.eye(4), (len(turns), 1, 1))
    motions[:, :3, :3] = turns
    motions[:, :3, 3] = np.median(points, axis=0)
    return [Start(decoder, code, code, motion, **others) for motion in motions]


@threadpool_limits.wrap(limits=1)
def ranked(points, starts):
    """Starts by how near a scan's points are to what they decode, the nearest first."""
    points, codes, trees = _thinned(points, _COARSE // 2), {}, {}
    for each in starts:
        codes.setdefault(each.decoder, {})[each.code.tobytes()] = each.code
    for decoder, of_decoder in codes.items():
        clouds = decoder.decode(np.stack([*of_decoder.values()]))
        trees[decoder] = dict(zip(of_decoder, map(cKDTree, clouds), strict=True))

    def distance(start):
        there = (points - start.motion[:3, 3]) @ start.motion[:3, :3]
        away = trees[start.decoder][start.code.tobytes()].query(there)[0]
        return np.minimum(away, _FAR).sum()

    return sorted(starts, key=distance)


@threadpool_limits.wrap(limits=1)
def search(points, starts, stages):
    """
    Find the code and the place of the socket that a scan is of.

    Parameters
    ----------
    points : (n, 3) array
        mm.
    starts : sequence of Start
    stages : sequence of (float, int, int)
        Such as `FROM_MEANS`: after each, so many of the best starts go on.

    Returns
    -------
    Start
        With the code and the motion that were found.
    n_steps : int
        Steps that were taken with all points; four with a quarter of them count as one.
    """
    n_steps = 0
    some = slice(None, None, _FINE // _COARSE)
    few = {decoder: decoder.of_points(some) for decoder in {each.decoder for each in starts}}
    whole = {thinned: decoder for decoder, thinned in few.items()}
    begun = [replace(each, decoder=few[each.decoder]) for each in starts]
    for reach, steps, kept in stages:
        n_steps += len(begun) * steps * _COARSE / _FINE
        looked = [_descend(points, each, steps, reach, _COARSE) for each in begun]
        begun = [each for each, _ in sorted(looked, key=lambda pair: pair[1])[:kept]]
    found = []
    for start in begun:
        start = replace(start, decoder=whole[start.decoder])
        for reach, steps in _FINAL:
            start, energy = _descend(points, start, steps, reach, _FINE)
            n_steps += steps
        found.append((start, energy))
    return min(found, key=lambda pair: pair[1])[0], round(n_steps)


def local(points, start):
    """
    The posterior of codes and places near the end of a search, in `moved`'s steps.

    It is taken to be normal (Laplace). Its variance has two parts: the prior's by the curvature of
    what is minimized, wider by what the model cannot follow, and that of the scan's noise, the mean
    squared distance divided by the number of points.

    Returns
    -------
    cost : float
        Minus twice the logarithm of its density there.
    precision : (code_size + 6, code_size + 6) array
    """
    points = _thinned(points, _FINE)
    energy, _, curvature = _linearized(points, start, _FINAL[-1][0])
    away = (start.code - start.center) / start.std
    variance = _WIDENED * _PRIOR + (energy - _PRIOR * away @ away) / len(points)
    return energy / variance, curvature / variance


def _thinned(points, n):
    return np.asarray(points, float)[:: max(1, len(points) // n)]


def _descend(points, start, n_steps, reach, n_points):
    """
    Steps of Levenberg and Marquardt; the `Start` that they lead to, and its energy.

    The distance d of a point of the scan from the nearest decoded one counts across the wall, and a
    little in any direction, as r^2 d^2 / (r^2 + d^2) (Geman and McClure 1987): strays, beyond the
    reach r, hardly count. How far decoded points are from the scan does not count, since parts of
    it may be missing: there the prior decides.
    """
    points, damping, least = _thinned(points, n_points), _DAMPING, np.inf
    now = start
    for _ in range(n_steps + 1):
        energy, *derivatives = _linearized(points, now, reach)
        if energy < least:
            best, least, (slope, curvature) = now, energy, derivatives
            damping = max(0.3 * damping, 1e-6)
        else:
            damping = min(5 * damping, 1e3)
        system = curvature + damping * np.diag(np.diag(curvature) + 1e-9)
        now = moved(best, -np.linalg.solve(system, slope))
    return best, least


def moved(start, step):
    """A start with its code, its direction and its place moved by a step (code_size + 6,)."""
    k, motion = len(start.code), start.motion.copy()
    code = start.code + start.std * step[:k]
    code[:1] = np.clip(code[:1], *start.bounds)
    motion[:3, 3] += motion[:3, :3] @ step[k + 3 :]
    motion[:3, :3] = motion[:3, :3] @ Rotation.from_rotvec(step[k : k + 3]).as_matrix()
    return replace(start, code=code, motion=motion)


def _linearized(points, start, reach):
    """Energy, half its gradient (code_size + 6,) and half its Hessian, by Gauss and Newton."""
    k, std = len(start.code), start.std
    probes = start.decoder.decode(np.vstack([start.code, start.code + _PROBE * std * np.eye(k)]))
    cloud, slopes = probes[0].astype(float), np.moveaxis(probes[1:] - probes[0], 0, -1) / _PROBE
    points = (points - start.motion[:3, 3]) @ start.motion[:3, :3]
    nearest = cKDTree(cloud).query(points)[1]
    used, place = np.unique(nearest, return_inverse=True)
    across = normals(cloud[None], of=used)[0, place].astype(float)
    ways, n = points - cloud[nearest], len(points)
    turns = -np.cross(np.eye(3), points[:, None]).transpose(0, 2, 1)
    moves = [-slopes[nearest], turns, np.broadcast_to(-np.eye(3), (n, 3, 3))]
    rows = np.concatenate([ways[..., None], *moves], axis=2)
    along = np.einsum("px,pxk->pk", across, rows)
    squares = along[:, 0] ** 2 + _ALONG * (ways**2).sum(axis=1)
    shares = reach**2 / (reach**2 + squares)
    weights = shares**2 / n
    rows = (np.sqrt(_ALONG * weights)[:, None, None] * rows).reshape(3 * n, -1)
    system = (weights[:, None] * along).T @ along + rows.T @ rows
    away = (start.code - start.center) / std
    slope, curvature = system[1:, 0], system[1:, 1:]
    slope[:k] += _PRIOR * away
    curvature[:k, :k] += _PRIOR * np.eye(k)
    return np.mean(squares * shares) + _PRIOR * away @ away, slope, curvature
