"""A procedural corpus of everyday surfaces, to pre-train on where there is no ModelNet."""

import zlib
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
import trimesh
from scipy.interpolate import PchipInterpolator
from shapely import Polygon
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
        mesh, sampling_seed = _drawn(family, index, seed)
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
        so on. Files that are there already stay as they are.
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
    folder = Path(folder)
    for family in families:
        for index in range(n_per_family):
            file = folder / family / f"{family}_{index:04d}.stl"
            mesh = _drawn(family, index, seed)[0].export(file_type="stl")
            # A file that is written again looks new to what is made of it.
            if not (file.exists() and file.read_bytes() == mesh):
                with replacing(file) as temporary:
                    temporary.write_bytes(mesh)
    return folder


def _drawn(family, index, seed):
    """Draw a mesh, and a seed for the points on it."""
    # A checksum, because Python's own hash of a name changes from process to process.
    streams = np.random.SeedSequence([seed, zlib.crc32(family.encode()), index]).spawn(2)
    mesh = FAMILIES[family](np.random.default_rng(streams[0]))
    return mesh, int(streams[1].generate_state(1)[0])


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


def _around(count, start=0.0):
    """Space points (count, 2) evenly on the unit circle."""
    angles = start + 2 * np.pi * np.arange(count) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _spread(count, width):
    """Space the middles of equal parts of a width evenly around 0."""
    return (np.arange(count) - (count - 1) / 2) * width / count


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


def _legs(rng, parts, width, depth, height, radius, count=4):
    """Round or square legs that carry a top of width x depth at `height`; upright or splayed."""
    corners = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)])
    tops = corners if count == 4 else _around(count, start=np.pi / 2)
    tops = tops * [width / 2, depth / 2] * (1 - 2 * radius / min(width, depth))
    if rng.random() < 0.5:
        parts.box([2 * radius, 2 * radius, height], *tops.T)
        return
    splay = rng.uniform(1.0, 1.25)
    for top in tops:
        parts.rod([*(splay * top), 0.0], [*top, height], radius)


def _back(rng, width, height, thickness):
    """Back of a seat, standing on the origin: one panel, upright slats, or rungs between posts."""
    parts, kind, count = _Parts(), rng.integers(3), rng.integers(3, 7)
    if kind == 0:
        parts.box([width, thickness, height])
    elif kind == 1:
        x = np.linspace(-0.5, 0.5, count) * (width - thickness)
        parts.box([0.3 * width / count, thickness, height], x)
        parts.box([width, thickness, 0.15 * height], z=0.85 * height)
    else:
        x = np.array([-0.5, 0.5]) * (width - thickness)
        parts.box([thickness, thickness, height], x)
        z = np.linspace(0.25, 0.88, count - 1) * height
        parts.box([width, 0.6 * thickness, 0.35 * height / count], z=z)
    return parts.joined()


def _superelliptic(mesh, exponent):
    """Turn a mesh's round sections into squarish ones (Lame's superellipse)."""

    def stretch(angle):
        sides = np.abs(np.cos(angle)) ** exponent + np.abs(np.sin(angle)) ** exponent
        return sides ** (-1 / exponent)

    return _stretched(mesh, stretch)


def _stretched(mesh, factor):
    """Multiply the radius of a mesh by a function of the angle around z."""
    x, y, z = mesh.vertices.T
    by = factor(np.arctan2(y, x))
    return trimesh.Trimesh(np.column_stack([x * by, y * by, z]), mesh.faces, process=False)


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


def cup(rng, parts):
    """Draw a cup with a handle: from a tea cup to a tankard, some on a saucer."""
    height, base, waist = _draw(rng, (1.0, 3.4), (0.45, 1.0), (0.75, 1.15))
    outer = _smooth([0.0, 0.5 * height, height], [base, waist, 1.0])
    reach, grip = _draw(rng, (0.4, 0.75), (0.06, 0.11))
    low, high = height * np.array(_draw(rng, (0.15, 0.3), (0.7, 0.9)))
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    start, stop = np.interp([low, high], outer[:, 1], outer[:, 0]) - 0.04
    z = (low + high) / 2 + (high - low) / 2 * np.sin(turn)
    path = np.column_stack([np.linspace(start, stop, 14) + reach * np.cos(turn), np.zeros(14), z])
    handle = trimesh.creation.sweep_polygon(Polygon(grip * _around(8)), path)
    parts += [_vessel(outer, rng.uniform(0.05, 0.1)), handle]
    if height < 2.0 and rng.random() < 0.5:
        parts.append(_vessel(_smooth([-0.1, 0.15], [0.6, rng.uniform(1.3, 1.7)], samples=8), 0.05))


