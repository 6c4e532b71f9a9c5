"""A socket for a residual limb: load a scan, put it upright, find the socket that follows it."""

import warnings
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import igl
import numpy as np
import trimesh
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import softmax, sph_harm_y

from ..shapes import meshes
from ..shapes.clouds import UNITS
from ..shapes.sockets import SocketSurface, node_values, vertex_values
from ..shapes.sources import KINDS
from . import design

LENGTHS = (80.0, 500.0)  # mm; of residual limbs, as far as they are scanned
MAX_CLEARANCE = 20.0  # mm; liners have 3 to 9

_FLAT = 0.05  # thickness of a piece by its width: a table, no limb
_WHOLE = 0.9  # of the area that is not flat: the limb, in one piece
_SIDE = 2.0  # variance along a limb by that across it, of limbs surely longer than wide
_MIN_OPENING = 100.0  # mm around it; the thinnest limbs have 150
_SECOND_OPENING = 0.5  # of the opening's perimeter: a hole so large is another opening
_STEPS = np.array([0.01, 1e-3, 0.1])  # of differences: prior's standard deviations, radians, mm
_PRIOR_WEIGHT = 1.0  # mm^2 of mean squared gap that a code like a draw of the prior costs
_BRIM_TOLERANCE = 5.0  # mm; the brim so far off costs as much as a gap of 1 mm everywhere

_DEGREE = 8  # of the harmonics of the displacement
_ROUGHNESS = 1e-3  # weight of the displacement's bending against gaps


@dataclass(frozen=True)
class LimbFit:
    """
    A socket for a limb, see `fit_limb`, and how far it is from it. All lengths are in mm.

    A gap is positive where the socket is outside of the limb and negative where it presses into
    it. It is NaN above the limb's opening: at nodes whose nearest point of the limb is on the
    border of the opening (or of a hole of the scan).

    Attributes
    ----------
    code : numpy.ndarray
        (code_size,) float32.
    surface : SocketSurface
        The socket's inner surface: the decoded one, displaced.
    model_surface : SocketSurface
        The decoded one.
    placement : numpy.ndarray
        (4, 4), the rigid motion that puts the scan into the socket; its inverse takes the socket to
        the scan.
    gap, model_gap : numpy.ndarray
        (angles, heights), at the nodes of `surface` and of `model_surface`.
    gap_error, model_error : float
        Mean of ``|gap - clearance|`` over the area of each surface where there is a limb.
    """

    code: np.ndarray
    surface: SocketSurface
    model_surface: SocketSurface
    placement: np.ndarray
    gap: np.ndarray
    model_gap: np.ndarray
    gap_error: float
    model_error: float


# Scans ----------------------------------------------------------------------------------------


