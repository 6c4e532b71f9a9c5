"""Surfaces of sockets: fitted to clouds, with correspondence, measurements and an STL file."""

import warnings
from dataclasses import dataclass

import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

from .clouds import UNITS, as_points, normals, resample
from .meshes import nearest_on
from .printing import export, thicken

MIN_POINTS = 100
SIZES = (100.0, 800.0)  # mm: of the longest side of a socket's box; public ones have 136 to 400

_ANGLES, _HEIGHTS = 72, 48  # of the grids of fitted surfaces
_SPACING = 30.0  # mm, of the sections that are measured
_CENTER_HEIGHT = 0.45  # of the height; the part below is star-shaped around it
_NEIGHBOURS = 24  # of the interpolation
_GRAPH_NEIGHBOURS = 8  # of the geodesic distances
_SPREAD_NEIGHBOUR = 12  # the one whose distance says how far apart points are, clumped or not
_BALL = 1.3  # radius of the ball that rolls over the brim, in median distances to that neighbour
_BRIM_LIFT = 0.25  # of the brim above the topmost points, in the same: half the points' spacing
_STRAY = 3.0  # a point whose such neighbour is this many medians away is not of the surface
_BRIM_OVERSAMPLING = 5  # angles at which the brim is traced, per angle of the grid
_BRIM_SMOOTHING = np.radians(2.0)  # standard deviation of the brim's Gaussian filter

_STRAYS = 0.01  # of the points at each end of a coordinate do not count for the box
_CLOSED = 0.06  # mean of a closed surface's outward normals, at most; public sockets': 0.13
_LONG = 1.3  # largest variance by the next, of a long socket; public ones': 1.35
_NEAR_AXIS = 0.35  # of the median distance from it: of a closed end of many points some are nearer
_MANY = 1000
_UPRIGHT = 35.0  # degrees between the way up and a coordinate axis; public sockets': 20
_BETWEEN = 0.3  # 10th percentile of distances from a surface by their median: of a wall 2 mm thick
# or more over 0.33, of sockets at most 0.20, with 4 mm of noise 0.23


def check_sockets(points, names, refuse=None, tilted=False):
    """
    Warn of sockets that look as if they were in another unit than mm, not upright, or closed.

    The size of a cloud (n_points, 3) is the longest side of its box. An open cup's outward normals
    add up to minus the area of its opening (a closed surface's to nothing): so they point away from
    the brim. The way up is between that direction and the longest axis, which lopsided brims turn
    to opposite sides. The points of a closed wall lie on both sides of a surface fitted to them,
    and few are near it.

    Parameters
    ----------
    points : (n, n_points, 3) array
    names : sequence
        Of the n sockets, for the message.
    refuse : bool, optional
        Look for walls, too, which takes 0.1 s a socket and raises a ValueError. Others raise one
        instead of the warning (True) or do not (False).
    tilted : bool
        They may be tilted.
    """
    points = np.asarray(points, np.float64)
    doubts = [_doubt(cloud, tilted) for cloud in points]
    if not any(doubts) and refuse is not None:
        doubts, refuse = [_wall(cloud) for cloud in points], True
    if not any(doubts):
        return
    (name, doubt), *others = [each for each in zip(names, doubts, strict=True) if each[1]]
    message = f"{name}{f' and {len(others)} more' if others else ''}: {doubt}"
    if refuse:
        raise ValueError(message)
    warnings.warn(message, stacklevel=2)


def _doubt(cloud, tilted=False):
    """Say what a cloud looks like that is no upright socket in mm, or nothing."""
    cloud = _without_strays(cloud)
    if not SIZES[0] <= (size := np.ptp(cloud, axis=0).max()) <= SIZES[1]:
        return unit_hint(size)
    if len(cloud) < MIN_POINTS:
        return None
    way, is_open = _way_up(cloud)
    if not tilted and _is_tube(cloud, way):
        return "open at both ends, it seems; a socket's distal end is closed"
    if not is_open:
        return "closed at its brim, it seems, by a lid; take that off"
    axis = np.abs(way).argmax()
    off, up = np.degrees(np.arccos(abs(way[axis]))), "-" * bool(way[axis] < 0) + "xyz"[axis]
    if tilted and off > _UPRIGHT:
        return None
    if off > _UPRIGHT:
        return (
            f"tilted, it seems, by about {np.degrees(np.arccos(way[2])):.0f} degrees; turn it "
            "upright, its long axis along z, or let aaelib complete find how it lies"
        )
    if up == "z":
        return None
    return (
        f"upside down or on its side, it seems: its brim is towards {up}, and sockets have their "
        f"closed end at low z, their open brim at high z; turn it with --up={up}, in Python with "
        f"clouds.place(points, {up!r})"
    )


