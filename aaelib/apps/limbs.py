"""A socket for a residual limb: load a scan, align it, find the socket that follows it."""

from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import trimesh
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from scipy.special import softmax, sph_harm_y

from ..shapes import meshes
from ..shapes.sockets import SocketSurface, vertex_values
from ..shapes.sources import KINDS

FORMATS = (".stl", ".ply", ".obj")
LENGTHS = (80.0, 500.0)  # mm; of residual limbs, as far as they are scanned
MAX_CLEARANCE = 20.0  # mm; liners have 3 to 9

_UNITS = {"metres": 1000.0, "centimetres": 10.0, "inches": 25.4}  # mm
_MIN_OPENING = 100.0  # mm around it; the thinnest limbs have 150
_SECOND_OPENING = 0.5  # of the opening's perimeter: a hole so large is another opening
_SAMPLES = 40_000  # of the limb's wall, less than 1 mm apart
_BORDER_SPACING = 0.5  # mm between samples of the opening's border
_STEPS = np.array([0.01, 1e-3, 0.1])  # of differences: prior's standard deviations, radians, mm
_BRIM_TOLERANCE = 5.0  # mm; the brim so far off costs as much as a gap of 1 mm everywhere
_HIGHEST_BRIM = 0.9  # of the limb, where no height is asked for

_SMOOTHING = 0.1  # of surfaces: decoded points scatter more than those of scans
_FIRST_STEPS = 10  # Gauss-Newton steps of every start
_LAST_STEPS = 40  # and of the best one
_RESIDUAL_STEPS = 4
_NORMAL_DEGREE = 6  # of the harmonics that smooth normals
_ROUGHNESS = 1e-3  # weight of the displacement's bending against gaps
_CAP = 0.75  # of a sphere's meridian that a socket takes, for the residual's harmonics


@dataclass(frozen=True)
class LimbFit:
    """
    A socket for a limb, and how far it is from it. All lengths are in mm.

    Gaps are positive where the socket is outside of the limb, and negative where it presses into
    it.

    Attributes
    ----------
    code : numpy.ndarray
        (code_size,) float32.
    kind : str or None
        Of the code, "TT" or "TF"; None with a model that has no kinds.
    surface : SocketSurface
        The socket's inner surface: the decoded one, moved by `displacement`.
    model_surface : SocketSurface
        The decoded one.
    displacement : numpy.ndarray
        (angles, heights), from `model_surface` to `surface`, along its smoothed outward
        normals.
    limb : trimesh.Trimesh
        Put into the socket.
    placement : numpy.ndarray
        (4, 4), the rigid motion that put it there; the inverse takes the socket to the scan.
    turn, tilt : float
        Degrees: that motion's rotation about the long axis, after `align`, and the angle between
        the limb's axis, as `align` finds it, and the socket's.
    clearance : float
        The gap that was asked for.
    gap : numpy.ndarray
        (angles, heights), at the nodes of `surface`; NaN above the limb's opening, where there is
        no limb: at nodes whose nearest point of the limb is on the border of its opening (or of a
        hole of the scan).
    model_gap : numpy.ndarray
        (angles, heights), the same at the nodes of `model_surface`.
    limb_gap : numpy.ndarray
        (n_vertices,), at the vertices of `limb`; NaN above the brim, where there is no socket: at
        vertices whose nearest point of the socket is on its brim.
    gap_error, model_error : float
        Mean of ``|gap - clearance|`` over the area of `surface` where there is a limb, and the same
        of `model_surface`: what the model alone reaches.
    limb_error : float
        Mean of ``|limb_gap - clearance|`` over the area of `limb` below the brim.
    code_norm : float
        Length of the code in standard deviations of the prior. Of draws it is about
        ``sqrt(code_size)``; the more a code exceeds this, the less the socket is like those that
        the model learnt.
    """

    code: np.ndarray
    kind: str | None
    surface: SocketSurface
    model_surface: SocketSurface
    displacement: np.ndarray
    limb: trimesh.Trimesh
    placement: np.ndarray
    turn: float
    tilt: float
    clearance: float
    gap: np.ndarray
    model_gap: np.ndarray
    limb_gap: np.ndarray
    gap_error: float
    model_error: float
    limb_error: float
    code_norm: float


# Scans ----------------------------------------------------------------------------------------