def load_limb(path, factor=1.0):
    """
    Read the scan of a residual limb.

    Vertices are merged within 1e-4 of the limb's radius, faces without area and vertices that are
    not finite are left out, and so are flat and small pieces, such as the table.

    Parameters
    ----------
    path : str or Path
        An STL, PLY or OBJ file, or any other mesh that trimesh reads: a surface that is closed at
        the limb's distal end and open at the other, 80 to 500 mm long, in any position.
    factor : float
        By what to multiply the file's numbers to get mm: 1000 for metres, 25.4 for inches.

    Returns
    -------
    trimesh.Trimesh
        In mm; normals point outwards.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a surface, has several large pieces, or the factor is not positive. The
        message names the file or the factor.

    Warns
    -----
    UserWarning
        If pieces are left out.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no limb scan at {path}")
    if not 0 < factor < np.inf:
        raise ValueError(f"factor is {factor}; it must be a positive number")
    mesh = _merged(meshes.read(path))
    if not len(mesh.faces):
        raise ValueError(f"{path}: no faces with an area; a limb is a surface of triangles")
    pieces = trimesh.graph.connected_component_labels(mesh.face_adjacency, len(mesh.faces))
    mesh.update_faces(pieces == _limb_among(pieces, mesh, path))
    mesh.remove_unreferenced_vertices()
    mesh.apply_scale(factor)
    opening = _opening(mesh, path)
    # As `trimesh.repair.fix_winding`, which walks the faces in Python: 30 s for 200,000 of them.
    mesh.faces = igl.bfs_orient(np.array(mesh.faces, np.int64))[0]
    if np.linalg.det(mesh.triangles - opening).sum() < 0:
        mesh.invert()
    return mesh


def _merged(mesh):
    """The faces that have an area and finite vertices, vertices next to each other merged."""
    mesh.remove_infinite_values()
    mesh.merge_vertices()
    radius = np.median(np.linalg.norm(mesh.vertices - np.median(mesh.vertices, axis=0), axis=1))
    pairs = cKDTree(mesh.vertices).query_pairs(1e-4 * radius, output_type="ndarray")
    groups = trimesh.graph.connected_component_labels(pairs, len(mesh.vertices))
    mesh.faces = np.unique(groups, return_index=True)[1][groups][mesh.faces]
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    return mesh


def _limb_among(pieces, mesh, name):
    """Choose the piece, a label of faces (n,), that is not flat and has most of the area."""
    areas = np.bincount(pieces, mesh.area_faces)
    solid, shares = areas.copy(), areas / areas.sum()
    large = shares > 0.01
    for piece in np.flatnonzero(large):
        corners = mesh.triangles[pieces == piece].reshape(-1, 3)
        widths = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)
        solid[piece] *= widths[2] > _FLAT * widths[1]
    limb, told = (
        (large * solid).argmax(),
        ", ".join(f"{share:.0%}" for share in np.sort(shares)[:-6:-1]),
    )
    told = f"{name}: {len(areas)} pieces, with {told} of the area"
    if not solid[limb] > _WHOLE * solid.sum():
        raise ValueError(f"{told}: none is the limb by itself; join them, or keep one of them")
    if len(areas) > 1:
        left_out = f"taken is the one with {shares[limb]:.0%}, left out are flat and small ones"
        warnings.warn(f"{told}: {left_out}", stacklevel=3)
    return limb


def _border_edges(mesh):
    """Edges (n, 2) that have a face on one side only."""
    return mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]


def _opening(mesh, name="the limb"):
    """Check that a mesh has one opening and a limb's length; the centroid (3,) of its border."""
    edges = _border_edges(mesh)
    if not len(edges):
        closed = f"a closed surface of {np.ptp(mesh.vertices, axis=0).max():.4g} mm"
        raise ValueError(f"{name}: {closed}; remove the faces that close it where the scan ends")
    starts, ends = mesh.vertices[edges].transpose(1, 0, 2)
    lengths = np.linalg.norm(ends - starts, axis=1)
    holes = trimesh.graph.connected_component_labels(edges, len(mesh.vertices))[edges[:, 0]]
    perimeters = np.bincount(holes, lengths)
    largest = holes == perimeters.argmax()
    center = np.average((starts + ends)[largest] / 2, axis=0, weights=lengths[largest])
    length = np.linalg.norm(mesh.vertices - center, axis=1).max()
    second, perimeter = np.sort(np.append(perimeters, 0))[-2:]
    around = f"the largest opening, {perimeter:.4g} mm around,"
    spread = np.cov(mesh.triangles_center.T, aweights=mesh.area_faces, ddof=0)
    variances, axes = np.linalg.eigh(spread)
    axis = trimesh.unitize(center - np.average(mesh.triangles_center, 0, mesh.area_faces))
    wrong = None
    if not LENGTHS[0] <= length <= LENGTHS[1]:
        wrong = f"{length:.4g} mm long from its opening to its end{_advice(length)}"
    elif perimeter < _MIN_OPENING:
        wrong = f"{around} is too small; remove the faces that close the scan where it ends"
    elif second > _SECOND_OPENING * perimeter:
        wrong = (
            f"two openings, {perimeter:.4g} and {second:.4g} mm around; fill the hole at the end"
        )
    elif variances[2] > _SIDE * variances[1] and abs(axis @ axes[:, 2]) < np.sqrt(0.5):
        wrong = f"{around} is at the side; fill it, and remove the faces that close the end"
    if wrong:
        raise ValueError(f"{name}: {wrong}")
    return center