def _without_strays(cloud):
    """The points of a cloud that are not far outside of the box of most."""
    low, high = np.quantile(cloud, [_STRAYS, 1 - _STRAYS], axis=0)
    margin = 0.1 * (high - low)
    return cloud[((cloud >= low - margin) & (cloud <= high + margin)).all(axis=1)]


def _way_up(cloud):
    """Unit vector (3,) from a cloud's closed end to its brim, and whether it is open there."""
    centered = cloud - cloud.mean(axis=0)
    outwards = normals(centered[None].astype(np.float32))[0]
    outwards *= np.sign(np.einsum("ij,ij->i", outwards, centered))[:, None]
    mean = outwards.mean(axis=0, dtype=float)
    is_open = np.linalg.norm(mean) > _CLOSED
    variances, axes = np.linalg.eigh(np.cov(centered.T))
    way, axis = -trimesh.unitize(mean), axes[:, 2]
    if not is_open or variances[2] > _LONG * variances[1]:
        way = trimesh.unitize(is_open * way + np.sign(way @ axis) * axis)
    return way, is_open


def _is_tube(cloud, axis):
    """Whether none of many points is near the long axis, as some of a closed end are."""
    centered = cloud - np.median(cloud, axis=0)
    away = np.linalg.norm(centered - (centered @ axis)[:, None] * axis, axis=1)
    return len(cloud) >= _MANY and away.min() > _NEAR_AXIS * np.median(away)


def _wall(cloud):
    """Say that the points of a socket are those of a wall's two sides, or nothing."""
    if len(cloud) < MIN_POINTS:
        return None
    return wall_hint(SocketSurface.from_points(cloud, smoothing=0.1).mesh(), cloud)


def wall_hint(mesh, points):
    """Say that points lie on both sides of a surface fitted to them, or nothing."""
    low, middle = np.quantile(nearest_on(mesh, points)[1], [0.1, 0.5])
    if low <= _BETWEEN * middle:
        return None
    return (
        f"a closed wall, it seems: its points lie {middle:.2g} mm inside and outside of a surface; "
        "take the wall's inner surface alone"
    )


def unit_hint(size):
    """Say which unit a socket, whose longest side has a wrong size, may be in."""
    fitting = [
        f"{factor:g} if it is in {unit} (that makes {size * factor:.0f} mm; --unit {unit})"
        for unit, factor in UNITS.items()
        if SIZES[0] <= size * factor <= SIZES[1]
    ]
    hint = f"multiply it by {', or by '.join(fitting)}" if fitting else "that fits no unit"
    return f"the longest side is {size:.3g}, and sockets have 100 to 800 mm: {hint}"