def load_limb(path, factor=1.0):
    """
    Read the scan of a residual limb.

    Equal vertices are merged, faces without area and vertices that are not finite are left out,
    and of several pieces the one with the largest area stays.

    Parameters
    ----------
    path : str or Path
        An STL, PLY or OBJ file: a surface that is closed at the limb's distal end and open at the
        other, 80 to 500 mm long, in any position.
    factor : float
        What the file's numbers are multiplied by to be mm: 1000 for metres, 25.4 for inches.

    Returns
    -------
    trimesh.Trimesh
        In mm; normals point outwards.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not such a surface. The message names the file and what was found.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no limb scan at {path}")
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: limbs are read from {', '.join(FORMATS)} files")
    if not (np.isfinite(factor) and factor > 0):
        raise ValueError(f"factor is {factor}; it must be a positive number")
    mesh = trimesh.Trimesh(*_checked_arrays(path), process=False)
    if not len(mesh.faces):
        raise ValueError(
            f"{path}: {len(mesh.vertices)} vertices and no faces; a limb is a surface of triangles"
        )
    mesh = _cleaned(mesh)
    if not len(mesh.faces):
        raise ValueError(f"{path}: none of its faces has an area and finite vertices")
    mesh.apply_scale(factor)
    return _oriented(mesh, _checked_opening(mesh, path))


def _checked_arrays(path):
    vertices, faces = meshes.read(path)
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ValueError(
            f"{path}: has faces of vertices that it does not have (it has {len(vertices)}); write "
            "it again"
        )
    return vertices, faces


def align(limb):
    """
    Put a limb up like a socket: its closed end down, its long axis along z.

    The axis leads from the centroid of the surface to that of the border of its opening. Other than
    the principal axis it knows up from down, and does not fail with limbs as wide as long. What is
    left is the rotation about z, which `fit` finds.

    Parameters
    ----------
    limb : trimesh.Trimesh
        mm, in any position.

    Returns
    -------
    trimesh.Trimesh
        The centroid of its surface at the origin, where decoded clouds have theirs.

    Raises
    ------
    ValueError
        If it has no opening, or a length that limbs do not have.
    """
    aligned = limb.copy()
    aligned.apply_transform(_alignment(limb))
    return aligned


def _cleaned(mesh):
    """The largest piece of what has an area and finite vertices, equal vertices merged."""
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    mesh.update_faces(np.isfinite(mesh.triangles).all(axis=(1, 2)))
    mesh.remove_unreferenced_vertices()
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    if not len(mesh.faces):
        return mesh
    pieces = trimesh.graph.connected_components(
        mesh.face_adjacency, nodes=np.arange(len(mesh.faces)), min_len=1
    )
    largest = max(pieces, key=lambda piece: mesh.area_faces[piece].sum())
    mesh.update_faces(np.isin(np.arange(len(mesh.faces)), largest))
    mesh.remove_unreferenced_vertices()
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def _border_edges(mesh):
    """Edges (n, 2) that have a face on one side only."""
    return mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]


def _openings(mesh):
    """Edges (n, 2) of each piece of the border, and the pieces' perimeters; longest first."""
    edges = _border_edges(mesh)
    lengths = np.linalg.norm(np.diff(mesh.vertices[edges], axis=1)[:, 0], axis=1)
    pieces = [
        np.isin(edges[:, 0], list(vertices))
        for vertices in nx.connected_components(nx.from_edgelist(edges))
    ]
    found = [(edges[piece], lengths[piece].sum()) for piece in pieces]
    return sorted(found, key=lambda each: -each[1])


def _checked_opening(mesh, name="the limb"):
    """The centroid (3,) of the border of the one opening that a limb has."""
    openings = _openings(mesh)
    if not openings:
        raise ValueError(
            f"{name}: a closed surface of {np.ptp(mesh.vertices, axis=0).max():.4g} mm; a limb is "
            "open where the scan ends: remove the faces that close it there"
        )
    edges, perimeter = openings[0]
    ends = mesh.vertices[edges]
    centroid = np.average(
        ends.mean(axis=1), axis=0, weights=np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    )
    length = np.linalg.norm(mesh.vertices - centroid, axis=1).max()
    if not LENGTHS[0] <= length <= LENGTHS[1]:
        raise ValueError(
            f"{name}: {length:.4g} mm long from its opening to its end; a limb has {LENGTHS[0]:g} "
            f"to {LENGTHS[1]:g} mm{_advice(length)}"
        )
    if perimeter < _MIN_OPENING:
        raise ValueError(
            f"{name}: the largest opening is {perimeter:.4g} mm around; a limb's has "
            f"{_MIN_OPENING:g} mm or more: remove the faces that close the scan where it ends"
        )
    if len(openings) > 1 and openings[1][1] > _SECOND_OPENING * perimeter:
        raise ValueError(
            f"{name}: two openings, {perimeter:.4g} and {openings[1][1]:.4g} mm around; a limb is "
            "closed at its distal end: fill the hole there"
        )
    return centroid


