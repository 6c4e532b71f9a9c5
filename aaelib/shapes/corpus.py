"""A procedural corpus of everyday surfaces, to pre-train on where there is no ModelNet."""

import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import trimesh
from scipy.interpolate import PchipInterpolator
from tqdm.auto import tqdm
from trimesh.transformations import rotation_matrix

from . import clouds
from .writing import replacing

SECTIONS = 40  # of a surface of revolution: its chord is within 0.4 % of the radius of the arc


def generate(n_per_family, n_points=2048, seed=0):
    """
    Draw everyday surfaces as point clouds, the bundled stand-in for ModelNet.

    Each shape has a random stream of its own, spawned from the seed, the family's name and the
    shape's index in the family. So more shapes of a family begin with the same ones as fewer, and a
    new family does not change the others.

    Parameters
    ----------
    n_per_family : int
        Shapes to draw of every family in `FAMILIES`, at least 1.
    n_points : int
        Points of a cloud, evenly spread over its surface.
    seed : int
        Same seed, same corpus. Not negative.

    Returns
    -------
    points : ndarray of float32, shape (n, n_points, 3)
        Clouds, each centred on its centroid and scaled so that its farthest point lies on the unit
        sphere. z points up. Family by family, in the order of `FAMILIES`.
    labels : ndarray of str, shape (n,)
        The family of each cloud.

    Raises
    ------
    ValueError
        If `n_per_family` is smaller than 1.
    """
    if n_per_family < 1:
        raise ValueError(f"n_per_family is {n_per_family}; a corpus needs 1 shape of each or more")
    shapes = [(family, index) for family in FAMILIES for index in range(n_per_family)]
    points = []
    for family, index in tqdm(shapes, desc="corpus", unit="shape", leave=False):
        mesh, sampling_seed = draw_mesh(family, index, seed)
        points.append(clouds.resample(mesh, n_points, seed=sampling_seed))
    points = clouds.normalize(np.stack(points), normalization="unit-sphere")[0]
    return points, np.array([family for family, _ in shapes])


def export(folder, n_per_family, families, seed=0):
    """
    Write everyday surfaces as meshes, an example of a folder of shapes.

    Parameters
    ----------
    folder : str or Path
        Created if missing. It gets a sub-folder for each family, with files ``vase_0000.stl`` and
        so on.
    n_per_family : int
        Meshes of each family, the same that `generate` puts points on.
    families : sequence of str
        Names in `FAMILIES`.
    seed : int

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        For an unknown family.
    """
    if unknown := sorted(set(families) - FAMILIES.keys()):
        raise ValueError(f"unknown families {unknown}; accepted: {', '.join(FAMILIES)}")
    for family in families:
        for index in range(n_per_family):
            file = Path(folder, family, f"{family}_{index:04d}.stl")
            with replacing(file) as temporary:
                draw_mesh(family, index, seed)[0].export(temporary)
    return Path(folder)


def draw_mesh(family, index, seed=0):
    """
    Draw a shape as a mesh.

    Parameters
    ----------
    family : str
        A name in `FAMILIES`.
    index : int
        Of the shape in its family, 0 or more.
    seed : int

    Returns
    -------
    mesh : trimesh.Trimesh
        z points up, the unit is arbitrary.
    sampling_seed : int
        Seed of the points that `generate` puts on it.
    """
    # A checksum, because Python's own hash of a name changes from process to process.
    streams = np.random.SeedSequence([seed, zlib.crc32(family.encode()), index]).spawn(2)
    parts = _Parts()
    FAMILIES[family](np.random.default_rng(streams[0]), parts)
    return parts.joined(), int(streams[1].generate_state(1)[0])


# Parts -------------------------------------------------------------------------------------------