@dataclass(frozen=True)
class SocketSurface:
    """
    A socket's inner surface, an open cup, as a grid whose nodes correspond across sockets.

    Attributes
    ----------
    vertices : numpy.ndarray
        (angles, heights, 3) float64, mm; z is the long axis and points from the closed distal end
        to the open brim. ``vertices[i, j]`` is at angle 2 pi i / angles about the axis, from x
        towards y, at level j of the meridian: 0 is the distal pole, where all angles meet, -1 the
        brim.
    """

    vertices: np.ndarray

    def __post_init__(self):
        vertices = np.asarray(self.vertices, np.float64)
        is_grid = vertices.ndim == 3 and vertices.shape[-1] == 3 and min(vertices.shape) >= 3
        if not (is_grid and np.isfinite(vertices).all()):
            expected = "finite (angles, heights, 3), 3 or more of each"
            raise ValueError(f"vertices of shape {vertices.shape} are not {expected}")
        object.__setattr__(self, "vertices", vertices)

    @classmethod
    def from_points(cls, points, smoothing=0.03):
        """
        Fit a surface to a cloud.

        Every point gets a place on a capsule (a hemisphere with a cylinder on it, of the cloud's
        depth and median radius): its angle about the axis and its distance from the distal end
        along the wall. Up to a centre on the axis, at 45 % of the height, sockets are star-shaped,
        and rays from there lead to the places. Further up the distance is the geodesic one, along
        the graph of neighbouring points (Tenenbaum et al. 2000). It follows a flared brim even
        where its lip turns down.

        Radial basis functions interpolate radius and height between the places. Their kernel is
        linear: smoother ones bulge out where a cloud has holes. The brim is traced by a ball that
        rolls over the places from above (a closing of mathematical morphology, Serra 1982; an alpha
        shape, Edelsbrunner et al. 1983). It is half the points' spacing higher, since an evenly
        spread point is the middle of its part of the wall. Points far from all others are left out.

        Moving, scaling, or turning the cloud by an angle of the grid about z does the same to the
        surface.

        Parameters
        ----------
        points : array_like
            (n_points, 3), mm, z along the long axis and upwards to the brim; 100 points or more, in
            any order.
        smoothing : float
            Of the interpolation, 0 or more; 0 passes through all points. On the public sockets the
            default leaves 0.22 mm between points and surface (0: 0.18; 0.1: 0.27), and 0.51 mm
            between them and the surface of a cloud with 1 mm of noise (0: 0.54; 0.1: 0.48).

        Returns
        -------
        SocketSurface
            Of 72 angles and 48 heights.

        Raises
        ------
        ValueError
            If `points` have another shape, are too few or not finite, or are not spread around
            their long axis.
        """
        points, spread = surface_points(points)
        capsule = _Capsule.around(points)
        angles, arcs, widths, heights = capsule.unroll(points)
        brim = _trace_brim(angles, arcs, _BALL * spread / capsule.radius)
        brim += _BRIM_LIFT * spread / capsule.radius
        places, shape = capsule.place(angles, arcs), np.stack([widths, heights], axis=1)
        interpolator = RBFInterpolator(places, shape, _NEIGHBOURS, smoothing, kernel="linear")
        grid_angles = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)[:, None]
        grid_arcs = brim[:, None] * np.linspace(0, 1, _HEIGHTS)
        nodes = capsule.place(grid_angles, grid_arcs).reshape(-1, 3)
        # Kept within the data: early in a network's training, clouds are not yet sockets.
        found = np.clip(interpolator(nodes), shape.min(axis=0), shape.max(axis=0))
        widths, heights = found.T.reshape(2, _ANGLES, _HEIGHTS)
        shaped = capsule.place(grid_angles, grid_arcs, widths, heights)
        return cls(capsule.center + capsule.radius * shaped)

    def mesh(self):
        """
        Triangulate the surface, which is open at the brim.

        Returns
        -------
        trimesh.Trimesh
            In mm: the pole is vertex 0, ``vertices[i, j]`` is vertex
            ``1 + i * (heights - 1) + j - 1``. Normals point outwards, away from the limb.
        """
        vertices = np.concatenate([self.vertices[:1, 0], self.vertices[:, 1:].reshape(-1, 3)])
        here = _vertex_indices(*self.vertices.shape[:2])
        there = np.roll(here, -1, axis=0)
        # At the pole, the second of each cell's two triangles would have no area.
        upper = np.stack([here[:, :-1], there[:, 1:], here[:, 1:]], axis=-1)
        lower = np.stack([here[:, 1:-1], there[:, 1:-1], there[:, 2:]], axis=-1)
        faces = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
        return trimesh.Trimesh(vertices, faces, process=False)

    def mirrored(self):
        """The mirror image, y for -y: a right leg's socket as a left leg's."""
        return SocketSurface(self.vertices[-np.arange(len(self.vertices))] * [1, -1, 1])

    def coarse(self):
        """
        Keep 36 angles and 24 heights of the grid, the pole and the brim among them.

        Returns
        -------
        SocketSurface
            For smaller pictures.
        """
        angles, heights = self.vertices.shape[:2]
        kept_angles = np.linspace(0, angles, 36, endpoint=False).astype(int)
        kept_heights = np.linspace(0, heights - 1, 24).round().astype(int)
        return SocketSurface(self.vertices[kept_angles][:, kept_heights])

    def measure(self):
        """
        Measure the socket, with the terms of limb and socket scans.

        Sections are perpendicular to z, every 30 mm above the distal end (the lowest point), up to
        the lowest point of the brim: so far the wall is closed all around.

        Returns
        -------
        dict
            Floats, and lists of floats with one entry a section:

            - ``length_mm``: from the distal end to the highest point of the brim
            - ``brim_height_min_mm``, ``brim_height_mean_mm``: of the brim above the distal end
            - ``area_mm2``: of the wall
            - ``volume_mm3``: of the cavity, its brim closed by a fan around the brim's mean point
            - ``heights_mm``, ``perimeters_mm``, ``areas_mm2``: the sections
            - ``distal_height_mm``, ``distal_perimeter_mm``: of the lowest section
            - ``proximal_height_mm``, ``proximal_perimeter_mm``: at the brim's lowest point, the
              highest section that is closed
        """
        heights = self.vertices[..., 2] - self.vertices[..., 2].min()
        brim = heights[:, -1]
        sections = np.arange(_SPACING, brim.min(), _SPACING)
        sections = np.append(sections[sections > heights[0, 0]], brim.min())
        perimeters, areas = section_sizes(self.vertices, heights, sections)
        triangles = self.mesh().triangles
        # The divergence theorem; from its own apex, the fan over the brim adds nothing.
        a, b, c = (triangles - self.vertices[:, -1].mean(axis=0)).transpose(1, 0, 2)
        return self.heights() | {
            "area_mm2": float(trimesh.triangles.area(triangles).sum()),
            "volume_mm3": float((a * np.cross(b, c)).sum() / 6),
            "heights_mm": sections[:-1].tolist(),
            "perimeters_mm": perimeters[:-1].tolist(),
            "areas_mm2": areas[:-1].tolist(),
            "distal_height_mm": float(sections[0]),
            "distal_perimeter_mm": float(perimeters[0]),
            "proximal_height_mm": float(sections[-1]),
            "proximal_perimeter_mm": float(perimeters[-1]),
        }

    def heights(self):
        """The length and the heights of the brim, as `measure` has them, in a tenth of its time."""
        heights = self.vertices[..., 2] - self.vertices[..., 2].min()
        brim = heights[:, -1]
        return {
            "length_mm": float(heights.max()),
            "brim_height_min_mm": float(brim.min()),
            "brim_height_mean_mm": float(brim.mean()),
        }

    def sample(self, n=2048, seed=0):
        """
        Resample the surface to evenly spread points (`resample`).

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Seed of the sample.

        Returns
        -------
        numpy.ndarray
            (n, 3) float32, mm.
        """
        return resample(self.mesh(), n, seed)

    def shell(self, thickness=4.0):
        """
        Build a closed wall around the surface (`aaelib.shapes.printing.thicken`).

        Parameters
        ----------
        thickness : float
            Of the wall, mm: above 0, up to 20.

        Returns
        -------
        trimesh.Trimesh
            Watertight, in mm, its normals out of the wall. The inner wall is the surface, the outer
            wall lies `thickness` away from it, and a rounded rim joins them above the brim, half of
            `thickness` high.

        Raises
        ------
        ValueError
            If `thickness` is out of range, or such a wall would cross itself.
        """
        brim = _vertex_indices(*self.vertices.shape[:2])[:, -1]
        return thicken(self.mesh(), brim, thickness)