def _advice(length):
    """Units in which a length would be a limb's."""
    fitting = [
        f"{unit}, then load it with factor={factor:g}"
        for unit, factor in _UNITS.items()
        if LENGTHS[0] <= length * factor <= LENGTHS[1]
    ]
    return f"; the file may be in {' or in '.join(fitting)}" if fitting else ""


def _oriented(mesh, opening):
    """With normals that point outwards: the volume below the opening is positive."""
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
    a, b, c = (mesh.triangles - opening).transpose(1, 0, 2)
    if np.einsum("ij,ij->", a, np.cross(b, c)) < 0:
        mesh.invert()
    return mesh


def _alignment(limb):
    """The motion (4, 4) of `align`."""
    opening = _checked_opening(limb)
    centroid = np.average(limb.triangles_center, axis=0, weights=limb.area_faces)
    motion = trimesh.geometry.align_vectors(opening - centroid, [0, 0, 1])
    motion[:3, 3] = -motion[:3, :3] @ centroid
    return motion


# Gaps -----------------------------------------------------------------------------------------


def signed_gaps(points, mesh):
    """
    How far outside of an open surface points are.

    Parameters
    ----------
    points : (n, 3) array
    mesh : trimesh.Trimesh
        Normals point outwards.

    Returns
    -------
    (n,) array
        Distance to the nearest point of the surface, negative inside; NaN where that point is on
        the surface's border: there the surface has ended.
    """
    nearest, distances, triangles = trimesh.proximity.closest_point(mesh, points)
    corners = mesh.faces[triangles]
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[triangles], nearest)
    normals = np.einsum("ij,ijk->ik", weights, mesh.vertex_normals[corners])
    inside = np.einsum("ij,ij->i", points - nearest, normals) < 0
    on_border = np.isin(np.arange(len(mesh.vertices)), _border_edges(mesh))
    ended = (weights * ~on_border[corners]).sum(axis=1) < 1e-6
    return np.where(ended, np.nan, np.where(inside, -distances, distances))


class _Wall:
    """
    A limb's wall as tangent planes, for the many distances of a fit.

    Within a millimetre of a sample a wall departs from its plane by about 0.01 mm.
    """

    def __init__(self, limb, seed):
        samples, faces = trimesh.sample.sample_surface(limb, _SAMPLES, seed=seed)
        weights = trimesh.triangles.points_to_barycentric(limb.triangles[faces], samples)
        normals = np.einsum("ij,ijk->ik", weights, limb.vertex_normals[limb.faces[faces]])
        starts, ends = limb.vertices[_border_edges(limb)].transpose(1, 0, 2)
        longest = np.linalg.norm(ends - starts, axis=1).max()
        share = np.linspace(0, 1, int(longest / _BORDER_SPACING) + 2)[:, None, None]
        border = ((1 - share) * starts + share * ends).reshape(-1, 3)
        self.samples, self.normals = samples, trimesh.unitize(normals)
        self.tree = cKDTree(np.concatenate([samples, border]))

    def gaps(self, points):
        """
        Gaps (n,), the wall's normals (n, 3) there, and whether the limb is there (n,).

        Above its opening gaps mean nothing.
        """
        nearest = self.tree.query(points)[1]
        there = nearest < len(self.samples)
        nearest = np.where(there, nearest, 0)
        normals = self.normals[nearest]
        return np.einsum("ij,ij->i", points - self.samples[nearest], normals), normals, there


# Fitting --------------------------------------------------------------------------------------