def vase(rng, parts):
    """Draw a vase with a belly, a neck and a lip; some are fluted."""
    height = rng.uniform(2.2, 4.5)
    knots = height * np.array([0.0, *_draw(rng, (0.25, 0.5), (0.7, 0.85)), 1.0])
    radii = [rng.uniform(0.35, 0.8), 1.0, *_draw(rng, (0.25, 0.7), (0.4, 0.95))]
    mesh = _vessel(_smooth(knots, radii, samples=36), rng.uniform(0.04, 0.08))
    if rng.random() < 0.35:
        count, depth = rng.integers(5, 11), rng.uniform(0.03, 0.1)
        mesh = _stretched(mesh, lambda angle: 1 + depth * np.cos(count * angle))
    parts.append(mesh)


def bottle(rng, parts):
    """Draw a bottle with shoulders, a neck and a cap; some are squarish."""
    height, shoulder, neck, waist = _draw(rng, (3.0, 6.0), (0.5, 0.72), (0.25, 0.45), (0.8, 1.0))
    neck_at = rng.uniform(shoulder + 0.08, 0.88)
    knots = height * np.array([0.0, 0.03, 0.5 * shoulder, shoulder, neck_at, 1.0])
    wall = _smooth(knots, [0.85, 1.0, waist, 1.0, neck, neck], samples=40)
    mesh = _revolve([0.0, 0.0], wall, [0, height])
    if rng.random() < 0.35:
        mesh = _superelliptic(mesh, rng.uniform(3.0, 6.0))
    parts += [mesh, _disc(neck * 1.25, rng.uniform(0.04, 0.1) * height, 0.97 * height)]


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


def flower_pot(rng, parts):
    """Draw a flower pot with a collar, on a saucer or bare; some are squarish."""
    height, base, share, lip = _draw(rng, (0.9, 2.4), (0.4, 0.85), (0.15, 0.35), (0.04, 0.12))
    neck = height - share * height
    wall = _smooth([0.0, neck], [base, 1.0 - lip], samples=12)
    pot = _vessel(np.vstack([wall, [1.0, neck], [1.0, height]]), rng.uniform(0.06, 0.12))
    if rng.random() < 0.35:
        pot = _superelliptic(pot, rng.uniform(3.0, 8.0))
    parts.append(pot)
    if rng.random() >= 0.5:
        saucer = _smooth([-0.12, rng.uniform(0.05, 0.2)], [base + 0.1, base + 0.35], samples=6)
        parts.append(_vessel(saucer, 0.05))


def goblet(rng, parts):
    """Draw a stemmed glass: foot, stem, bowl."""
    stem, height, mouth, foot = _draw(rng, (0.6, 2.2), (1.0, 2.2), (0.6, 1.1), (0.6, 0.95))
    levels = [stem, stem + 0.25 * height, stem + 0.6 * height, stem + height]
    base = [[0.0, 0.0], [foot, 0.0], [foot, 0.05]]
    lower = _smooth([0.06, 0.3 * stem, 0.8 * stem, stem], [0.8 * foot, 0.1, 0.09, 0.12], samples=16)
    upper = _smooth(levels, [0.12, 0.75, 1.0, mouth], samples=20)
    parts += [_revolve(base, lower, [0.0, stem]), _vessel(upper, 0.04)]


# Furniture ---------------------------------------------------------------------------------------


def table(rng, parts):
    """Draw a table: round, oval or rectangular, on 3 or 4 legs or on a column."""
    height, depth, plate, radius = _draw(rng, (0.5, 1.2), (0.45, 1.0), (0.03, 0.08), (0.02, 0.05))
    is_round = rng.random() < 0.5
    if is_round:
        parts.append(_disc(0.5, plate, height).apply_scale([1.0, depth, 1.0]))
    else:
        parts.box([1.0, depth, plate], z=height)
    if rng.random() < 0.35:
        parts.rod([0, 0, 0], [0, 0, height], rng.uniform(0.03, 0.09))
        foot = rng.uniform(0.2, 0.35)
        if rng.random() < 0.5:
            parts.append(_disc(min(foot, 0.45 * depth), 0.04, 0.0))
        else:
            for end in foot * _around(rng.integers(3, 6)):
                parts.rod([0, 0, 0.12], [*end, 0], 0.03)
        return
    shrink = 0.72 if is_round else 0.96
    count = 3 if is_round and rng.random() < 0.5 else 4
    _legs(rng, parts, shrink, shrink * depth, height, radius, count)


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