class _Parts(list):
    """Meshes that make a shape together."""

    def box(self, size, x=0.0, y=0.0, z=0.0):
        """Add axis-aligned boxes of `size`, the centres of their bottom faces at places."""
        for base in np.broadcast(x, y, z):
            corner = base - np.array([size[0] / 2, size[1] / 2, 0.0])
            self.append(trimesh.creation.box(bounds=[corner, corner + size]))

    def rod(self, start, end, radius):
        """Add a round rod between two points."""
        segment = [start, end]
        self.append(trimesh.creation.cylinder(radius=radius, segment=segment, sections=16))

    def joined(self):
        # Of one mesh alone the normals would be computed again, and differ in the last digits.
        return trimesh.util.concatenate(self) if len(self) > 1 else self[0]


def _draw(rng, *ranges):
    """Draw a number from each range (low, high)."""
    return [rng.uniform(low, high) for low, high in ranges]


def _smooth(heights, radii, samples=24):
    """Draw a (radius, height) profile (samples, 2) through knots, monotone between two of them."""
    z = np.linspace(heights[0], heights[-1], samples)
    # Shape-preserving (Fritsch & Carlson, 1980): a radius never overshoots to below zero.
    return np.column_stack([PchipInterpolator(heights, radii)(z), z])


def _revolve(*profiles):
    """Revolve (radius, height) profiles, one after the other, around z."""
    return trimesh.creation.revolve(np.vstack(profiles), sections=SECTIONS)


def _vessel(outer, thickness):
    """Open vessel: outer wall, rim, inner wall and floor, from the outer profile upwards."""
    floor = outer[0, 1] + thickness
    inner = outer[outer[:, 1] > floor][::-1] - [thickness, 0.0]
    inner = np.maximum(inner, [0.2 * thickness, -np.inf])
    return _revolve([0.0, outer[0, 1]], outer, inner, [inner[-1, 0], floor], [0.0, floor])


def _tube(outer, thickness):
    """Thin-walled surface of revolution, open at both ends."""
    return _revolve(outer, outer[::-1] - [thickness, 0.0], outer[:1])


def _disc(radius, thickness, z):
    """Solid round plate, its bottom face at height z."""
    return _revolve([0.0, z], [radius, z], [radius, z + thickness], [0.0, z + thickness])


# Round things ------------------------------------------------------------------------------------


def bowl(rng, parts):
    """Draw a bowl, some on a foot ring, some oval."""
    height, foot, belly = _draw(rng, (0.35, 0.9), (0.25, 0.5), (0.7, 1.05))
    outer = _smooth([0.0, 0.3 * height, 0.65 * height, height], [foot, 0.75 * belly, belly, 1.0])
    if rng.random() < 0.4:
        outer = np.vstack([[foot, -rng.uniform(0.05, 0.2)], outer])
    mesh = _vessel(outer, rng.uniform(0.03, 0.08))
    depth = rng.uniform(0.65, 1.0) if rng.random() < 0.3 else 1.0
    parts.append(mesh.apply_scale([1.0, depth, 1.0]))


def vase(rng, parts):
    """Draw a vase with a belly, a neck and a lip; some are fluted."""
    height = rng.uniform(2.2, 4.5)
    knots = height * np.array([0.0, *_draw(rng, (0.25, 0.5), (0.7, 0.85)), 1.0])
    radii = [rng.uniform(0.35, 0.8), 1.0, *_draw(rng, (0.25, 0.7), (0.4, 0.95))]
    mesh = _vessel(_smooth(knots, radii, samples=36), rng.uniform(0.04, 0.08))
    if rng.random() < 0.35:
        count, depth = rng.integers(5, 11), rng.uniform(0.03, 0.1)
        angles = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0])
        mesh.vertices[:, :2] *= 1 + depth * np.cos(count * angles)[:, None]
    parts.append(mesh)


