"""A socket for a residual limb: find the one that follows it at a given distance."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import trimesh
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y
from threadpoolctl import threadpool_limits

from ..models import in_numpy
from ..shapes import meshes
from ..shapes.sockets import SocketSurface, node_values, vertex_values
from . import design
from .limb_scans import border_edges, load_limb, opening

__all__ = ["LimbFit", "align", "fit_limb", "load_limb", "signed_gaps"]

MAX_CLEARANCE = 20.0  # mm; liners have 3 to 9
_MIRRORS = {"right": np.eye(4), "left": np.diag([1.0, -1, 1, 1])}
SIDES = tuple(_MIRRORS)
_MISFIT = 5.0  # mm of the gap's mean error, from which on the socket is of no use

_REGIONS = (0, 0.25, 0.75, 1)  # of the height up to the brim: distal end, wall, wall, brim
_COVERED = 0.92  # of the limb's length, where the brim is wanted
_STEPS = np.array([0.01, 1e-3, 0.1])  # of differences: prior's standard deviations, radians, mm
_PRIOR_WEIGHT = 1.0  # mm^2 of mean squared gap that a code like a draw of the prior costs
_BRIM_TOLERANCE = 5.0  # mm; the brim so far off costs as much as a gap of 1 mm everywhere
_FEW_POINTS = 4  # a first search looks at every so many of the decoded points
_BEST = 3  # starts that go on after the first search

_DEGREE = 12  # of the harmonics of the displacement
_ROUGHNESS = 3e-4  # weight of the displacement's bending against gaps
_QUANTILES = (0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class LimbFit:
    """
    A socket for a limb, see `fit_limb`, and how far it is from it. All lengths are in mm.

    A gap is positive where the socket is outside of the limb and negative where it presses into
    it. It is NaN above the limb's opening: at nodes whose nearest point of the limb is on the
    border of the opening.

    Attributes
    ----------
    code : numpy.ndarray
        (code_size,) float32; of the right leg's socket, whose mirror image a left leg's is.
    side : str
        "right" or "left".
    surface : SocketSurface
        The socket's inner surface: the decoded one, displaced.
    model_surface : SocketSurface
        The decoded one.
    placement : numpy.ndarray
        (4, 4), the rigid motion that puts the scan into the socket; its inverse takes the socket to
        the scan.
    clearance : numpy.ndarray
        (angles, heights), wanted at the nodes.
    gap, model_gap : numpy.ndarray
        (angles, heights), at the nodes of `surface` and of `model_surface`.
    errors, model_errors : dict
        Of the absolute difference of gap and clearance, from socket to limb and from limb to
        socket, each half, where there are both: "mean", and quantiles by their level.
    displacement : float
        Mean distance between the two surfaces.
    covered : float
        Height of the brim, on average, over the limb's length.
    other_leg : float
        Cost of the best start on the other leg over that of the best, 1 or more: near 1 the limb
        does not tell whose it is. NaN if one leg alone was tried.
    """

    code: np.ndarray
    side: str
    surface: SocketSurface
    model_surface: SocketSurface
    placement: np.ndarray
    clearance: np.ndarray
    gap: np.ndarray
    model_gap: np.ndarray
    errors: dict
    model_errors: dict
    displacement: float
    covered: float
    other_leg: float

    @property
    def gap_error(self):
        """Mean of ``errors``."""
        return self.errors["mean"]

    @property
    def model_error(self):
        """Mean of ``model_errors``."""
        return self.model_errors["mean"]

    def worst_region(self):
        """
        Where the model alone is farthest off: heights (2,), and the mean gap minus clearance there.

        Of bands of 30 mm above the distal end, each in four quarters around the axis.
        """
        off = self.model_gap - self.clearance
        heights = self.model_surface.vertices[..., 2]
        bands = 30 * ((heights - heights.min()) // 30).astype(int)
        quarters = np.repeat(np.arange(len(off)) * 4 // len(off), off.shape[1])
        regions = pd.Series(off.ravel()).groupby([bands.ravel(), quarters])
        means = regions.mean()[regions.count() > 0.3 * regions.count().max()]
        low, quarter = means.abs().idxmax()
        return (low, low + 30), float(means[low, quarter])


def align(limb):
    """
    Find the motion (4, 4) that puts a limb upright, centred at the origin as decoded clouds are.

    The axis, from the centroid of the surface to that of the opening's border, becomes z. Unlike a
    principal axis it tells up from down, and it exists for limbs as wide as they are long.
    """
    motion = trimesh.geometry.align_vectors(opening(limb) - limb.centroid, [0, 0, 1])
    motion[:3, 3] = -motion[:3, :3] @ limb.centroid
    return motion


# Gaps -----------------------------------------------------------------------------------------


def signed_gaps(points, mesh):
    """
    How far outside of an open surface, whose normals point outwards, points (n, 3) are; (n,).

    NaN where the nearest point of the surface is on its border: there the surface has ended.
    """
    nearest, distances, triangles = meshes.nearest_on(mesh, points)
    weights, normals = _normals(mesh, nearest, triangles)
    inside = np.einsum("ij,ij->i", points - nearest, normals) < 0
    on_border = np.isin(np.arange(len(mesh.vertices)), border_edges(mesh))
    ended = (weights * ~on_border[mesh.faces[triangles]]).sum(axis=1) < 1e-6
    return np.where(ended, np.nan, np.where(inside, -distances, distances))


def _normals(mesh, points, triangles):
    """Barycentric weights of points on triangles, and interpolated normals there; (n, 3) each."""
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[triangles], points)
    normals = mesh.vertex_normals[mesh.faces[triangles]]
    return weights, np.einsum("ij,ijk->ik", weights, normals)


class _Wall:
    """
    A limb's wall as tangent planes, for the many distances of a fit.

    Within a millimetre of a sample a wall departs from its plane by about 0.01 mm.
    """

    def __init__(self, limb):
        self.limb = limb
        # Samples of the wall are less than 1 mm apart.
        self.samples, triangles = trimesh.sample.sample_surface(limb, 40_000, seed=0)
        self.normals = trimesh.unitize(_normals(limb, self.samples, triangles)[1])
        starts, ends = limb.vertices[border_edges(limb)].transpose(1, 0, 2)
        longest = np.linalg.norm(ends - starts, axis=1).max()
        # Samples of the border are half a millimetre apart.
        share = np.linspace(0, 1, int(longest / 0.5) + 2)[:, None, None]
        border = ((1 - share) * starts + share * ends).reshape(-1, 3)
        self.tree = cKDTree(np.concatenate([self.samples, border]))

    def gaps(self, points):
        """Gaps (n,), normals (n, 3) of the wall, and whether it is there (n,) or has ended."""
        nearest = self.tree.query(points)[1]
        there = nearest < len(self.samples)
        nearest = np.where(there, nearest, 0)
        normals = self.normals[nearest]
        return np.einsum("ij,ij->i", points - self.samples[nearest], normals), normals, there


class _Clearance:
    """Wanted gaps by height: one for all of the limb, or at its distal end, its wall, its brim."""

    def __init__(self, values):
        self.values = np.broadcast_to(np.asarray(values, float), 3)[[0, 1, 1, 2]]
        if not (np.abs(self.values) <= MAX_CLEARANCE).all():
            accepted = f"{-MAX_CLEARANCE:g} to {MAX_CLEARANCE:g}"
            raise ValueError(f"clearance is {values}; accepted: {accepted}, mm")

    def at(self, heights, low, high):
        """Clearances at heights, where the distal end is at `low` and the brim at `high`."""
        return np.interp((heights - low) / (high - low), _REGIONS, self.values)


# Fitting --------------------------------------------------------------------------------------


@threadpool_limits.wrap(limits=1)  # matrices are small: threads would wait for each other
def fit_limb(aae, limb, clearance=0.0, kind=None, side=None, progress=lambda share: None):
    """
    Find the socket that follows a limb at a given distance.

    Code and placement are found together by Gauss-Newton steps within a trust region
    (`scipy.optimize.least_squares`): decoded points, moved rigidly, are to be `clearance` away from
    the tangent plane at the nearest point of the limb (point-to-plane registration, Chen and
    Medioni 1992), and the code near the prior's mean. The start is the kind's mean socket, its
    distal end at the limb's, in each of 8 rotations about the long axis, for a left leg mirrored;
    the best few go on. Points above the limb's opening do not count, nor does the limb above the
    brim. Else the socket would cover only what is easy to follow: so its brim is held near 92 % of
    the limb's length.

    The model knows sockets, not limbs. What it cannot follow, a smooth displacement of the decoded
    surface along its smoothed normals does, up to 10 mm: spherical harmonics of angle and height up
    to degree 12, by regularised least squares. The result has both surfaces and both errors.

    It is no fitting by a prosthetist, who rectifies a socket: pressed in where a limb bears load,
    relieved where it does not. Jordaan et al. (2025) learn that from pairs of limbs and sockets.

    Parameters
    ----------
    aae : AdversarialAutoencoder or NumpyAutoencoder
        With "dataset" normalization.
    limb : trimesh.Trimesh
        From `load_limb`: mm, in any position.
    clearance : float or (float, float, float)
        Gap from limb to socket, mm, -20 to 20: positive leaves room for a liner, negative presses
        into the limb. Three are those at the distal end, along the wall and at the brim.
    kind : {"TT", "TF"} or None
        The socket's kind; None tries all that the model knows.
    side : {"right", "left"} or None
        The leg; None tries both. Sockets of the model are of right legs.
    progress : callable, optional
        Called with the share of the work that is done, (0, 1]; what it raises ends the search.

    Returns
    -------
    LimbFit

    Raises
    ------
    ValueError
        If `limb` is not one, no socket follows it to 5 mm, the clearance is out of range, or the
        model does not know the kind or its sockets have no size.
    """
    design.check_has_size(aae)
    clearance = _Clearance(clearance)
    if side not in (None, *SIDES):
        raise ValueError(f"side is {side!r}; accepted: {', '.join(SIDES)}, None")
    means = design.mean_codes(aae, kind)
    alignment = align(limb)
    aae = in_numpy.of(aae)
    sides = SIDES if side is None else (side,)
    walls = {each: _Wall(limb.copy().apply_transform(_MIRRORS[each] @ alignment)) for each in sides}
    found = [
        _Registration(aae, *mean, walls[each], clearance, each) for each in sides for mean in means
    ]
    fits = []
    for best, other_leg, code, motion in _best(found, progress):
        surface = design.decoded_surface(aae, code)
        fits.append(_fitted(best, surface, code, motion, alignment, other_leg))
        if fits[-1].gap_error <= _MISFIT:
            progress(1)
            return fits[-1]
    least = min(each.gap_error for each in fits)
    raise ValueError(
        f"no socket of the model follows this limb: {least:.0f} mm is the mean error of the gap at "
        "best; is it a residual limb, cut where the socket ends?"
    )


def _fitted(best, model_surface, code, motion, alignment, other_leg):
    """The `LimbFit` of a registration, with its displacement and its errors."""
    placed, clearance = best.wall.limb.copy().apply_transform(motion), best.clearance
    wall = _Wall(placed)
    surface = _displaced(model_surface, wall, clearance)
    found = [_errors(each, wall, clearance) for each in (surface, model_surface)]
    (gap, wanted, errors), (model_gap, _, model_errors) = found
    moves = np.linalg.norm(surface.vertices - model_surface.vertices, axis=-1)
    levels, limb_levels = surface.vertices[..., 2], placed.vertices[:, 2]
    covered = (levels[:, -1].mean() - limb_levels.min()) / np.ptp(limb_levels)
    surfaces = [surface, model_surface]
    maps = [wanted, gap, model_gap]
    mirror = _MIRRORS[best.side]
    if best.side == "left":
        surfaces = [each.mirrored() for each in surfaces]
        maps = [each[-np.arange(len(each))] for each in maps]
    placement = mirror @ motion @ mirror @ alignment
    found = code, best.side, *surfaces, placement, *maps, errors, model_errors
    return LimbFit(*found, float(moves.mean()), float(covered), other_leg)


def _best(registrations, progress):
    """
    Registrations, the best first, with their codes and the motions (4, 4) of limb to socket.

    All are of the kind and the side of the best start. With each comes `LimbFit.other_leg`.
    """
    starts = list(product(registrations, np.radians(45.0 * np.arange(8))))
    firsts = []
    for i, (each, turn) in enumerate(starts, start=1):
        firsts.append((each, each.solve(each.start(turn), n_steps=8, thin=_FEW_POINTS)))
        progress(0.5 * i / len(starts))
    firsts.sort(key=lambda pair: pair[1].cost)
    best = firsts[0][0]
    others = [first.cost for each, first in firsts if each.side != best.side]
    other_leg = min(others, default=np.nan) / firsts[0][1].cost
    firsts = [first for each, first in firsts if each is best][:_BEST]
    seconds = [best.solve(first.x, n_steps=8) for first in firsts]
    progress(0.6)
    for second in sorted(seconds, key=lambda found: found.cost):
        unknowns = best.solve(second.x, n_steps=32).x
        progress(0.8)
        motion = np.eye(4)
        motion[:3, :3] = best.rotation(unknowns).as_matrix().T
        motion[:3, 3] = -motion[:3, :3] @ unknowns[-3:]
        yield best, other_leg, best.codes(unknowns), motion


class _Registration:
    """
    The least-squares problem of a fit that starts at a kind's mean socket.

    Unknowns are the code's differences from the mean's, in standard deviations of the prior, three
    Euler angles, radians (about z first, then about the fixed x and y), and a shift, mm, of the
    decoded points.
    """

    def __init__(self, aae, center, bounds, wall, clearance, side):
        self.wall, self.clearance, self.center, self.side = wall, clearance, center, side
        self.std, self.size = aae.recipe.prior_std, aae.recipe.code_size
        self.prior = np.sqrt(_PRIOR_WEIGHT / self.size)
        self.steps = np.repeat(_STEPS, (self.size, 3, 3))
        self.bounds = np.tile([[-np.inf], [np.inf]], self.size + 6)
        self.bounds[:, 0] = (np.array(bounds) - center[0]) / self.std
        self.mean = aae.decode(center[None])[0]
        brim = design.decoded_surface(aae, center).vertices[:, -1]
        levels = wall.samples[:, 2]
        self.low, covered = levels.min(), _COVERED * np.ptp(levels)
        # A first search asks for a brim as high as the kind has it: else one that reaches farther
        # would be taken for the limb's.
        usual = brim[:, 2].mean() - self.mean[:, 2].min()
        brims = {1: self.low + covered, _FEW_POINTS: self.low + min(covered, usual)}
        # Decoded points correspond: those next to the mean socket's brim are at every socket's, and
        # about as far below it.
        near = np.unique(cKDTree(self.mean).query(brim)[1])
        self.below = brim[:, 2].mean() - self.mean[near, 2].mean()
        self.parts = {}
        for thin in (1, _FEW_POINTS):
            kept = np.union1d(np.arange(0, len(self.mean), thin), near)
            self.parts[thin] = aae.of_points(kept), np.searchsorted(kept, near), brims[thin]

    def start(self, turn):
        """The mean socket turned by so many radians, its distal end and axis put to the limb's."""
        unknowns = np.zeros(self.size + 6)
        unknowns[-6] = turn
        cloud, samples = self.rotation(unknowns).apply(self.mean), self.wall.samples
        rise = samples[:, 2].min() - self.clearance.values[0] - cloud[:, 2].min()
        # Axes are compared in the lower half of the shorter one of the two.
        middle = samples[:, 2].min() + min(np.ptp(samples[:, 2]), np.ptp(cloud[:, 2])) / 2
        beside = cloud[cloud[:, 2] + rise < middle].mean(axis=0)
        shift = samples[samples[:, 2] < middle].mean(axis=0) - beside
        unknowns[-3:] = *shift[:2], rise
        return unknowns

    def codes(self, unknowns):
        """Codes (..., code_size) of unknowns (..., n_unknowns)."""
        return (self.center + self.std * unknowns[..., : self.size]).astype(np.float32)

    def rotation(self, unknowns):
        """From the decoded cloud to the limb."""
        return Rotation.from_euler("zxy", unknowns[-6:-3])

    def _residuals(self, unknowns, aae, near, level):
        points = self.rotation(unknowns).apply(aae.decode(self.codes(unknowns)[None])[0])
        points += unknowns[-3:]
        gaps, _, there = self.wall.gaps(points)
        wanted = self.clearance.at(points[:, 2], self.low, level)
        brim = (points[near, 2].mean() + self.below - level) / _BRIM_TOLERANCE
        differences = _per_point(gaps - wanted, there)
        return np.concatenate([differences, [brim], self.prior * unknowns[: self.size]])

    def _jacobian(self, unknowns, aae, near, _):
        steps = np.diag(self.steps)
        moved = np.vstack([unknowns, unknowns + steps[: self.size]])
        clouds = aae.decode(self.codes(moved))
        rotation = self.rotation(unknowns)
        points = rotation.apply(clouds[0])
        moves = [*((clouds[1:] - clouds[0]) @ rotation.as_matrix().T)]
        moves += [self.rotation(unknowns + step).apply(clouds[0]) - points for step in steps[-6:-3]]
        moves += [np.broadcast_to(step[-3:], points.shape) for step in steps[-3:]]
        slopes = np.stack(moves, axis=-1) / self.steps
        _, normals, there = self.wall.gaps(points + unknowns[-3:])
        # Moving a point along the nearest plane changes nothing.
        rows = _per_point(np.einsum("ijk,ij->ik", slopes, normals), there[:, None])
        brim = slopes[near, 2].mean(axis=0) / _BRIM_TOLERANCE
        return np.vstack([rows, brim, self.prior * np.eye(self.size, len(unknowns))])

    def solve(self, unknowns, n_steps, thin=1):
        """Result of `scipy.optimize.least_squares` after at most so many steps."""
        options = {"x_scale": "jac", "max_nfev": n_steps, "args": self.parts[thin]}
        return least_squares(self._residuals, unknowns, self._jacobian, self.bounds, **options)