def _advice(length):
    """Say how long limbs are, and in which units a length would be a limb's."""
    low, high = LENGTHS
    fitting = [
        f"{unit}, then load it with factor={factor:g}"
        for unit, factor in UNITS.items()
        if low <= length * factor <= high
    ]
    may_be = f"; the file may be in {' or in '.join(fitting)}" if fitting else ""
    return f"; a limb has {low:g} to {high:g} mm{may_be}"


def align(limb):
    """
    Find the motion (4, 4) that puts a limb upright, centred at the origin as decoded clouds are.

    The axis, from the centroid of the surface to that of the opening's border, becomes z. Unlike a
    principal axis it tells up from down, and it exists for limbs as wide as they are long.
    """
    opening = _opening(limb)
    centroid = np.average(limb.triangles_center, axis=0, weights=limb.area_faces)
    motion = trimesh.geometry.align_vectors(opening - centroid, [0, 0, 1])
    motion[:3, 3] = -motion[:3, :3] @ centroid
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
    on_border = np.isin(np.arange(len(mesh.vertices)), _border_edges(mesh))
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
        # Samples of the wall are less than 1 mm apart.
        self.samples, triangles = trimesh.sample.sample_surface(limb, 40_000, seed=0)
        self.normals = trimesh.unitize(_normals(limb, self.samples, triangles)[1])
        starts, ends = limb.vertices[_border_edges(limb)].transpose(1, 0, 2)
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


# Fitting --------------------------------------------------------------------------------------


def fit_limb(aae, limb, clearance=0.0, kind=None):
    """
    Find the socket that follows a limb at a given distance.

    Code and placement are found together by Gauss-Newton steps within a trust region
    (`scipy.optimize.least_squares`): decoded points, moved rigidly, are to be `clearance` away from
    the tangent plane at the nearest point of the limb (point-to-plane registration, Chen and
    Medioni 1992), and the code near the prior's mean. The start is the kind's mean socket, its
    distal end at the limb's, in each of 8 rotations about the long axis; after some steps the best
    of them goes on. Points above the limb's opening do not count, nor does the limb above the brim.
    Else the socket would cover only what is easy to follow: so its brim is held near the height of
    the kind's mean socket, or 90 % of the limb's length if that is less.

    The model knows sockets, not limbs. What it cannot follow, a smooth displacement of the decoded
    surface along its smoothed normals does, up to 10 mm: spherical harmonics of angle and height up
    to degree 8, by regularised least squares. The result has both surfaces and both errors.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    limb : trimesh.Trimesh
        From `load_limb`: mm, in any position.
    clearance : float
        Gap from limb to socket, mm, -20 to 20: positive leaves room for a liner, negative presses
        into the limb.
    kind : {"TT", "TF"} or None
        The socket's kind; None tries all that the model knows.

    Returns
    -------
    LimbFit

    Raises
    ------
    ValueError
        If `limb` is not one, the clearance is out of range, or the model does not know the kind or
        its sockets have no size.
    """
    design.check_has_size(aae)
    if not -MAX_CLEARANCE <= clearance <= MAX_CLEARANCE:
        raise ValueError(
            f"clearance is {clearance}; accepted: {-MAX_CLEARANCE:g} to {MAX_CLEARANCE:g}"
        )
    means = _mean_codes(aae, kind)
    alignment = align(limb)
    aligned = limb.copy().apply_transform(alignment)
    wall = _Wall(aligned)
    code, motion = _best([_Registration(aae, *mean, wall, clearance) for mean in means])
    placed = aligned.apply_transform(motion)
    model_surface = design.decoded_surface(aae, code)
    surface = _displaced(model_surface, _Wall(placed), clearance)
    model_gap, model_error = _node_gaps(model_surface, placed, clearance)
    gap, gap_error = _node_gaps(surface, placed, clearance)
    return LimbFit(
        code, surface, model_surface, motion @ alignment, gap, model_gap, gap_error, model_error
    )


