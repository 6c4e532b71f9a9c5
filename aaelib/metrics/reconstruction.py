"""How far reconstructions are from their originals."""

import numpy as np

from ..shapes.clouds import normalize
from .distances import as_clouds, chamfer_distance


def reconstruction_chamfer(points, reconstructed):
    """
    Chamfer distance of each reconstruction from its original, in the original's unit sphere.

    Parameters
    ----------
    points : array_like
        (n, n_points, 3), the originals, mm.
    reconstructed : array_like
        (n, m_points, 3), in the same order, mm.

    Returns
    -------
    numpy.ndarray
        (n,), as `chamfer_distance`; comparable with Costa et al. (2022).

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or the numbers of shapes differ.
    """
    unit_points, normalizer = normalize(as_clouds(points, "points"), "unit-sphere")
    reconstructed = as_clouds(reconstructed, "reconstructed")
    if len(reconstructed) != len(unit_points):
        raise ValueError(
            f"{len(unit_points)} originals and {len(reconstructed)} reconstructions; there must be "
            "as many of each"
        )
    return chamfer_distance(unit_points, (reconstructed - normalizer.centers) / normalizer.scales)


def reconstruction_errors(points, reconstructed, meshes):
    """
    How far each reconstruction is from its own original.

    Parameters
    ----------
    points : array_like
        (n, n_points, 3), the originals, mm.
    reconstructed : array_like
        (n, m_points, 3), in the same order, mm.
    meshes : sequence of trimesh.Trimesh
        The originals' surfaces, mm.

    Returns
    -------
    dict of str to numpy.ndarray
        "chamfer", (n,): in the unit sphere of the original, as in Costa et al. (2022);
        "surface_mm", (n,): mean distance in mm of the reconstruction's points to the surface.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or the numbers of shapes differ.
    """
    points, reconstructed = as_clouds(points, "points"), as_clouds(reconstructed, "reconstructed")
    if not len(points) == len(reconstructed) == len(meshes):
        raise ValueError(
            f"{len(points)} originals, {len(reconstructed)} reconstructions and {len(meshes)} "
            "surfaces; there must be as many of each"
        )
    pairs = zip(reconstructed, meshes, strict=True)
    return {
        "chamfer": reconstruction_chamfer(points, reconstructed),
        "surface_mm": np.array([surface_distance(cloud, mesh).mean() for cloud, mesh in pairs]),
    }


def surface_distance(points, mesh):
    """
    Distance of each point to the nearest point on a mesh's faces.

    Parameters
    ----------
    points : array_like
        (n_points, 3), in the mesh's unit.
    mesh : trimesh.Trimesh

    Returns
    -------
    numpy.ndarray
        (n_points,) float64, unsigned, in the mesh's unit.

    Raises
    ------
    ValueError
        If `points` is not (n_points, 3) and finite.
    """
    from trimesh.proximity import closest_point

    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {points.shape}; expected one cloud, (n_points, 3)")
    return closest_point(mesh, as_clouds(points[None], "points")[0])[1]
