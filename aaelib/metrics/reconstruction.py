"""Errors of reconstructed shapes."""

import numpy as np

from ..shapes.clouds import as_points, normalize
from ..shapes.meshes import nearest_on
from .distances import chamfer_distance, check_counterparts


def reconstruction_chamfer(points, reconstructed):
    """Chamfer distances (n,) in the unit sphere of each original, as in Costa et al. (2022)."""
    points, reconstructed = as_points(points), as_points(reconstructed, "reconstructed")
    check_counterparts(points, reconstructed)
    unit_points, normalizer = normalize(points, "unit-sphere")
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
    return nearest_on(mesh, as_points(points, ndim=2))[1]
