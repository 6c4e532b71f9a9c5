"""Point clouds: resample a mesh, normalise and undo it, estimate normals."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from . import meshes

UNITS = {"mm": 1.0, "cm": 10.0, "inch": 25.4, "m": 1000.0}  # mm
NORMALIZATIONS = ("dataset", "unit-sphere")

# Candidates per point that is kept, and steps of Lloyd's algorithm. More of either lowers the
# Chamfer distance of two samplings of one socket by less than 2 %.
_CANDIDATES = 10
_LLOYD_STEPS = 3


def as_points(points, name="points", ndim=3):
    """Check clouds (n, n_points, 3), or one (n_points, 3), and make them float64."""
    points = np.asarray(points)
    if points.ndim != ndim or points.shape[-1] != 3 or points.size == 0:
        expected = "(n, n_points, 3); one cloud is points[None]" if ndim == 3 else "(n_points, 3)"
        raise ValueError(f"{name} has shape {points.shape}; expected {expected}")
    if points.dtype.kind not in "fiub":
        raise ValueError(f"{name} has the type {points.dtype}; expected real numbers")
    points = points.astype(float, copy=False)
    finite = np.isfinite(points).reshape(len(points), -1).all(axis=1)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise ValueError(f"{name} has {len(bad)} entries that are not finite: {bad[:10].tolist()}")
    return points


def in_single_precision(points):
    """
    Round a cloud (n_points, 3) to float32.

    Where that would change its shape, as far from the origin, its centroid is moved there first.
    """
    points = points.astype(float, copy=False)
    return (points - points.mean(axis=0) * _loses_digits(points)).astype(np.float32)


def _loses_digits(points):
    """Whether float32 moves a point of some cloud (..., n_points, 3) by 1e-6 of its size."""
    errors = np.abs(points.astype(np.float32) - points).max(axis=(-2, -1))
    sizes = np.ptp(points, axis=-2).max(axis=-1)
    return bool(((errors > 1e-6 * sizes) & (sizes > 0)).any())


def place(points, up=None, unit=None):
    """
    Turn clouds so that their axis `up` becomes z, and scale them to mm.

    Parameters
    ----------
    points : (..., 3) array
        In `unit`.
    up : {"x", "y", "z", "-x", "-y", "-z"}, optional
        Direction from the closed end to the brim; z by default.
    unit : {"mm", "cm", "inch", "m"}, optional
        mm by default.

    Returns
    -------
    numpy.ndarray
        (..., 3), mm; float64 if the points are, which may be far from the origin, or float32.
    """
    precision = np.result_type(points, np.float32)
    sign, axis = (up or "z")[:-1], "xyz".index((up or "z")[-1])
    points = UNITS[unit or "mm"] * np.roll(np.asarray(points, float), 2 - axis, axis=-1)
    return (points * [1, -1, -1] if sign else points).astype(precision)


# Resampling -----------------------------------------------------------------------------------


def resample(mesh, n_points=2048, seed=0):
    """
    Resample a mesh to evenly spread points.

    A dense sample of the surface has ten times `n_points`, stratified by area. A few steps of
    Lloyd's algorithm (Lloyd, 1982: every point moves to the centroid of its cell, the sample that
    is nearest to it) divide the dense sample into `n_points` cells. The dense point nearest to a
    cell's centroid is kept, so points lie on the surface and no two are the same. On strongly bent
    surfaces about one cell in thousands loses all of its dense points. Its centroid is kept
    instead, a little off the surface.

    Parameters
    ----------
    mesh : trimesh.Trimesh, str or Path
        The surface, or a file in any format that trimesh reads, in any unit.
    n_points : int
        How many points, 1 or more.
    seed : int
        Seed of the dense sample.

    Returns
    -------
    numpy.ndarray
        (n_points, 3) float32, in the mesh's unit and place; around the origin if the mesh is so far
        from it that float32 would change its shape.

    Raises
    ------
    ValueError
        If the file cannot be read, or the mesh has no faces, no area or values that are not
        finite, or `n_points` is not positive.
    """
    if n_points < 1:
        raise ValueError(f"n_points is {n_points}; it must be 1 or more")
    dense = _stratified_sample(*_surface(mesh), _CANDIDATES * n_points, seed)
    points = dense[::_CANDIDATES]
    for _ in range(_LLOYD_STEPS):
        # The tree is built more often than it pays to balance it.
        tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
        cells = tree.query(dense)[1]
        counts = np.bincount(cells, minlength=n_points)
        sums = [np.bincount(cells, weights=axis, minlength=n_points) for axis in dense.T]
        # The point of an empty cell stays.
        centroids = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        points = np.where(counts[:, None] > 0, centroids, points)
    return in_single_precision(_nearest_member(dense, cells, points))


def _surface(mesh):
    """Get triangles (m, 3, 3) and their areas (m,) of a mesh or a mesh file."""
    is_file = isinstance(mesh, str | Path)
    name, mesh = (mesh, meshes.read(mesh)) if is_file else ("the mesh", mesh)
    if not (n := len(mesh.faces)):
        advice = "save it as a mesh of triangles, or a cloud of points as .npy"
        raise ValueError(f"{name} has no faces, so it has no surface to put points on; {advice}")
    if not (np.abs(mesh.triangles) <= np.finfo(np.float32).max).all():
        which = "vertices that are not finite (in single precision)"
        raise ValueError(f"{name} has {which}; repair it")
    if not mesh.area > 0:
        raise ValueError(f"{name} has no area: all of its {n} faces are degenerate; repair it")
    return mesh.triangles, mesh.area_faces


def _stratified_sample(triangles, areas, count, seed):
    """
    Draw a point in each of `count` strata of equal area, in the order of the faces.

    Places within a triangle follow Osada et al. (2002), equation 1.
    """
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(areas)
    strata = (np.arange(count) + rng.random(count)) * (cumulative[-1] / count)
    chosen = np.minimum(np.searchsorted(cumulative, strata), len(areas) - 1)
    along, across = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    a, b, c = triangles[chosen].transpose(1, 0, 2)
    return (1 - along) * a + along * (1 - across) * b + along * across * c


def _nearest_member(dense, cells, centroids):
    """Take each cell's member nearest to its centroid, or the centroid if the cell is empty."""
    distances = ((dense - centroids[cells]) ** 2).sum(axis=1)
    order = np.lexsort((distances, cells))
    filled, first = np.unique(cells[order], return_index=True)
    chosen = centroids.copy()
    chosen[filled] = dense[order[first]]
    return chosen


