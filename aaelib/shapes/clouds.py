"""Point clouds: resample a mesh, normalise and undo it, jitter and rotate."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from . import meshes

NORMALIZATIONS = ("dataset", "unit-sphere")

# Candidates per point that is kept, and steps of Lloyd's algorithm. More of either lowers the
# Chamfer distance of two samplings of one socket by less than 2 %.
_CANDIDATES = 10
_LLOYD_STEPS = 3
_FACES_AT_ONCE = 2**18


# Resampling -----------------------------------------------------------------------------------


def resample(mesh, n_points=2048, seed=0):
    """
    Evenly spread points on the surface of a mesh.

    A dense sample of the surface, ten times `n_points` and stratified by area, is shared out
    among as many cells by a few steps of Lloyd's algorithm (Lloyd, 1982: every point moves to the
    centroid of what is nearest to it). The point kept of each cell is the dense one nearest to its
    centroid, so that points lie on the surface and no two are the same. A cell may lose all of its
    dense points, on strongly bent surfaces at times one in thousands: its point stays a centroid, a
    little off the surface.

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
        (n_points, 3) float32, in the mesh's unit.

    Raises
    ------
    ValueError
        If the file cannot be read, or the mesh has no faces, no area or values that are not
        finite, or `n_points` is not positive.
    """
    if n_points < 1:
        raise ValueError(f"n_points is {n_points}; it must be 1 or more")
    vertices, faces, areas = _surface(mesh)
    dense = _stratified_sample(vertices, faces, areas, _CANDIDATES * n_points, seed)
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
    points = _nearest_member(dense, cells, points)
    return points.astype(np.float32)


def _surface(mesh):
    """Vertices (n, 3), faces (m, 3) and their areas (m,) of a mesh or a mesh file."""
    name = "the mesh"
    if isinstance(mesh, str | Path):
        name = str(mesh)
        vertices, faces = meshes.read(mesh)
    else:
        vertices, faces = mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray)
    if not len(faces):
        raise ValueError(
            f"{name} has no faces, so it has no surface to put points on; save it as a mesh of "
            "triangles, or a cloud of points as .npy"
        )
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(
            f"{name} has faces of vertices that it does not have (it has {len(vertices)}); write "
            "it again"
        )
    areas = np.empty(len(faces))
    # Part by part: the triangles of all faces take several times the memory of the mesh.
    for start in range(0, len(faces), _FACES_AT_ONCE):
        part = slice(start, start + _FACES_AT_ONCE)
        triangles = vertices[faces[part]].astype(np.float64)
        if not (np.abs(triangles) <= np.finfo(np.float32).max).all():
            raise ValueError(
                f"{name} has vertices that are not finite (in single precision); repair it"
            )
        areas[part] = trimesh.triangles.area(triangles)
    if not areas.sum() > 0:
        raise ValueError(
            f"{name} has no area: all of its {len(faces)} faces are degenerate; repair it"
        )
    return vertices, faces, areas


def _stratified_sample(vertices, faces, areas, count, seed):
    """
    Random points, one in each of `count` strata of equal area, in the order of the faces.

    Places within a triangle follow Osada et al. (2002), equation 1.
    """
    rng = np.random.default_rng(seed)
    cumulative = np.cumsum(areas)
    strata = (np.arange(count) + rng.random(count)) * (cumulative[-1] / count)
    chosen = np.minimum(np.searchsorted(cumulative, strata), len(areas) - 1)
    along, across = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    a, b, c = vertices[faces[chosen]].astype(np.float64).transpose(1, 0, 2)
    return (1 - along) * a + along * (1 - across) * b + along * across * c


def _nearest_member(dense, cells, centroids):
    """Of each cell the member nearest to its centroid; the centroid itself of an empty cell."""
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
    What `normalize` took away, shape by shape: normalized = (points - center) / scale.

    Attributes
    ----------
    centers : numpy.ndarray
        (n, 1, 3) float64, the shapes' centroids, in their own unit (mm).
    scales : numpy.ndarray
        (n, 1, 1) float64, what each was divided by, in their own unit (mm).
    normalization : str
        "dataset" or "unit-sphere".
    """

    centers: np.ndarray
    scales: np.ndarray
    normalization: str

    @property
    def scale(self):
        """
        The one scale of all shapes (mm), for further sets to share.

        Raises
        ------
        ValueError
            If the normalization is not "dataset": then every shape has its own.
        """
        if self.normalization != "dataset":
            raise ValueError(
                f"{self.normalization!r} has no common scale, each shape has its own in `scales`; "
                "normalize with 'dataset' to have one"
            )
        return float(self.scales.flat[0])

    def undo(self, points):
        """
        Give normalized shapes their size and place back.

        Parameters
        ----------
        points : array_like
            (n, n_points, 3), the n shapes that were normalized, in their order, with any number of
            points each. Where one shape was normalized: any number of shapes, or one cloud
            (n_points, 3).

        Returns
        -------
        numpy.ndarray
            float32 of the same shape, in the original unit (mm).

        Raises
        ------
        ValueError
            If `points` are other than that.
        """
        points, is_single = _as_batch(points)
        n = len(self.centers)
        if n != 1 and len(points) != n:
            raise ValueError(
                f"{len(points)} shapes to undo, but {n} were normalized; give as many, or use a "
                "Normalizer of one shape"
            )
        restored = (points * self.scales + self.centers).astype(np.float32)
        return restored[0] if is_single else restored