def fit_surfaces(points):
    """
    Fit a surface to each cloud of a set (`SocketSurface.from_points`).

    Parameters
    ----------
    points : array_like
        (n, n_points, 3), mm.

    Returns
    -------
    list of SocketSurface
    """
    return [SocketSurface.from_points(p) for p in tqdm(points, desc="surfaces", leave=False)]


def surface_errors(reconstructed, surfaces):
    """
    Measure how far outside or inside of each socket's surface its reconstruction lies, per node.

    A surface is fitted to the reconstruction. The error at a node is the vector to the nearest
    point of that surface, projected on the socket's outward normal. So it ignores sliding along the
    wall, some 3 mm between corresponding nodes, and a brim that is too low.

    Parameters
    ----------
    reconstructed : array_like
        (n, n_points, 3), mm.
    surfaces : sequence of SocketSurface
        The n real sockets, their grids alike.

    Returns
    -------
    numpy.ndarray
        (n, angles, heights) float64, mm, positive where the reconstruction lies outside. Nodes are
        those of ``surfaces[i].vertices`` and correspond across sockets.
    """
    errors = []
    pairs = zip(reconstructed, surfaces, strict=True)
    for cloud, surface in tqdm(pairs, desc="surface errors", total=len(surfaces), leave=False):
        # A decoder's points scatter about its surface: more smoothing than scans need.
        fitted = SocketSurface.from_points(cloud, smoothing=0.1).mesh()
        real = surface.mesh()
        nearest = nearest_on(fitted, real.vertices)[0]
        outwards = np.einsum("ij,ij->i", nearest - real.vertices, real.vertex_normals)
        errors.append(node_values(outwards, *surface.vertices.shape[:2]))
    return np.stack(errors)