def chair(rng, parts):
    """Draw a chair on four legs, with or without arms; the back is a panel, slats or rungs."""
    width, depth, seat, rise = _draw(rng, (0.85, 1.15), (0.85, 1.1), (0.8, 1.1), (0.7, 1.5))
    plate, radius = _draw(rng, (0.06, 0.16), (0.035, 0.07))
    parts.box([width, depth, plate], z=seat)
    _legs(rng, parts, width, depth, seat, radius)
    lean = rotation_matrix(-rng.uniform(0.0, 0.3), [1, 0, 0])
    back = _back(rng, width, rise, 0.08).apply_transform(lean)
    parts.append(back.apply_translation([0, depth / 2 - 0.04, seat + plate]))
    if rng.random() < 0.4:
        rise = rng.uniform(0.3, 0.5)
        for side in (-1, 1):
            x = side * (width / 2 - 0.04)
            z = seat + plate
            parts.box([0.08, 0.85 * depth, 0.06], x, z=z + rise)
            parts.box([0.06, 0.06, rise], x, -0.38 * depth, z)


def stool(rng, parts):
    """Draw a stool: a round or square seat on three or four splayed legs, most with a ring."""
    height, plate = _draw(rng, (0.8, 2.4), (0.06, 0.25))
    count = rng.integers(3, 6)
    if rng.random() < 0.7:
        parts.append(_disc(0.5, plate, height))
    else:
        parts.box([0.95, 0.95, plate], z=height)
    radius, spread = _draw(rng, (0.03, 0.06), (0.4, 0.65))
    for way in _around(count):
        parts.rod([*(spread * way), 0], [*(0.35 * way), height], radius)
    if rng.random() < 0.7:
        level = rng.uniform(0.2, 0.5)
        reach = spread + (0.35 - spread) * level
        ring = trimesh.creation.torus(reach, 0.6 * radius, major_sections=24, minor_sections=8)
        parts.append(ring.apply_translation([0, 0, level * height]))


def bench(rng, parts):
    """Draw a bench, its seat one plank or several, with or without a back."""
    depth, height, width = _draw(rng, (0.28, 0.45), (0.3, 0.45), (1.0, 1.7))
    planks = rng.integers(1, 5)
    parts.box([width, 0.85 * depth / planks, 0.04], y=_spread(planks, depth), z=height)
    if rng.random() < 0.5:
        parts.box([0.06, 0.95 * depth, height], np.array([-0.42, 0.42]) * width)
    else:
        _legs(rng, parts, 0.94 * width, depth, height, 0.03)
    if rng.random() < 0.6:
        back = _back(rng, width, rng.uniform(0.3, 0.5), 0.04)
        parts.append(back.apply_translation([0, depth / 2, height]))


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


def bed(rng, parts):
    """Draw a bed: a mattress on a frame with a headboard, most with pillows."""
    width, length, foot, frame = _draw(rng, (0.5, 1.0), (1.1, 1.35), (0.05, 0.2), (0.06, 0.15))
    mattress = rng.uniform(0.08, 0.2)
    top = foot + frame + mattress
    parts.box([width, length, frame], z=foot)
    parts.box([0.96 * width, 0.97 * length, mattress], z=foot + frame)
    parts.box([1.02 * width, 0.05, top + rng.uniform(0.1, 0.5)], y=length / 2)
    _legs(rng, parts, width, length, foot, 0.03)
    if rng.random() < 0.5:
        parts.box([1.02 * width, 0.05, top + rng.uniform(-0.05, 0.2)], y=-length / 2)
    if rng.random() < 0.8:
        count = 1 if width < 0.7 else 2
        size = np.array([0.4 * width / count, 0.14, 0.06])
        for x in _spread(count, width):
            pillow = trimesh.creation.icosphere(subdivisions=2).apply_scale(size)
            parts.append(pillow.apply_translation([x, 0.36 * length, top]))


def sofa(rng, parts):
    """Draw a sofa or an armchair: seat, back, arms, 1 to 4 cushions, some with a chaise."""
    seats = rng.integers(1, 5)
    width, depth = rng.uniform(0.5, 0.75) * seats + 0.1, rng.uniform(0.5, 0.9)
    foot, seat, back, arm = _draw(rng, (0.03, 0.16), (0.15, 0.35), (0.25, 0.75), (0.07, 0.3))
    rise = rng.uniform(0.06, 0.35)
    parts.box([width, depth, seat], z=foot)
    parts.box([width, 0.16, seat + back], y=depth / 2, z=foot)
    for side in (-1, 1):
        x = side * (width + arm) / 2
        parts.box([arm, depth + 0.08, seat + rise], x, 0.04, foot)
        if rng.random() < 0.5:
            z = foot + seat + rise
            parts.rod([x, -depth / 2, z], [x, depth / 2 + 0.08, z], arm / 2)
    x = _spread(seats, width)
    cushion = [0.94 * width / seats, 0.8 * depth, rng.uniform(0.06, 0.12)]
    parts.box(cushion, x, -0.06 * depth, foot + seat)
    _legs(rng, parts, width, depth, foot, 0.03)
    if seats > 1 and rng.random() < 0.4:
        chaise = [width / seats, rng.uniform(0.4, 0.9), seat]
        parts.box(chaise, rng.choice([x[0], x[-1]]), -(depth + chaise[1]) / 2, foot)