# Normalisation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Normalizer:
    """
    Centres and scales of shapes: normalized = (points - center) / scale.

    Attributes
    ----------
    centers : numpy.ndarray
        (n, 1, 3) float64, the shapes' centroids, in their own unit (mm).
    scales : numpy.ndarray
        (n, 1, 1) float64, the sizes that they were divided by, in their own unit (mm).
    """

    centers: np.ndarray
    scales: np.ndarray

    @property
    def scale(self):
        """The scale of the first shape (mm); with "dataset" that of all, for others to share."""
        return float(self.scales.flat[0])

    def undo(self, points):
        """
        Give normalized shapes their size and place back.

        Parameters
        ----------
        points : array_like
            (n, n_points, 3), the n shapes that were normalized, in their order, with any number of
            points each. Where one shape was normalized: any number of shapes.

        Returns
        -------
        numpy.ndarray
            float32 of the same shape, in the original unit (mm); float64 where float32 would change
            shapes, far from the origin.

        Raises
        ------
        ValueError
            If there are other numbers of shapes.
        """
        points = np.asarray(points, float)
        if len(self.scales) not in (1, len(points)):
            raise ValueError(f"{len(points)} shapes; {len(self.scales)} were normalized")
        restored = points * self.scales + self.centers
        return restored if _loses_digits(restored) else restored.astype(np.float32)


def normalize(points, normalization="dataset", scale=None):
    """
    Centre shapes on their centroids and divide them by their size.

    Parameters
    ----------
    points : array_like
        (n, n_points, 3), in any unit (mm).
    normalization : str
        "dataset": all shapes are divided by one scale, so that relative size is kept.
        "unit-sphere": each is divided by its own, as in Costa et al. (2022).
    scale : float, optional
        The scale of "dataset", in the unit of `points`, such as that of the training set. By
        default the largest distance of a point from its shape's centroid in the whole set, which
        puts all points into the unit sphere.

    Returns
    -------
    normalized : numpy.ndarray
        float32 of the shape of `points`. Within [-1, 1] unless a smaller `scale` is given.
    normalizer : Normalizer
        Undoes it.

    Raises
    ------
    ValueError
        If `points` have another shape or values that are not finite, if all points of a shape are
        equal, if `normalization` is unknown, or if `scale` is not positive or is given for
        "unit-sphere".
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is {normalization!r}; it can be one of {NORMALIZATIONS}")
    if scale is not None and not (normalization == "dataset" and 0 < scale < np.inf):
        expected = "it must be positive and finite, and is only for 'dataset'"
        raise ValueError(f"scale is {scale} for {normalization!r}; {expected}")
    points = as_points(points)
    centers = points.mean(axis=1, keepdims=True)
    centred = points - centers
    radii = np.sqrt((centred**2).sum(axis=2).max(axis=1))[:, None, None]
    # Compared as they are: the mean of equal points may differ from them in the last digit.
    flat = np.flatnonzero((points == points[:, :1]).all(axis=(1, 2)))
    if len(flat):
        raise ValueError(f"shapes of which all points are equal: {flat[:10].tolist()}")
    shared = np.full_like(radii, radii.max() if scale is None else scale)
    normalizer = Normalizer(centers, shared if normalization == "dataset" else radii)
    return (centred / normalizer.scales).astype(np.float32), normalizer


# Normals ---------------------------------------------------------------------------------------


def normals(points, neighbours=12, of=slice(None)):
    """
    Estimate unit normals of clouds, of either sign (Hoppe et al. 1992): (n, n_points, 3) float32.

    The normal of a point is that of the plane of least squares through its nearest `neighbours`,
    itself included, or through all points where there are fewer. `of` picks the points of each
    cloud whose normals are wanted.
    """
    found = []
    for cloud in np.asarray(points, float):
        near = cKDTree(cloud).query(cloud[of], k=min(neighbours, len(cloud)))[1]
        around = cloud[near] - cloud[near].mean(axis=1, keepdims=True)
        # Eigenvalues ascend: the first vector is across the plane.
        found.append(np.linalg.eigh(around.transpose(0, 2, 1) @ around)[1][..., 0])
    return np.array(found, np.float32)