def vertex_values(grid):
    """
    Reorder numbers of a grid's nodes (angles, heights) as the vertices of `SocketSurface.mesh`.

    At the pole, where all angles meet, the first angle's number is taken.
    """
    grid = np.asarray(grid)
    return np.append(grid[0, 0], grid[:, 1:])


def node_values(values, n_angles, n_heights):
    """Reorder values of a mesh's vertices as the grid's nodes, (n_angles, n_heights, ...)."""
    return values[_vertex_indices(n_angles, n_heights)]


def _vertex_indices(n_angles, n_heights):
    """Index the mesh's vertex of each node (n_angles, n_heights): 0 is the pole at every angle."""
    others = 1 + np.arange(n_angles * (n_heights - 1)).reshape(n_angles, -1)
    return np.pad(others, ((0, 0), (1, 0)))


def export_stl(surface, path, thickness=4.0):
    """
    Write a socket as a closed shell to print (`printing.export` has other formats).

    Parameters
    ----------
    surface : SocketSurface
        Its inner surface.
    path : str or Path
        Of the ``.stl`` file (binary, mm).
    thickness : float
        Of the wall, mm: above 0, up to 20.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the suffix is not ``.stl``, `thickness` is out of range, or the wall would cross itself.
    """
    return export(surface, path, thickness, formats=(".stl",))


# Fitting --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Capsule:
    """
    A hemisphere with an endless cylinder on it, seen from a centre on its axis.

    A place on it is the angle about the axis and the arc length along a meridian from the pole, in
    radii. Equal arcs on it are about equal arcs on a socket; equal steps of direction are not: they
    crowd towards the brim. `center` is (3,) mm, `radius` mm, and `offset` the height of the centre
    above that of the hemisphere, in radii, -1 or more.
    """

    center: np.ndarray
    radius: float
    offset: float

    @classmethod
    def around(cls, points):
        """Fit the capsule to points (n_points, 3) mm."""
        z = points[:, 2]
        height = np.ptp(z)
        # Brims are lopsided, so the axis is that of the lower half.
        axis = points[z <= z.min() + height / 2, :2].mean(axis=0)
        radius = np.median(np.hypot(*(points[:, :2] - axis).T))
        least = 1e-6 * np.abs(points - points.mean(axis=0)).max()
        if not min(radius, height) > least:
            raise ValueError("no socket: the points are not spread along and around an axis (z)")
        depth = _CENTER_HEIGHT * height
        return cls(np.array([*axis, z.min() + depth]), radius, depth / radius - 1)

    def unroll(self, points):
        """Find angles, arcs and `place`'s widths and heights (n_points,) of points, mm."""
        x, y, z = (points - self.center).T / self.radius
        arcs, widths = self._along_rays(x, y, z)
        # From the centre's height on, as far as it is along the wall.
        lower = z <= 0
        equator = self._along_rays(1.0, 0.0, 0.0)[0]
        geodesics = _geodesics(points / self.radius, np.flatnonzero(lower), equator + z[lower])
        upper = ~lower & np.isfinite(geodesics)  # pieces apart from the rest are not reached
        arcs[upper] = geodesics[upper]
        radii, levels = self._profile(arcs)
        widths[upper] = np.hypot(x, y)[upper] / radii[upper]
        return np.arctan2(y, x), arcs, widths, z - levels

    def _along_rays(self, x, y, z):
        """Find arcs where rays from the centre meet the capsule, and distances relative to it."""
        rho = np.hypot(x, y)
        polar = np.arctan2(rho, -z)
        # A ray straight up never meets the cylinder; it is sent far up instead.
        sin, cos = np.maximum(np.sin(polar), 1e-6), np.cos(polar)
        reach = self.offset * cos + np.sqrt(np.maximum(1 - (self.offset * sin) ** 2, 0))
        on_cylinder = -reach * cos > -self.offset
        reach = np.where(on_cylinder, 1 / sin, reach)
        level = -reach * cos + self.offset
        arcs = np.where(on_cylinder, np.pi / 2 + level, np.arctan2(reach * sin, -level))
        return arcs, np.hypot(rho, z) / reach

    def _profile(self, arcs):
        """Compute radii and heights above the centre, in radii."""
        radii = np.where(arcs < np.pi / 2, np.sin(arcs), 1.0)
        levels = np.where(arcs < np.pi / 2, -np.cos(arcs), arcs - np.pi / 2) - self.offset
        return radii, levels

    def place(self, angles, arcs, widths=1.0, heights=0.0):
        """Place points (..., 3) on the capsule, widened and raised; from the centre, in radii."""
        radii, levels = self._profile(arcs)
        x, y, z = np.broadcast_arrays(
            widths * radii * np.cos(angles), widths * radii * np.sin(angles), levels + heights
        )
        return np.stack([x, y, z], axis=-1)


