"""Errors of reconstructed shapes."""

import numpy as np
from trimesh.proximity import closest_point

from ..shapes.clouds import normalize
from .distances import as_clouds, chamfer_distance


def reconstruction_chamfer(points, reconstructed):
    """Chamfer distances (n,) in the unit sphere of each original, as in Costa et al. (2022)."""
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
    Errors of each reconstruction: "chamfer" as `reconstruction_chamfer`, and "surface_mm".

    The latter is the mean distance (n,), in mm, of its points to the original's surface, a mesh.
    """
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
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points has shape {points.shape}; expected one cloud, (n_points, 3)")
    return closest_point(mesh, as_clouds(points[None], "points")[0])[1]