def lamp(rng, parts):
    """Draw a table lamp or a floor lamp: base, stem and a conical or domed shade."""
    height, base, rise, top = _draw(rng, (2.5, 6.5), (0.55, 0.95), (0.9, 1.6), (0.35, 0.95))
    z = height - 0.75 * rise
    middle = (1 + top) / 2 + rng.uniform(-0.1, 0.2)
    shade = _smooth([z, z + rise / 2, z + rise], [1.0, min(middle, 1.0), top], samples=10)
    if rng.random() < 0.5:
        parts.append(_disc(base, rng.uniform(0.08, 0.25), 0.0))
        parts.rod([0, 0, 0], [0, 0, height], rng.uniform(0.04, 0.1))
    else:
        knots = height * np.array([0.0, *_draw(rng, (0.15, 0.35), (0.5, 0.65)), 1.0])
        radii = [base * 0.8, *_draw(rng, (0.3, 0.8), (0.08, 0.2)), 0.06]
        parts.append(_revolve([0.0, 0.0], _smooth(knots, radii), [0.0, height]))
    parts.append(_tube(shade, 0.03))


def funnel(rng, parts):
    """Draw a funnel: a cone that runs into a spout, open at both ends."""
    cone, spout, hole, rim = _draw(rng, (0.7, 1.6), (0.5, 1.6), (0.1, 0.25), (0.0, 0.3))
    outer = [[0.8 * hole, -spout], [hole, 0.0], [1.0, cone], [1.0, cone + rim]]
    steps = np.linspace(0, 3, 19)
    outer = np.column_stack([np.interp(steps, range(4), column) for column in np.transpose(outer)])
    parts.append(_tube(outer, rng.uniform(0.02, 0.05)))


def bucket(rng, parts):
    """Draw a bucket with its bail raised to some angle."""
    height, base = _draw(rng, (1.0, 2.8), (0.5, 0.98))
    parts.append(_vessel(_smooth([0.0, height], [base, 1.0]), rng.uniform(0.03, 0.06)))
    turn, lift = np.linspace(0, np.pi, 15), rng.uniform(0.15, np.pi / 2)
    bow = rng.uniform(0.9, 1.2) * np.sin(turn)
    path = np.column_stack([np.cos(turn), bow * np.cos(lift), 0.95 * height + bow * np.sin(lift)])
    for start, end in pairwise(path):
        parts.rod(start, end, 0.035)


def candlestick(rng, parts):
    """Draw a turned candlestick with a drip pan, most with a candle in it."""
    height, beads = rng.uniform(1.8, 4.0), rng.integers(1, 5)
    z = np.linspace(0.12, 0.9, 2 * beads + 1) * height
    thick, thin = rng.uniform(0.15, 0.35, len(z)), rng.uniform(0.07, 0.13, len(z))
    radii = np.where(np.arange(len(z)) % 2, thick, thin)
    base = rng.uniform(0.55, 1.0)
    foot = [[0.0, 0.0], [base, 0.0], [base, 0.04 * height]]
    parts.append(_revolve(foot, _smooth(z, radii, samples=12 * beads), [0.0, z[-1]]))
    pan = _smooth([z[-1], z[-1] + 0.15], [0.15, rng.uniform(0.3, 0.6)], samples=6)
    parts.append(_vessel(pan, 0.03))
    if rng.random() >= 0.3:
        parts.rod([0, 0, z[-1]], [0, 0, z[-1] + rng.uniform(0.5, 1.6)], 0.1)


def goblet(rng, parts):
    """Draw a stemmed glass: foot, stem, bowl."""
    stem, height, mouth, foot = _draw(rng, (0.6, 2.2), (1.0, 2.2), (0.6, 1.1), (0.6, 0.95))
    levels = [stem, stem + 0.25 * height, stem + 0.6 * height, stem + height]
    base = [[0.0, 0.0], [foot, 0.0], [foot, 0.05]]
    lower = _smooth([0.06, 0.3 * stem, 0.8 * stem, stem], [0.8 * foot, 0.1, 0.09, 0.12], samples=16)
    upper = _smooth(levels, [0.12, 0.75, 1.0, mouth], samples=20)
    parts += [_revolve(base, lower, [0.0, stem]), _vessel(upper, 0.04)]


# Furniture ---------------------------------------------------------------------------------------