def _geodesics(points, sources, lengths):
    """Add the shortest paths (n_points,) through neighbours to the sources' known lengths."""
    n = len(points)
    distances, neighbours = cKDTree(points).query(points, k=_GRAPH_NEIGHBOURS + 1)
    rows = np.repeat(np.arange(n), _GRAPH_NEIGHBOURS)
    # Node n is joined to every source by the source's own length.
    weights = np.append(distances[:, 1:], lengths)
    rows = np.append(rows, np.full(len(sources), n))
    columns = np.append(neighbours[:, 1:], sources)
    graph = csr_array((weights, (rows, columns)), shape=(n + 1, n + 1))
    return dijkstra(graph, directed=False, indices=n)[:n]


def surface_points(points):
    """
    Points of a surface, each once, in one order: those not far from all others.

    The median distance to a 12th neighbour is returned, too.
    """
    distinct = np.unique(as_points(points, ndim=2), axis=0)
    if len(distinct) < MIN_POINTS:
        found = f"{len(distinct)} different points among {len(points)}"
        raise ValueError(f"{found}; a surface needs {MIN_POINTS} or more")
    distances = cKDTree(distinct).query(distinct, k=[_SPREAD_NEIGHBOUR + 1])[0][:, 0]
    spread = np.median(distances)
    return distinct[distances < _STRAY * spread], spread


def _trace_brim(angles, arcs, ball):
    """Trace the brim's arc at each angle of the grid: the closing of the points by a ball."""
    traced = np.linspace(0, 2 * np.pi, _ANGLES * _BRIM_OVERSAMPLING, endpoint=False)
    over_points = _ball_heights(traced[:, None] - angles, ball)
    ceiling = (arcs + over_points).max(axis=1)
    if not np.isfinite(ceiling).all():
        raise ValueError("no socket: the points are not all around their long axis (z)")
    over_ceiling = _ball_heights(traced[:, None] - traced, ball)
    brim = (ceiling - over_ceiling).min(axis=1)
    sigma = _BRIM_SMOOTHING * len(traced) / (2 * np.pi)
    return gaussian_filter1d(brim, sigma, mode="wrap")[::_BRIM_OVERSAMPLING]


def _ball_heights(turns, radius):
    """Compute a ball's height over its centre at angles from it, in radii; -inf beside it."""
    turns = np.abs((turns + np.pi) % (2 * np.pi) - np.pi)
    return np.where(turns < radius, np.sqrt(np.maximum(radius**2 - turns**2, 0)), -np.inf)


# Grids ----------------------------------------------------------------------------------------


def section_sizes(vertices, heights, sections):
    """
    Measure perimeters and areas of the polygons in which horizontal planes cut the meridians.

    Where the distal end is dented a meridian may cross a plane more than once: the topmost crossing
    is on the wall.

    Parameters
    ----------
    vertices : (angles, heights, 3) array
        Of a `SocketSurface`, mm.
    heights : (angles, heights) array
        Of the vertices, mm.
    sections : (n_sections,) array
        Heights between the pole and the lowest point of the brim, so that every meridian crosses
        each; above that, meridians are taken at their ends.

    Returns
    -------
    perimeters, areas : (n_sections,) arrays
        mm and mm2.
    """
    level = sections[:, None, None]
    crosses = (heights[:, :-1] <= level) & (level <= heights[:, 1:])
    last = crosses.shape[2] - 1 - np.argmax(crosses[:, :, ::-1], axis=2)
    angle = np.arange(len(heights))
    below, above = heights[angle, last], heights[angle, last + 1]
    rise = above - below
    part = np.clip((sections[:, None] - below) / np.where(rise > 0, rise, 1.0), 0, 1)[..., None]
    cut = (1 - part) * vertices[angle, last, :2] + part * vertices[angle, last + 1, :2]
    x, y = np.moveaxis(cut, -1, 0)
    next_x, next_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    perimeters = np.hypot(next_x - x, next_y - y).sum(axis=1)
    areas = (x * next_y - next_x * y).sum(axis=1) / 2
    return perimeters, areas