def normalize(points, normalization="dataset", scale=None):
    """
    Centre shapes on their centroids and divide them by their size.

    Parameters
    ----------
    points : array_like
        (n, n_points, 3), or one cloud (n_points, 3), in any unit (mm).
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
        If `points` have another shape or values that are not finite, a shape has no size (all of
        its points are equal), `normalization` is neither, or `scale` is not positive or is given
        for "unit-sphere".
    """
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization is {normalization!r}; it can be one of {NORMALIZATIONS}")
    if scale is not None and normalization != "dataset":
        raise ValueError(f"a scale is for 'dataset'; {normalization!r} takes each shape's own")
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale is {scale}; it must be positive and finite")
    points, is_single = _as_batch(points)
    centers = points.mean(axis=1, keepdims=True)
    centred = points - centers
    radii = np.sqrt((centred**2).sum(axis=2).max(axis=1))[:, None, None]
    _check_sizes(points)
    if normalization == "dataset":
        scales = np.full_like(radii, radii.max() if scale is None else scale)
    else:
        scales = radii
    normalized = (centred / scales).astype(np.float32)
    normalizer = Normalizer(centers, scales, normalization)
    return (normalized[0] if is_single else normalized), normalizer


def _as_batch(points):
    """Shapes as (n, n_points, 3) float64, and whether they came as one cloud (n_points, 3)."""
    points = np.asarray(points)
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or points.size == 0:
        raise ValueError(f"points have shape {points.shape}, not (n, n_points, 3) or (n_points, 3)")
    is_single = points.ndim == 2
    points = points[None] if is_single else points
    points = points.astype(np.float64)
    if not np.isfinite(points).all():
        bad = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
        raise ValueError(f"{len(bad)} shapes have values that are not finite: {bad[:10].tolist()}")
    return points, is_single


def _check_sizes(points):
    # Compared as they are: the mean of equal points may differ from them in the last digit.
    flat = np.flatnonzero((points == points[:, :1]).all(axis=(1, 2)))
    if len(flat):
        raise ValueError(
            f"{len(flat)} shapes have no size, all of their points are equal: {flat[:10].tolist()}"
        )


# Augmentation ---------------------------------------------------------------------------------


def jitter(points, sigma=0.02, clip=None, seed=None):
    """
    Add independent Gaussian noise to every coordinate (Qi et al., 2017, PointNet, section 5.1).

    Parameters
    ----------
    points : array_like
        (n, n_points, 3) or (n_points, 3).
    sigma : float
        Standard deviation, in the unit of `points`; the default suits normalized ones.
    clip : float, optional
        Largest noise, in the same unit; PointNet's is 0.05.
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape.
    """
    points = np.asarray(points, np.float32)
    noise = np.random.default_rng(seed).normal(0.0, sigma, points.shape)
    if clip is not None:
        noise = np.clip(noise, -clip, clip)
    return points + noise.astype(np.float32)


def rotate(points, angles=None, seed=None):
    """
    Rotate shapes about the z axis, a socket's long axis, counterclockwise seen from above.

    Parameters
    ----------
    points : array_like
        (n, n_points, 3) or (n_points, 3); the axis passes through their origin.
    angles : array_like, optional
        (n,) radians, or one for all shapes. By default each shape's is drawn uniformly from
        [0, 2 pi).
    seed : int, optional
        Seed of the draw.

    Returns
    -------
    numpy.ndarray
        float32 of the same shape.
    """
    points = np.asarray(points)
    if angles is None:
        angles = np.random.default_rng(seed).uniform(0.0, 2 * np.pi, points.shape[:-2])
    cos, sin = np.cos(angles)[..., None], np.sin(angles)[..., None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    turned = np.stack([cos * x - sin * y, sin * x + cos * y, z + 0 * cos], axis=-1)
    return turned.astype(np.float32)


def normals(points, neighbours=12):
    """
    Unit normals of clouds, of either sign, by principal component analysis (Hoppe et al. 1992).

    Parameters
    ----------
    points : (n, n_points, 3) array
    neighbours : int
        Points around each, itself included, whose plane of least squares gives its normal; all
        points where there are fewer.

    Returns
    -------
    (n, n_points, 3) float32 array
    """
    found = []
    for cloud in np.asarray(points, float):
        near = cKDTree(cloud).query(cloud, k=min(neighbours, len(cloud)))[1]
        around = cloud[near] - cloud[near].mean(axis=1, keepdims=True)
        # Eigenvalues ascend: the first vector is across the plane.
        found.append(np.linalg.eigh(around.transpose(0, 2, 1) @ around)[1][..., 0])
    return np.array(found, np.float32)