def fit(
    aae,
    limb,
    clearance=0.0,
    kind=None,
    height=None,
    prior_weight=1.0,
    residual_degree=8,
    residual_limit=10.0,
    n_turns=8,
    seed=0,
):
    """
    Find the socket that follows a limb at a given distance.

    Code and placement are found together by Gauss-Newton steps within a trust region
    (`scipy.optimize.least_squares`): decoded points, moved rigidly, are to be `clearance` away from
    the tangent plane at the nearest point of the limb (point-to-plane registration, Chen and
    Medioni 1992), and the code near the prior's centre. The start is the kind's mean socket, its
    distal end at the limb's, in each of `n_turns` rotations about the long axis; the best of these,
    after some steps, goes on. Points above the limb's opening do not count, nor does the part of
    the limb above the brim; so the brim's height has to be asked for, or the socket would cover
    only what is followed easily.

    What the model cannot follow, as it has learnt sockets and not limbs, a smooth displacement of
    the surface along its smoothed normals takes up: spherical harmonics of angle and height up to
    `residual_degree`, by regularised least squares. The result holds both surfaces and the errors
    of both.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With sizes in mm ("dataset" normalization).
    limb : trimesh.Trimesh
        From `load_limb`: mm, in any position.
    clearance : float
        Gap from limb to socket, mm, -20 to 20: positive leaves room, for a liner; negative presses
        into the limb.
    kind : {"TT", "TF"} or None
        The socket's kind; None tries all that the model has.
    height : float or None
        Mean height of the brim above the limb's distal end, mm, from 40 to the limb's length; the
        decoded socket comes near it, within some mm. None: that of the kind's mean socket, or 90 %
        of the limb's length where this is less.
    prior_weight : float
        0 or more: how many mm^2 of mean squared gap a code like a draw of the prior costs. Larger
        values keep the socket more like those that the model has learnt, smaller ones follow the
        limb more closely.
    residual_degree : int
        Of the displacement, 0 to 20; 0 leaves the decoded surface as it is.
    residual_limit : float
        Bound of the displacement, mm, 0.1 to 30.
    n_turns : int
        Rotations to start from, 1 to 360.
    seed : int
        Of the samples of the limb's wall.

    Returns
    -------
    LimbFit

    Raises
    ------
    ValueError
        If `limb` is not one, an option is out of range, or the model has not that kind or no mm.
    """
    alignment = _alignment(limb)
    aligned = limb.copy().apply_transform(alignment)
    ranges = {
        "clearance": (clearance, -MAX_CLEARANCE, MAX_CLEARANCE),
        "height": (height, LENGTHS[0] / 2, aligned.extents[2]),
        "prior_weight": (prior_weight, 0, np.inf),
        "residual_degree": (residual_degree, 0, 20),
        "residual_limit": (residual_limit, 0.1, 30),
        "n_turns": (n_turns, 1, 360),
    }
    _check_options(aae, ranges)
    problems = [
        _Problem(aae, mean, _Wall(aligned, seed), height, clearance, prior_weight)
        for mean in _mean_codes(aae, kind)
    ]
    code, rotation, shift = _best(problems, n_turns)

    motion = np.eye(4)
    motion[:3, :3] = rotation.as_matrix().T
    motion[:3, 3] = -motion[:3, :3] @ shift
    placed = aligned.apply_transform(motion)
    model_surface = SocketSurface.from_points(aae.decode(code[None])[0], smoothing=_SMOOTHING)
    surface, displacement = model_surface, np.zeros(model_surface.vertices.shape[:2])
    if residual_degree:
        surface, displacement = _follow(
            model_surface, _Wall(placed, seed), clearance, residual_degree, residual_limit
        )
    model_gap, model_error = _node_gaps(model_surface, placed, clearance)
    gap, gap_error = _node_gaps(surface, placed, clearance)
    # A limb that is inside of the socket has the socket outside of it.
    limb_gap = -signed_gaps(placed.vertices, surface.mesh())
    matrix = rotation.as_matrix()
    return LimbFit(
        code=code,
        kind=_kind_of(aae, code),
        surface=surface,
        model_surface=model_surface,
        displacement=displacement,
        limb=placed,
        placement=motion @ alignment,
        turn=float(-np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
        tilt=float(np.degrees(np.arccos(np.clip(matrix[2, 2], -1, 1)))),
        clearance=float(clearance),
        gap=gap,
        model_gap=model_gap,
        limb_gap=limb_gap,
        gap_error=gap_error,
        model_error=model_error,
        limb_error=_mean_error(limb_gap - clearance, _vertex_areas(placed)),
        code_norm=float(np.linalg.norm(code) / aae.recipe.prior_std),
    )


def _check_options(aae, ranges):
    """Refuse a model without mm and values out of their ranges {name: (value, low, high)}."""
    if aae.recipe.normalization != "dataset":
        raise ValueError(
            f"the model's normalization is {aae.recipe.normalization!r}: its sockets have no size; "
            'a limb needs a model with "dataset"'
        )
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} is {value}; accepted: {low:g} to {high:g}")