def _mean_codes(aae, kind):
    """Mean code of each kind to try, and bounds of its first number, which tells kinds apart."""
    known = KINDS if design.tells_kinds(aae) else ()
    if kind not in (None, *known):
        raise ValueError(
            f"kind is {kind!r}, but the model has {' and '.join(known) or 'no kinds'}; accepted: "
            f"{', '.join((*known, 'None'))}"
        )
    draws = aae.draw_prior(4096, seed=0)
    if not known:
        return [(np.zeros(draws.shape[1]), (-np.inf, np.inf))]
    shares = softmax(design.kind_logits(aae, draws), axis=1)
    members = [draws[shares[:, i] > 0.99] for i, name in enumerate(KINDS) if kind in (None, name)]
    return [(each.mean(axis=0), (each[:, 0].min(), each[:, 0].max())) for each in members]


def _best(registrations):
    """Code of the best solution from 8 turns each, and the motion (4, 4) of the limb to it."""
    starts = product(registrations, np.radians(45.0 * np.arange(8)))
    firsts = [(each, each.solve(each.start(turn), n_steps=10)) for each, turn in starts]
    best, first = min(firsts, key=lambda pair: pair[1].cost)
    unknowns = best.solve(first.x, n_steps=40).x
    motion = np.eye(4)
    motion[:3, :3] = best.rotation(unknowns).as_matrix().T
    motion[:3, 3] = -motion[:3, :3] @ unknowns[-3:]
    return best.codes(unknowns), motion