def wardrobe(rng, parts):
    """Draw a wardrobe or a dresser: a carcass with doors or drawers, a plinth or feet."""
    width, depth, height, foot = _draw(rng, (0.5, 1.4), (0.3, 0.6), (0.7, 2.1), (0.04, 0.18))
    parts.box([width, depth, height - foot], z=foot)
    _legs(rng, parts, width, depth, foot, 0.035)
    parts.box([1.06 * width, 1.06 * depth, 0.04], z=height)
    columns, rows = rng.integers(1, 4), (1 if height > 1.3 else rng.integers(2, 5))
    across, up = width / columns, (height - foot) / rows
    for column, row in np.ndindex(columns, rows):
        x, z = (column + 0.5) * across - width / 2, foot + row * up
        parts.box([0.9 * across, 0.03, 0.9 * up], x, -depth / 2 - 0.015, z + 0.05 * up)
        knob = trimesh.creation.icosphere(subdivisions=1, radius=0.025)
        parts.append(knob.apply_translation([x, -depth / 2 - 0.05, z + 0.6 * up]))


def monitor(rng, parts):
    """Draw a computer monitor: a flat panel or a tube, on a stand."""
    height, rise, frame, thick = _draw(rng, (0.5, 0.75), (0.06, 0.3), (0.02, 0.06), (0.03, 0.1))
    screen = _Parts()
    screen.box([1.0, thick, height], z=rise)
    screen.box([1.0 - 2 * frame, 0.01, height - 2 * frame], y=-thick / 2, z=rise + frame)
    if rng.random() < 0.3:
        tube = trimesh.creation.cone(radius=0.5, height=rng.uniform(0.5, 0.9), sections=24)
        tube.apply_transform(rotation_matrix(-np.pi / 2, [1, 0, 0]))
        tube.apply_scale([0.9, 1.0, 0.9 * height])
        screen.append(tube.apply_translation([0, thick / 2, rise + height / 2]))
    depth = rng.uniform(0.2, 0.35)
    stand = _Parts()
    if rng.random() < 0.5:
        foot = _disc(0.5, 0.03, 0.0).apply_scale([rng.uniform(0.35, 0.6), 2 * depth, 1.0])
        stand.append(foot)
    else:
        stand.box([rng.uniform(0.3, 0.6), depth, 0.03], y=0.02)
    neck = [rng.uniform(0.06, 0.2), 0.05, rise + 0.3 * height]
    tilt = rotation_matrix(-rng.uniform(0.0, 0.2), [1, 0, 0], [0, 0, rise + height / 2])
    parts.append(screen.joined().apply_transform(tilt))
    parts.box(neck, y=thick / 2 + 0.025)
    parts += stand


def bathtub(rng, parts):
    """Draw a bathtub: oval to rectangular, with a rim, standing on the floor or on feet."""
    depth, height, base, rim = _draw(rng, (0.42, 0.85), (0.3, 0.75), (0.5, 0.9), (0.03, 0.12))
    belly = rng.uniform(base, 0.97)
    wall = _smooth([0.0, 0.25 * height, height], [base, belly, 1.0], samples=16)
    brim = _tube(np.array([[1 + rim, height - 0.03], [1 + rim, height]]), rim)
    tub = _superelliptic(_Parts([_vessel(wall, 0.06), brim]).joined(), rng.uniform(2.2, 7.0))
    parts.append(tub.apply_scale([1.0, depth, 1.0]))
    if rng.random() >= 0.5:
        foot = rng.uniform(0.08, 0.2)
        tub.apply_translation([0, 0, foot])
        _legs(rng, parts, 1.2 * base, 1.2 * base * depth, foot + 0.05, 0.045)


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


_ROUND = bottle, bowl, bucket, candlestick, cup, flower_pot, funnel, goblet, lamp, vase
_OTHER = bathtub, bed, bench, bookshelf, box, chair, desk, monitor, sofa, stool, table, wardrobe


def _built(draw, rng):
    """Draw a shape of a family: a `trimesh.Trimesh`, z up."""
    parts = _Parts()
    draw(rng, parts)
    return parts.joined()


# Family name -> function of a `numpy.random.Generator` that draws a `trimesh.Trimesh`, z up.
FAMILIES = {
    f.__name__: partial(_built, f) for f in sorted((*_ROUND, *_OTHER), key=attrgetter("__name__"))
}