def _kind_shares(aae, codes):
    """How much of each kind codes (n, code_size) are, (n, kinds); None without kinds."""
    if aae.recipe.linear_models != len(KINDS):
        return None
    kernel, bias = aae.decoder.get_layer("linear").get_weights()[:2]
    return softmax(codes @ kernel + bias, axis=1)


def _kind_of(aae, code):
    shares = _kind_shares(aae, code[None])
    return None if shares is None else KINDS[shares[0].argmax()]


def _mean_codes(aae, kind):
    """
    For each kind to be tried the mean code, and bounds of the number that tells kinds apart.

    That is the first one; the codes are those of the prior's draws that are wholly of the kind.
    """
    draws = aae.draw_prior(4096, seed=0)
    shares = _kind_shares(aae, draws)
    if shares is None:
        if kind is not None:
            raise ValueError(f"kind is {kind!r}, but the model has no kinds; accepted: None")
        return [(np.zeros(draws.shape[1]), (-np.inf, np.inf))]
    if kind not in (None, *KINDS):
        raise ValueError(f"kind is {kind!r}; accepted: {', '.join(KINDS)}, or None for all")
    members = [
        draws[share > 0.99]
        for name, share in zip(KINDS, shares.T, strict=True)
        if kind in (None, name)
    ]
    return [(each.mean(axis=0), (each[:, 0].min(), each[:, 0].max())) for each in members]


def _best(problems, n_turns):
    """Code, rotation and shift of the best that is found from all starts."""
    turns = 360 * np.arange(n_turns) / n_turns
    firsts = [
        (problem.solve(problem.start(turn), _FIRST_STEPS), problem)
        for problem in problems
        for turn in turns
    ]
    first, problem = min(firsts, key=lambda each: each[0].cost)
    unknowns = problem.solve(first.x, _LAST_STEPS).x
    return problem.codes(unknowns), problem.rotation(unknowns), unknowns[-3:]


class _Problem:
    """
    The least squares of a fit that starts at a kind's mean socket.

    Unknowns are the code's differences from the mean's, in standard deviations of the prior, three
    Euler angles, radians (about z first, then about the fixed x and y), and a shift, mm, of the
    decoded points.
    """

    def __init__(self, aae, mean, wall, height, clearance, prior_weight):
        self.aae, self.wall, self.clearance = aae, wall, clearance
        self.center, bounds = mean
        self.size = aae.recipe.code_size
        self.prior = np.sqrt(prior_weight / self.size)
        self.steps = np.repeat(_STEPS, (self.size, 3, 3))
        self.bounds = np.tile([[-np.inf], [np.inf]], self.size + 6)
        self.bounds[:, 0] = (np.array(bounds) - self.center[0]) / aae.recipe.prior_std
        self.mean = aae.decode(self.center[None])[0]
        brim = SocketSurface.from_points(self.mean, smoothing=_SMOOTHING).vertices[:, -1]
        levels = wall.samples[:, 2]
        if height is None:
            of_mean = brim[:, 2].mean() - self.mean[:, 2].min()
            height = min(of_mean, _HIGHEST_BRIM * np.ptp(levels))
        # Decoded points correspond: those next to the mean socket's brim are at every socket's, and
        # about as far below it.
        self.brim = np.unique(cKDTree(self.mean).query(brim)[1])
        below = brim[:, 2].mean() - self.mean[self.brim, 2].mean()
        self.brim_level = levels.min() + height - below

    def start(self, turn):
        """The mean socket turned by so many degrees, its distal end and axis put to the limb's."""
        unknowns = np.zeros(self.size + 6)
        unknowns[-6] = np.radians(turn)
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
        # What points are moved along the nearest plane changes nothing.
        rows = _per_point(np.einsum("ijk,ij->ik", slopes, normals), there[:, None])
        brim = slopes[self.brim, 2].mean(axis=0) / _BRIM_TOLERANCE
        return np.vstack([rows, brim, self.prior * np.eye(self.size, len(unknowns))])

    def solve(self, unknowns, n_steps):
        """What `scipy.optimize.least_squares` finds from there in that many steps."""
        return least_squares(
            self._residuals,
            unknowns,
            self._jacobian,
            self.bounds,
            x_scale="jac",
            max_nfev=n_steps,
        )