def _per_point(rows, there):
    """Rows of the points that have a limb beside them, so that their squares add up to a mean."""
    return rows * there / np.sqrt(max(there.sum(), 1))


# Displacement ---------------------------------------------------------------------------------


def _harmonics(n_angles, n_heights):
    """
    Real spherical harmonics at a grid's vertices, (n_vertices, n_harmonics), and their degrees.

    The pole of the grid is that of the sphere, so that they are smooth there too, and the brim is
    its parallel at three quarters of the meridian.
    """
    angles = 2 * np.pi * np.arange(n_angles)[:, None] / n_angles
    polar = np.pi * 0.75 * np.linspace(0, 1, n_heights)
    degrees, orders = np.transpose([(n, m) for n in range(_DEGREE + 1) for m in range(-n, n + 1)])
    waves = [sph_harm_y(n, abs(m), polar, angles) for n, m in zip(degrees, orders, strict=True)]
    waves = np.where(orders[:, None, None] < 0, np.imag(waves), np.real(waves))
    return np.stack([vertex_values(wave) for wave in waves], axis=1), degrees


def _displaced(surface, wall, clearance):
    """The surface, smoothly displaced so that gaps become the wanted ones."""
    grid = surface.vertices.shape[:2]
    mesh = surface.mesh()
    areas = np.sqrt(_vertex_areas(mesh) / mesh.area)
    basis, degrees = _harmonics(*grid)
    # Along rough normals faces would be turned over.
    smooth = np.compress(degrees <= 6, basis, axis=1)
    weights = np.linalg.lstsq(areas[:, None] * smooth, areas[:, None] * mesh.vertex_normals)[0]
    directions = trimesh.unitize(smooth @ weights)
    # Rough displacements cost more, like the bending of a thin plate.
    roughness = np.diag(_ROUGHNESS * (1 + degrees * (degrees + 1)))
    limit = 10.0  # mm
    weights, displacement = np.zeros(basis.shape[1]), np.zeros(len(basis))
    for _ in range(4):
        gaps, normals, there = wall.gaps(mesh.vertices + displacement[:, None] * directions)
        along = np.einsum("ij,ij->i", directions, normals) * (1 - (displacement / limit) ** 2)
        rows = (areas * there * along)[:, None] * basis
        wanted = areas * there * (_wanted(mesh.vertices, surface, clearance) - gaps)
        weights += np.linalg.lstsq(
            np.vstack([rows, roughness]), np.append(wanted, -roughness @ weights)
        )[0]
        displacement = limit * np.tanh(basis @ weights / limit)
    moved = mesh.vertices + displacement[:, None] * directions
    return SocketSurface(node_values(moved, *grid))


