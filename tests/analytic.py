"""Shapes that are known, for the tests: capsules with wavy walls, on small grids; ellipsoids."""

import numpy as np
import trimesh

from aaelib.shapes.sockets import SocketSurface


def socket(length=200.0, radius=50.0, wave=0.0, tilt=0.0, n_angles=24, n_heights=16):
    """
    A hemisphere with a cylinder on it; mm.

    `wave` moves the wall in and out three times around it; at the brim by so many mm, at the distal
    pole not at all. `tilt` raises the brim's one side, and lowers the other, by so many mm.
    """
    angles = np.linspace(0, 2 * np.pi, n_angles, endpoint=False)[:, None]
    share = np.linspace(0, 1, n_heights)
    end = np.pi / 2 + (length - radius) / radius
    arcs = end * share
    rho = radius * np.where(arcs < np.pi / 2, np.sin(arcs), 1) + wave * share * np.cos(3 * angles)
    z = radius * np.where(arcs < np.pi / 2, 1 - np.cos(arcs), 1 + arcs - np.pi / 2)
    x, y, z = np.broadcast_arrays(
        rho * np.cos(angles), rho * np.sin(angles), z + tilt * share * np.cos(angles)
    )
    return SocketSurface(np.stack([x, y, z], axis=-1))


GRID = {"n_angles": 72, "n_heights": 48}  # as of fitted surfaces
CAPSULES = socket(**GRID).vertices
# Capsules that are 20 mm longer, and 4 mm wider.
CAPSULE_MODES = [
    socket(length=220, **GRID).vertices - CAPSULES,
    socket(radius=54, **GRID).vertices - CAPSULES,
]


def sockets(n, seed=0, length=200.0, radius=50.0):
    """As many that differ in all that `socket` can vary."""
    rng = np.random.default_rng(seed)
    return [
        socket(length * rng.uniform(0.8, 1.2), radius * rng.uniform(0.9, 1.1), *rng.normal(0, 5, 2))
        for _ in range(n)
    ]


def capsule(weights, wave=0.0):
    """A capsule of these modes, whose wall may have a wave that they have not."""
    modes = np.tensordot(weights, CAPSULE_MODES, 1)
    return SocketSurface(socket(wave=wave, **GRID).vertices + modes)


def lipped(radius, length=150.0, down=20, n_angles=36):
    """A capsule whose brim turns outwards and down in a half circle, and so many mm further."""
    wall = socket(length, n_angles=n_angles, n_heights=30).vertices
    turn, further = np.linspace(np.pi, 0, 16)[1:], np.arange(5, down + 1, 5)
    rho = np.append(50 + radius * (1 + np.cos(turn)), np.full(len(further), 50 + 2 * radius))
    z = np.append(length + radius * np.sin(turn), length - further)
    angles = np.linspace(0, 2 * np.pi, n_angles, endpoint=False)[:, None]
    lip = np.stack(np.broadcast_arrays(rho * np.cos(angles), rho * np.sin(angles), z), axis=-1)
    return SocketSurface(np.concatenate([wall, lip], axis=1))


def lidded(mesh):
    """Close a mesh at its brim by a lid."""
    rim = mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]
    middle = mesh.vertices[rim[:, 0]].mean(axis=0)
    lid = np.column_stack([rim[:, ::-1], np.full(len(rim), len(mesh.vertices))])
    return trimesh.Trimesh(np.vstack([mesh.vertices, middle]), np.vstack([mesh.faces, lid]))


def directions(rng, *shape):
    """Random unit vectors."""
    found = rng.normal(size=(*shape, 3))
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def ellipsoids(n, n_points, low, high, seed=0):
    """Points of ellipsoids of random half-axes."""
    rng = np.random.default_rng(seed)
    return directions(rng, n, n_points) * rng.uniform(low, high, (n, 1, 3))


def family(n=12, seed=0):
    """Surfaces with exactly two modes of variation: length, and the tilt of the brim."""
    mean = socket().vertices
    modes = [socket(230).vertices - mean, socket(tilt=30).vertices - mean]
    weights = np.random.default_rng(seed).normal(size=(n, 2))
    return [SocketSurface(mean + np.tensordot(w, modes, 1)) for w in weights]