def _per_point(rows, there):
    """Rows of the points that have a limb beside them, so that their squares add up to a mean."""
    return rows * there / np.sqrt(max(there.sum(), 1))


# Displacement ---------------------------------------------------------------------------------


def _harmonics(n_angles, n_heights, degree):
    """
    Real spherical harmonics at the vertices of a grid's mesh, (n_vertices, (degree + 1)^2).

    The pole of the grid is that of the sphere, so that they are smooth there too, and the brim is
    its parallel at `_CAP` of the meridian. Also their degrees.
    """
    angles = 2 * np.pi * np.arange(n_angles)[:, None] / n_angles
    polar = np.pi * _CAP * np.linspace(0, 1, n_heights)
    orders = [(n, m) for n in range(degree + 1) for m in range(-n, n + 1)]
    values = []
    for n, m in orders:
        wave = sph_harm_y(n, abs(m), polar, angles)
        values.append(vertex_values(wave.imag if m < 0 else wave.real))
    return np.stack(values, axis=1), np.array([n for n, _ in orders])


def _follow(surface, wall, clearance, degree, limit):
    """The surface displaced so that gaps become `clearance`, and by how much (angles, heights)."""
    grid = surface.vertices.shape[:2]
    mesh = surface.mesh()
    areas = np.sqrt(_vertex_areas(mesh) / mesh.area)
    directions = _smooth_normals(mesh, grid, areas)
    basis, degrees = _harmonics(*grid, degree)
    # Rough displacements cost more, like the bending of a thin plate.
    roughness = np.diag(_ROUGHNESS * (1 + degrees * (degrees + 1)))

    def bounded(weights):
        return limit * np.tanh(basis @ weights / limit)

    weights = np.zeros(basis.shape[1])
    for _ in range(_RESIDUAL_STEPS):
        displacement = bounded(weights)
        gaps, normals, there = wall.gaps(mesh.vertices + displacement[:, None] * directions)
        along = np.einsum("ij,ij->i", directions, normals) * (1 - (displacement / limit) ** 2)
        rows = (areas * there * along)[:, None] * basis
        wanted = areas * there * (clearance - gaps)
        weights += np.linalg.lstsq(
            np.vstack([rows, roughness]), np.append(wanted, -roughness @ weights)
        )[0]
    displacement = bounded(weights)
    moved = mesh.vertices + displacement[:, None] * directions
    return SocketSurface(_as_grid(moved, *grid)), _as_grid(displacement, *grid)


def _smooth_normals(mesh, grid, areas):
    """Outward normals (n_vertices, 3); along rough ones faces would be turned over."""
    basis = _harmonics(*grid, _NORMAL_DEGREE)[0]
    weights = np.linalg.lstsq(areas[:, None] * basis, areas[:, None] * mesh.vertex_normals)[0]
    return trimesh.unitize(basis @ weights)


def _as_grid(values, n_angles, n_heights):
    """Values (n_vertices, ...) of `SocketSurface.mesh` at the nodes (angles, heights, ...)."""
    rest = values[1:].reshape(n_angles, n_heights - 1, *values.shape[1:])
    pole = np.broadcast_to(values[0], (n_angles, 1, *values.shape[1:]))
    return np.concatenate([pole, rest], axis=1)


def _vertex_areas(mesh):
    """A third of the area of each vertex' faces, (n_vertices,)."""
    return np.bincount(
        mesh.faces.ravel(), np.repeat(mesh.area_faces / 3, 3), minlength=len(mesh.vertices)
    )


def _mean_error(differences, areas):
    """Mean absolute difference over the area where there is one, mm."""
    there = np.isfinite(differences)
    return float(np.average(np.abs(differences[there]), weights=areas[there]))


def _node_gaps(surface, limb, clearance):
    """Gaps (angles, heights) of a socket's nodes, and their mean error."""
    mesh = surface.mesh()
    gaps = signed_gaps(mesh.vertices, limb)
    error = _mean_error(gaps - clearance, _vertex_areas(mesh))
    return _as_grid(gaps, *surface.vertices.shape[:2]), error