def desk(rng, parts):
    """Draw a desk: a top on one or two pedestals of drawers, the rest on panels or legs."""
    depth, height, plate, wide = _draw(rng, (0.4, 0.65), (0.42, 0.6), (0.025, 0.05), (0.2, 0.32))
    parts.box([1.0, depth, plate], z=height)
    sides = [-1, 1] if rng.random() < 0.4 else [rng.choice([-1, 1])]
    foot, drawers = rng.uniform(0.0, 0.12), rng.integers(2, 5)
    for side in sides:
        x = side * (0.49 - wide / 2)
        parts.box([wide, 0.94 * depth, height - foot], x, z=foot)
        z = foot + (np.arange(drawers) + 0.5) * (height - foot) / drawers
        parts.box([0.4 * wide, 0.04, 0.02], x, -0.5 * depth, z)
    if len(sides) == 1:
        x = -sides[0] * 0.47
        if rng.random() < 0.5:
            parts.box([0.04, 0.94 * depth, height], x)
        else:
            parts.box([0.045, 0.045, height], x, np.array([-0.44, 0.44]) * depth)
    if rng.random() < 0.6:
        drop = rng.uniform(0.3, 0.8) * height
        parts.box([0.96, 0.02, drop], y=0.42 * depth, z=height - drop)


def stool(rng, parts):
    """Draw a stool: a round or square seat on three or four splayed legs, most with a ring."""
    height, plate = _draw(rng, (0.8, 2.4), (0.06, 0.25))
    count = rng.integers(3, 6)
    if rng.random() < 0.7:
        parts.append(_disc(0.5, plate, height))
    else:
        parts.box([0.95, 0.95, plate], z=height)
    radius, spread = _draw(rng, (0.03, 0.06), (0.4, 0.65))
    angles = 2 * np.pi * np.arange(count) / count
    for way in np.column_stack([np.cos(angles), np.sin(angles)]):
        parts.rod([*(spread * way), 0], [*(0.35 * way), height], radius)
    if rng.random() < 0.7:
        level = rng.uniform(0.2, 0.5)
        reach = spread + (0.35 - spread) * level
        ring = trimesh.creation.torus(reach, 0.6 * radius, major_sections=24, minor_sections=8)
        parts.append(ring.apply_translation([0, 0, level * height]))


def bookshelf(rng, parts):
    """Draw a bookshelf with 2 to 6 boards, some with a back panel or an upright divider."""
    width, depth, height, board = _draw(rng, (0.5, 1.2), (0.2, 0.4), (0.9, 1.9), (0.02, 0.05))
    levels = np.linspace(0, height - board, rng.integers(3, 8))
    parts.box([width, depth, board], z=levels)
    parts.box([board, depth, height], np.array([-1, 1]) * (width - board) / 2)
    if rng.random() < 0.6:
        parts.box([width, 0.015, height], y=depth / 2)
    if rng.random() < 0.4:
        parts.box([board, depth, height], rng.uniform(-0.25, 0.25) * width)


def box(rng, parts):
    """Draw an open carton, each of its four flaps at an angle of its own."""
    depth, height, share = _draw(rng, (0.5, 1.0), (0.3, 1.0), (0.25, 0.5))
    flap = [0.02, share * depth]
    parts.box([1.0, depth, 0.02])
    for quarter, (length, reach) in enumerate([(1.0, depth), (depth, 1.0)] * 2):
        side, lid = _Parts(), _Parts()
        lid.box([length, *flap])
        swing = rotation_matrix(rng.uniform(0.2, 2.4), [1, 0, 0])
        side.box([length, 0.02, height], y=-reach / 2)
        side.append(lid[0].apply_transform(swing).apply_translation([0, -reach / 2, height]))
        turn = rotation_matrix(quarter * np.pi / 2, [0, 0, 1])
        parts.append(side.joined().apply_transform(turn))


_ALL = bookshelf, bowl, box, bucket, candlestick, desk, funnel, goblet, lamp, stool, vase
# Family name -> function of a `numpy.random.Generator` that adds a shape's parts to a `_Parts`.
FAMILIES = {draw.__name__: draw for draw in _ALL}