class _Registration:
    """
    The least-squares problem of a fit that starts at a kind's mean socket.

    Unknowns are the code's differences from the mean's, in standard deviations of the prior, three
    Euler angles, radians (about z first, then about the fixed x and y), and a shift, mm, of the
    decoded points.
    """

    def __init__(self, aae, center, bounds, wall, clearance):
        self.aae, self.wall, self.clearance, self.center = aae, wall, clearance, center
        self.size = aae.recipe.code_size
        self.prior = np.sqrt(_PRIOR_WEIGHT / self.size)
        self.steps = np.repeat(_STEPS, (self.size, 3, 3))
        self.bounds = np.tile([[-np.inf], [np.inf]], self.size + 6)
        self.bounds[:, 0] = (np.array(bounds) - center[0]) / aae.recipe.prior_std
        self.mean = aae.decode(center[None])[0]
        brim = design.decoded_surface(aae, center).vertices[:, -1]
        levels = wall.samples[:, 2]
        height = min(brim[:, 2].mean() - self.mean[:, 2].min(), 0.9 * np.ptp(levels))
        # Decoded points correspond: those next to the mean socket's brim are at every socket's, and
        # about as far below it.
        self.brim = np.unique(cKDTree(self.mean).query(brim)[1])
        below = brim[:, 2].mean() - self.mean[self.brim, 2].mean()
        self.brim_level = levels.min() + height - below

    def start(self, turn):
        """The mean socket turned by so many radians, its distal end and axis put to the limb's."""
        unknowns = np.zeros(self.size + 6)
        unknowns[-6] = turn
        cloud, samples = self.rotation(unknowns).apply(self.mean), self.wall.samples
        rise = samples[:, 2].min() - self.clearance - cloud[:, 2].min()
        # Axes are compared in the lower half of the shorter one of the two.
        middle = samples[:, 2].min() + min(np.ptp(samples[:, 2]), np.ptp(cloud[:, 2])) / 2
        beside = cloud[cloud[:, 2] + rise < middle].mean(axis=0)
        shift = samples[samples[:, 2] < middle].mean(axis=0) - beside
        unknowns[-3:] = *shift[:2], rise
        return unknowns

    def codes(self, unknowns):
        """Codes (..., code_size) of unknowns (..., n_unknowns)."""
        offsets = self.aae.recipe.prior_std * unknowns[..., : self.size]
        return (self.center + offsets).astype(np.float32)

    def rotation(self, unknowns):
        """From the decoded cloud to the limb."""
        return Rotation.from_euler("zxy", unknowns[-6:-3])

    def _residuals(self, unknowns):
        points = self.rotation(unknowns).apply(self.aae.decode(self.codes(unknowns)[None])[0])
        points += unknowns[-3:]
        gaps, _, there = self.wall.gaps(points)
        brim = (points[self.brim, 2].mean() - self.brim_level) / _BRIM_TOLERANCE
        differences = _per_point(gaps - self.clearance, there)
        return np.concatenate([differences, [brim], self.prior * unknowns[: self.size]])

    def _jacobian(self, unknowns):
        steps = np.diag(self.steps)
        moved = np.vstack([unknowns, unknowns + steps[: self.size]])
        clouds = self.aae.decode(self.codes(moved))
        rotation = self.rotation(unknowns)
        points = rotation.apply(clouds[0])
        moves = [rotation.apply(cloud) - points for cloud in clouds[1:]]
        moves += [self.rotation(unknowns + step).apply(clouds[0]) - points for step in steps[-6:-3]]
        moves += [np.broadcast_to(step[-3:], points.shape) for step in steps[-3:]]
        slopes = np.stack(moves, axis=-1) / self.steps
        _, normals, there = self.wall.gaps(points + unknowns[-3:])
        # Moving a point along the nearest plane changes nothing.
        rows = _per_point(np.einsum("ijk,ij->ik", slopes, normals), there[:, None])
        brim = slopes[self.brim, 2].mean(axis=0) / _BRIM_TOLERANCE
        return np.vstack([rows, brim, self.prior * np.eye(self.size, len(unknowns))])

    def solve(self, unknowns, n_steps):
        """Result of `scipy.optimize.least_squares` after at most so many steps."""
        return least_squares(
            self._residuals, unknowns, self._jacobian, self.bounds, x_scale="jac", max_nfev=n_steps
        )


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
    orders = [(n, m) for n in range(_DEGREE + 1) for m in range(-n, n + 1)]
    values = []
    for n, m in orders:
        wave = sph_harm_y(n, abs(m), polar, angles)
        values.append(vertex_values(wave.imag if m < 0 else wave.real))
    return np.stack(values, axis=1), np.array([n for n, _ in orders])


def _displaced(surface, wall, clearance):
    """The surface, smoothly displaced so that gaps become `clearance`."""
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
        wanted = areas * there * (clearance - gaps)
        weights += np.linalg.lstsq(
            np.vstack([rows, roughness]), np.append(wanted, -roughness @ weights)
        )[0]
        displacement = limit * np.tanh(basis @ weights / limit)
    moved = mesh.vertices + displacement[:, None] * directions
    return SocketSurface(node_values(moved, *grid))


def _vertex_areas(mesh):
    """A third of the area of each vertex' faces, (n_vertices,)."""
    return mesh.faces_sparse.dot(mesh.area_faces / 3)


def _node_gaps(surface, limb, clearance):
    """Gaps (angles, heights) at a socket's nodes; their mean error over the area with a limb."""
    mesh = surface.mesh()
    gaps = signed_gaps(mesh.vertices, limb)
    there = np.isfinite(gaps)
    if not there.any():
        raise ValueError("no part of the scan is beside the socket that was found: is it a limb?")
    errors = np.abs((gaps - clearance)[there])
    error = float(np.average(errors, weights=_vertex_areas(mesh)[there]))
    return node_values(gaps, *surface.vertices.shape[:2]), error
