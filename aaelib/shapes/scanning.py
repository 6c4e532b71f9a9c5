"""Sockets as they are scanned: turned, cut off, uneven, noisy, of either leg."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

MIRROR = np.diag([1.0, -1, 1])  # a right leg's socket to a left leg's

_UNEVEN = 1.5  # points are up to exp(this) times denser or thinner than on average, about


@dataclass(frozen=True)
class Spoiling:
    """
    How a scan differs from a socket that stands upright at the origin.

    Attributes
    ----------
    missing : float
        Share of the points that are missing, [0, 1): in a round hole, or cut off at the brim.
    noise : float
        Standard deviation on each coordinate, mm.
    outliers : float
        Share of points anywhere in the scan's box and a tenth beyond it, [0, 1].
    n_points : int
        Of the scan.
    uneven : bool
        Whether points are denser on one side.
    tilt, turn : float
        Largest angle between the long axis and z, and about it, degrees.
    shift : float
        Largest coordinate of its place, mm.
    mirrored : bool
        Whether half of the scans are of left legs.
    """

    missing: float = 0.0
    noise: float = 0.0
    outliers: float = 0.0
    n_points: int = 2048
    uneven: bool = True
    tilt: float = 20.0
    turn: float = 180.0
    shift: float = 30.0
    mirrored: bool = True


@dataclass(frozen=True)
class Scanned:
    """
    A simulated scan, and the truth about it.

    Attributes
    ----------
    points : numpy.ndarray
        (n_points, 3), mm.
    motion : numpy.ndarray
        (4, 4), from the upright right leg's socket to the scan; a reflection if it is a left leg's.
    missing : numpy.ndarray
        Mask of the socket's points that the scan has no part of.
    """

    points: np.ndarray
    motion: np.ndarray
    missing: np.ndarray


def scan(points, how, rng):
    """
    Simulate the scan of a socket.

    Parameters
    ----------
    points : (n, 3) array
        Of an upright right leg's socket, mm, its centroid at the origin.
    how : Spoiling
    rng : numpy.random.Generator

    Returns
    -------
    Scanned
    """
    missing = _missing(points, how.missing, rng)
    left = np.flatnonzero(~missing)
    # The largest of Gumbel variables plus log weights: a draw by these weights.
    strength, side = how.uneven * _UNEVEN * rng.random(), rng.normal(size=3)
    weights = strength * (side / np.linalg.norm(side) * points[left]).sum(axis=1)
    weights /= np.linalg.norm(points, axis=1).max()
    order = np.argsort(rng.gumbel(size=len(left)) + weights)[::-1]
    chosen = points[left[np.resize(order, how.n_points)]]
    chosen = chosen + how.noise * rng.normal(size=chosen.shape)
    low, size = chosen.min(axis=0), np.ptp(chosen, axis=0)
    stray = rng.random(len(chosen)) < how.outliers
    anywhere = low - 0.1 * size + 1.2 * size * rng.random(chosen.shape)
    motion = _motion(how, rng)
    placed = np.where(stray[:, None], anywhere, chosen) @ motion[:3, :3].T + motion[:3, 3]
    return Scanned(placed, motion, missing)


def _missing(points, share, rng):
    """Mask of the points in a round hole, or above a slanted cut, each as often."""
    if rng.random() < 0.5:
        distances = np.linalg.norm(points - points[rng.integers(len(points))], axis=1)
    else:
        slant = 0.3 * (2 * rng.random(2) - 1)  # of up to 17 degrees each way
        distances = -points @ [*slant, 1]
    ranks = distances.argsort(kind="stable").argsort(kind="stable")
    return ranks < round(share * len(points))


def _motion(how, rng):
    """A random motion, or a reflection."""
    tilt = np.radians(how.tilt) * rng.random()
    across = 2 * np.pi * rng.random()
    tilted = Rotation.from_rotvec(tilt * np.array([np.cos(across), np.sin(across), 0]))
    turned = Rotation.from_rotvec([0, 0, np.radians(how.turn) * (2 * rng.random() - 1)])
    is_left = how.mirrored and rng.random() < 0.5
    motion = np.eye(4)
    motion[:3, :3] = (tilted * turned).as_matrix() @ (MIRROR if is_left else np.eye(3))
    motion[:3, 3] = how.shift * (2 * rng.random(3) - 1)
    return motion


def positions():
    """Eight rotations about z in equal steps, as they are and after mirroring: (16, 3, 3)."""
    turned = Rotation.from_euler("z", 45.0 * np.arange(8)[:, None], degrees=True).as_matrix()
    return np.concatenate([turned, turned @ MIRROR])