def _vertex_areas(mesh):
    """A third of the area of each vertex' faces, (n_vertices,)."""
    return mesh.faces_sparse.dot(mesh.area_faces / 3)


# Errors ---------------------------------------------------------------------------------------


def _wanted(points, surface, clearance):
    """Clearances (n,) at the heights of points (n, 3) around a surface."""
    levels = surface.vertices[..., 2]
    return clearance.at(points[:, 2], levels.min(), levels[:, -1].mean())


def _errors(surface, wall, clearance):
    """Gaps (angles, heights) at a socket's nodes, wanted ones, statistics of their difference."""
    mesh, grid = surface.mesh(), surface.vertices.shape[:2]
    gaps = signed_gaps(mesh.vertices, wall.limb)
    wanted = _wanted(mesh.vertices, surface, clearance)
    if not np.isfinite(gaps).any():
        raise ValueError("no part of the scan is beside the socket that was found: is it a limb?")
    samples = wall.samples[::8]
    back = -signed_gaps(samples, mesh)
    off = np.abs(np.append(gaps - wanted, back - _wanted(samples, surface, clearance)))
    areas = _vertex_areas(mesh) * np.isfinite(gaps)
    # Samples of the limb stand for equal areas; each way counts half.
    there = np.isfinite(back) / max(np.isfinite(back).sum(), 1)
    weights = np.append(areas / areas.sum(), there)
    off, weights = off[weights > 0], weights[weights > 0]
    quantiles = np.quantile(off, _QUANTILES, weights=weights, method="inverted_cdf")
    errors = {"mean": float(np.average(off, weights=weights))}
    errors |= dict(zip(_QUANTILES, quantiles.tolist(), strict=True))
    return node_values(gaps, *grid), node_values(wanted, *grid), errors
