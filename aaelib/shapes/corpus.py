"""A procedural corpus of everyday surfaces, to pre-train on where there is no ModelNet."""

import zlib
from itertools import pairwise
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


def _draw(rng, *ranges):
    """Draw a number from each range (low, high)."""
    return [rng.uniform(low, high) for low, high in ranges]


def _around(count, start=0.0):
    """Space points (count, 2) evenly on the unit circle."""
    angles = start + 2 * np.pi * np.arange(count) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _smooth(heights, radii, samples=24):
    """Draw a (radius, height) profile (samples, 2) through knots, monotone between two of them."""
    z = np.linspace(heights[0], heights[-1], samples)
    # Shape-preserving (Fritsch & Carlson, 1980): a radius never overshoots to below zero.
    return np.column_stack([PchipInterpolator(heights, radii)(z), z])


def _revolve(profile):
    """Revolve a (radius, height) profile around z."""
    return trimesh.creation.revolve(profile, sections=SECTIONS)


def _vessel(outer, thickness):
    """Open vessel: outer wall, rim, inner wall and floor, from the outer profile upwards."""
    floor = outer[0, 1] + thickness
    inner = outer[outer[:, 1] > floor][::-1] - [thickness, 0.0]
    inner = np.maximum(inner, [0.2 * thickness, -np.inf])
    walls = [[[0.0, outer[0, 1]]], outer, inner, [[inner[-1, 0], floor], [0.0, floor]]]
    return _revolve(np.vstack(walls))


def _tube(outer, thickness):
    """Thin-walled surface of revolution, open at both ends."""
    inner = outer[::-1] - [thickness, 0.0]
    return _revolve(np.vstack([outer, inner, outer[:1]]))


def _box(size, base):
    """Axis-aligned box of `size`, the centre of its bottom face at `base`."""
    size, base = np.asarray(size, dtype=float), np.asarray(base, dtype=float)
    corner = base - [size[0] / 2, size[1] / 2, 0.0]
    return trimesh.creation.box(bounds=[corner, corner + size])


def _rod(start, end, radius):
    """Round rod between two points."""
    return trimesh.creation.cylinder(radius=radius, segment=[start, end], sections=16)


def _disc(radius, thickness, z):
    """Solid round plate, its bottom face at height z."""
    return _revolve([[0.0, z], [radius, z], [radius, z + thickness], [0.0, z + thickness]])


def _join(*parts):
    return trimesh.util.concatenate(list(parts))


def _legs(rng, width, depth, height, radius, count=4):
    """Round or square legs that carry a top of width x depth at `height`; upright or splayed."""
    corners = np.array([[x, y] for x in (-1, 1) for y in (-1, 1)])
    tops = corners if count == 4 else _around(count, start=np.pi / 2)
    tops = tops * [width / 2, depth / 2] * (1 - 2 * radius / min(width, depth))
    if rng.random() < 0.5:
        return [_box([2 * radius, 2 * radius, height], [x, y, 0.0]) for x, y in tops]
    splay = rng.uniform(1.0, 1.25)
    return [_rod([*(splay * top), 0.0], [*top, height], radius) for top in tops]


def _back(rng, width, height, thickness):
    """Back of a seat, standing on the origin: one panel, upright slats, or rungs between posts."""
    kind, count = rng.integers(3), rng.integers(3, 7)
    if kind == 0:
        return _box([width, thickness, height], [0, 0, 0])
    if kind == 1:
        x = np.linspace(-0.5, 0.5, count) * (width - thickness)
        bars = [_box([0.3 * width / count, thickness, height], [at, 0, 0]) for at in x]
        return _join(*bars, _box([width, thickness, 0.15 * height], [0, 0, 0.85 * height]))
    x = np.array([-0.5, 0.5]) * (width - thickness)
    posts = [_box([thickness, thickness, height], [at, 0, 0]) for at in x]
    z = np.linspace(0.25, 0.88, count - 1) * height
    rung = [width, 0.6 * thickness, 0.35 * height / count]
    return _join(*posts, *[_box(rung, [0, 0, at]) for at in z])


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


def bowl(rng):
    """Draw a bowl, some on a foot ring, some oval."""
    height, foot, belly = _draw(rng, (0.35, 0.9), (0.25, 0.5), (0.7, 1.05))
    outer = _smooth([0.0, 0.3 * height, 0.65 * height, height], [foot, 0.75 * belly, belly, 1.0])
    if rng.random() < 0.4:
        outer = np.vstack([[foot, -rng.uniform(0.05, 0.2)], outer])
    mesh = _vessel(outer, rng.uniform(0.03, 0.08))
    depth = rng.uniform(0.65, 1.0) if rng.random() < 0.3 else 1.0
    return mesh.apply_scale([1.0, depth, 1.0])


def cup(rng):
    """Draw a cup with a handle: from a tea cup to a tankard, some on a saucer."""
    height, base, waist = rng.uniform(1.0, 3.4), rng.uniform(0.45, 1.0), rng.uniform(0.75, 1.15)
    outer = _smooth([0.0, 0.5 * height, height], [base, waist, 1.0])
    reach, grip = rng.uniform(0.4, 0.75), rng.uniform(0.06, 0.11)
    low, high = rng.uniform(0.15, 0.3) * height, rng.uniform(0.7, 0.9) * height
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    start, stop = np.interp([low, high], outer[:, 1], outer[:, 0]) - 0.04
    z = (low + high) / 2 + (high - low) / 2 * np.sin(turn)
    path = np.column_stack([np.linspace(start, stop, 14) + reach * np.cos(turn), np.zeros(14), z])
    handle = trimesh.creation.sweep_polygon(Polygon(grip * _around(8)), path)
    parts = [_vessel(outer, rng.uniform(0.05, 0.1)), handle]
    if height < 2.0 and rng.random() < 0.5:
        parts.append(_vessel(_smooth([-0.1, 0.15], [0.6, rng.uniform(1.3, 1.7)], samples=8), 0.05))
    return _join(*parts)


def vase(rng):
    """Draw a vase with a belly, a neck and a lip; some are fluted."""
    height = rng.uniform(2.2, 4.5)
    knots = height * np.array([0.0, rng.uniform(0.25, 0.5), rng.uniform(0.7, 0.85), 1.0])
    radii = [rng.uniform(0.35, 0.8), 1.0, rng.uniform(0.25, 0.7), rng.uniform(0.4, 0.95)]
    mesh = _vessel(_smooth(knots, radii, samples=36), rng.uniform(0.04, 0.08))
    if rng.random() < 0.35:
        count, depth = rng.integers(5, 11), rng.uniform(0.03, 0.1)
        return _stretched(mesh, lambda angle: 1 + depth * np.cos(count * angle))
    return mesh


def bottle(rng):
    """Draw a bottle with shoulders, a neck and a cap; some are squarish."""
    height, shoulder = rng.uniform(3.0, 6.0), rng.uniform(0.5, 0.72)
    neck, waist = rng.uniform(0.25, 0.45), rng.uniform(0.8, 1.0)
    neck_at = rng.uniform(shoulder + 0.08, 0.88)
    knots = height * np.array([0.0, 0.03, 0.5 * shoulder, shoulder, neck_at, 1.0])
    wall = _smooth(knots, [0.85, 1.0, waist, 1.0, neck, neck], samples=40)
    mesh = _revolve(np.vstack([[0.0, 0.0], wall, [0, height]]))
    if rng.random() < 0.35:
        mesh = _superelliptic(mesh, rng.uniform(3.0, 6.0))
    return _join(mesh, _disc(neck * 1.25, rng.uniform(0.04, 0.1) * height, 0.97 * height))


def lamp(rng):
    """Draw a table lamp or a floor lamp: base, stem and a conical or domed shade."""
    height, base = rng.uniform(2.5, 6.5), rng.uniform(0.55, 0.95)
    shade_height, top = rng.uniform(0.9, 1.6), rng.uniform(0.35, 0.95)
    z = height - 0.75 * shade_height
    middle = (1 + top) / 2 + rng.uniform(-0.1, 0.2)
    levels = [z, z + shade_height / 2, z + shade_height]
    shade = _tube(_smooth(levels, [1.0, min(middle, 1.0), top], samples=10), 0.03)
    if rng.random() < 0.5:
        foot = [_disc(base, rng.uniform(0.08, 0.25), 0.0)]
        foot.append(_rod([0, 0, 0], [0, 0, height], rng.uniform(0.04, 0.1)))
    else:
        knots = height * np.array([0.0, rng.uniform(0.15, 0.35), rng.uniform(0.5, 0.65), 1.0])
        radii = [base * 0.8, rng.uniform(0.3, 0.8), rng.uniform(0.08, 0.2), 0.06]
        foot = [_revolve(np.vstack([[0.0, 0.0], _smooth(knots, radii), [0.0, height]]))]
    return _join(*foot, shade)


def funnel(rng):
    """Draw a funnel: a cone that runs into a spout, open at both ends."""
    cone, spout, hole, rim = _draw(rng, (0.7, 1.6), (0.5, 1.6), (0.1, 0.25), (0.0, 0.3))
    outer = [[0.8 * hole, -spout], [hole, 0.0], [1.0, cone], [1.0, cone + rim]]
    steps = np.linspace(0, 3, 19)
    outer = np.column_stack([np.interp(steps, range(4), column) for column in np.transpose(outer)])
    return _tube(outer, rng.uniform(0.02, 0.05))


def bucket(rng):
    """Draw a bucket with its bail raised to some angle."""
    height, base = rng.uniform(1.0, 2.8), rng.uniform(0.5, 0.98)
    pail = _vessel(_smooth([0.0, height], [base, 1.0]), rng.uniform(0.03, 0.06))
    turn, lift = np.linspace(0, np.pi, 15), rng.uniform(0.15, np.pi / 2)
    bow = rng.uniform(0.9, 1.2) * np.sin(turn)
    path = np.column_stack([np.cos(turn), bow * np.cos(lift), 0.95 * height + bow * np.sin(lift)])
    bail = [_rod(a, b, 0.035) for a, b in pairwise(path)]
    return _join(pail, *bail)


def candlestick(rng):
    """Draw a turned candlestick with a drip pan, most with a candle in it."""
    height = rng.uniform(1.8, 4.0)
    beads = rng.integers(1, 5)
    z = np.linspace(0.12, 0.9, 2 * beads + 1) * height
    thick, thin = rng.uniform(0.15, 0.35, len(z)), rng.uniform(0.07, 0.13, len(z))
    radii = np.where(np.arange(len(z)) % 2, thick, thin)
    base = rng.uniform(0.55, 1.0)
    foot = [[0.0, 0.0], [base, 0.0], [base, 0.04 * height]]
    stem = _revolve(np.vstack([foot, _smooth(z, radii, samples=12 * beads), [0.0, z[-1]]]))
    pan = _vessel(_smooth([z[-1], z[-1] + 0.15], [0.15, rng.uniform(0.3, 0.6)], samples=6), 0.03)
    if rng.random() < 0.3:
        return _join(stem, pan)
    return _join(stem, pan, _rod([0, 0, z[-1]], [0, 0, z[-1] + rng.uniform(0.5, 1.6)], 0.1))


def flower_pot(rng):
    """Draw a flower pot with a collar, on a saucer or bare; some are squarish."""
    height, base = rng.uniform(0.9, 2.4), rng.uniform(0.4, 0.85)
    collar, lip = rng.uniform(0.15, 0.35) * height, rng.uniform(0.04, 0.12)
    wall = _smooth([0.0, height - collar], [base, 1.0 - lip], samples=12)
    outer = np.vstack([wall, [1.0, height - collar], [1.0, height]])
    pot = _vessel(outer, rng.uniform(0.06, 0.12))
    if rng.random() < 0.35:
        pot = _superelliptic(pot, rng.uniform(3.0, 8.0))
    if rng.random() < 0.5:
        return pot
    saucer = _smooth([-0.12, rng.uniform(0.05, 0.2)], [base + 0.1, base + 0.35], samples=6)
    return _join(pot, _vessel(saucer, 0.05))


def goblet(rng):
    """Draw a stemmed glass: foot, stem, bowl."""
    stem, height, mouth, foot = _draw(rng, (0.6, 2.2), (1.0, 2.2), (0.6, 1.1), (0.6, 0.95))
    levels = [stem, stem + 0.25 * height, stem + 0.6 * height, stem + height]
    cup_wall = _smooth(levels, [0.12, 0.75, 1.0, mouth], samples=20)
    base = [[0.0, 0.0], [foot, 0.0], [foot, 0.05]]
    lower = _smooth([0.06, 0.3 * stem, 0.8 * stem, stem], [0.8 * foot, 0.1, 0.09, 0.12], samples=16)
    return _join(_revolve(np.vstack([base, lower, [0.0, stem]])), _vessel(cup_wall, 0.04))


# Furniture ---------------------------------------------------------------------------------------


def table(rng):
    """Draw a table: round, oval or rectangular, on 3 or 4 legs or on a column."""
    height, depth, plate, radius = _draw(rng, (0.5, 1.2), (0.45, 1.0), (0.03, 0.08), (0.02, 0.05))
    is_round = rng.random() < 0.5
    if is_round:
        top = _disc(0.5, plate, height).apply_scale([1.0, depth, 1.0])
    else:
        top = _box([1.0, depth, plate], [0, 0, height])
    if rng.random() < 0.35:
        column = _rod([0, 0, 0], [0, 0, height], rng.uniform(0.03, 0.09))
        foot = rng.uniform(0.2, 0.35)
        if rng.random() < 0.5:
            return _join(top, column, _disc(min(foot, 0.45 * depth), 0.04, 0.0))
        ends = foot * _around(rng.integers(3, 6))
        feet = [_rod([0, 0, 0.12], [*end, 0], 0.03) for end in ends]
        return _join(top, column, *feet)
    shrink = 0.72 if is_round else 0.96
    count = 3 if is_round and rng.random() < 0.5 else 4
    return _join(top, *_legs(rng, shrink, shrink * depth, height, radius, count))


def desk(rng):
    """Draw a desk: a top on one or two pedestals of drawers, the rest on panels or legs."""
    depth, height = rng.uniform(0.4, 0.65), rng.uniform(0.42, 0.6)
    plate, pedestal = rng.uniform(0.025, 0.05), rng.uniform(0.2, 0.32)
    parts = [_box([1.0, depth, plate], [0, 0, height])]
    sides = [-1, 1] if rng.random() < 0.4 else [rng.choice([-1, 1])]
    foot = rng.uniform(0.0, 0.12)
    drawers = rng.integers(2, 5)
    for side in sides:
        x = side * (0.49 - pedestal / 2)
        parts.append(_box([pedestal, 0.94 * depth, height - foot], [x, 0, foot]))
        z = foot + (np.arange(drawers) + 0.5) * (height - foot) / drawers
        parts += [_box([0.4 * pedestal, 0.04, 0.02], [x, -0.5 * depth, at]) for at in z]
    if len(sides) == 1:
        x = -sides[0] * 0.47
        if rng.random() < 0.5:
            parts.append(_box([0.04, 0.94 * depth, height], [x, 0, 0]))
        else:
            parts += [_box([0.045, 0.045, height], [x, s * 0.44 * depth, 0]) for s in (-1, 1)]
    if rng.random() < 0.6:
        drop = rng.uniform(0.3, 0.8) * height
        parts.append(_box([0.96, 0.02, drop], [0, 0.42 * depth, height - drop]))
    return _join(*parts)


def chair(rng):
    """Draw a chair on four legs, with or without arms; the back is a panel, slats or rungs."""
    width, depth = rng.uniform(0.85, 1.15), rng.uniform(0.85, 1.1)
    seat, back, plate = rng.uniform(0.8, 1.1), rng.uniform(0.7, 1.5), rng.uniform(0.06, 0.16)
    radius = rng.uniform(0.035, 0.07)
    parts = [_box([width, depth, plate], [0, 0, seat])]
    parts += _legs(rng, width, depth, seat, radius)
    lean = rotation_matrix(-rng.uniform(0.0, 0.3), [1, 0, 0])
    rest = _back(rng, width, back, 0.08).apply_transform(lean)
    parts.append(rest.apply_translation([0, depth / 2 - 0.04, seat + plate]))
    if rng.random() < 0.4:
        rise = rng.uniform(0.3, 0.5)
        for side in (-1, 1):
            x = side * (width / 2 - 0.04)
            z = seat + plate
            parts.append(_box([0.08, 0.85 * depth, 0.06], [x, 0, z + rise]))
            parts.append(_box([0.06, 0.06, rise], [x, -0.38 * depth, z]))
    return _join(*parts)


def stool(rng):
    """Draw a stool: a round or square seat on three or four splayed legs, most with a ring."""
    height, plate = rng.uniform(0.8, 2.4), rng.uniform(0.06, 0.25)
    count = rng.integers(3, 6)
    if rng.random() < 0.7:
        seat = _disc(0.5, plate, height)
    else:
        seat = _box([0.95, 0.95, plate], [0, 0, height])
    radius, spread = _draw(rng, (0.03, 0.06), (0.4, 0.65))
    parts = [_rod([*(spread * a), 0], [*(0.35 * a), height], radius) for a in _around(count)]
    if rng.random() < 0.7:
        level = rng.uniform(0.2, 0.5)
        ring = trimesh.creation.torus(
            spread + (0.35 - spread) * level, 0.6 * radius, major_sections=24, minor_sections=8
        )
        parts.append(ring.apply_translation([0, 0, level * height]))
    return _join(seat, *parts)


def bench(rng):
    """Draw a bench, its seat one plank or several, with or without a back."""
    depth, height, plate = rng.uniform(0.28, 0.45), rng.uniform(0.3, 0.45), 0.04
    width = rng.uniform(1.0, 1.7)
    planks = rng.integers(1, 5)
    y = (np.arange(planks) - (planks - 1) / 2) * depth / planks
    parts = [_box([width, 0.85 * depth / planks, plate], [0, at, height]) for at in y]
    if rng.random() < 0.5:
        parts += [_box([0.06, 0.95 * depth, height], [s * 0.42 * width, 0, 0]) for s in (-1, 1)]
    else:
        parts += _legs(rng, 0.94 * width, depth, height, 0.03)
    if rng.random() < 0.6:
        rest = _back(rng, width, rng.uniform(0.3, 0.5), 0.04)
        parts.append(rest.apply_translation([0, depth / 2, height]))
    return _join(*parts)


def bookshelf(rng):
    """Draw a bookshelf with 2 to 6 boards, some with a back panel or an upright divider."""
    width, depth, height = rng.uniform(0.5, 1.2), rng.uniform(0.2, 0.4), rng.uniform(0.9, 1.9)
    board = rng.uniform(0.02, 0.05)
    levels = np.linspace(0, height - board, rng.integers(3, 8))
    parts = [_box([width, depth, board], [0, 0, z]) for z in levels]
    parts += [_box([board, depth, height], [s * (width - board) / 2, 0, 0]) for s in (-1, 1)]
    if rng.random() < 0.6:
        parts.append(_box([width, 0.015, height], [0, depth / 2, 0]))
    if rng.random() < 0.4:
        x = rng.uniform(-0.25, 0.25) * width
        parts.append(_box([board, depth, height], [x, 0, 0]))
    return _join(*parts)


def bed(rng):
    """Draw a bed: a mattress on a frame with a headboard, most with pillows."""
    width, length = rng.uniform(0.5, 1.0), rng.uniform(1.1, 1.35)
    foot, frame, mattress = rng.uniform(0.05, 0.2), rng.uniform(0.06, 0.15), rng.uniform(0.08, 0.2)
    top = foot + frame + mattress
    parts = [
        _box([width, length, frame], [0, 0, foot]),
        _box([0.96 * width, 0.97 * length, mattress], [0, 0, foot + frame]),
        _box([1.02 * width, 0.05, top + rng.uniform(0.1, 0.5)], [0, length / 2, 0]),
    ]
    parts += _legs(rng, width, length, foot, 0.03)
    if rng.random() < 0.5:
        parts.append(_box([1.02 * width, 0.05, top + rng.uniform(-0.05, 0.2)], [0, -length / 2, 0]))
    if rng.random() < 0.8:
        count = 1 if width < 0.7 else 2
        x = (np.arange(count) - (count - 1) / 2) * width / count
        size = np.array([0.4 * width / count, 0.14, 0.06])
        for at in x:
            pillow = trimesh.creation.icosphere(subdivisions=2).apply_scale(size)
            parts.append(pillow.apply_translation([at, 0.36 * length, top]))
    return _join(*parts)


def sofa(rng):
    """Draw a sofa or an armchair: seat, back, arms, 1 to 4 cushions, some with a chaise."""
    seats = rng.integers(1, 5)
    width, depth = rng.uniform(0.5, 0.75) * seats + 0.1, rng.uniform(0.5, 0.9)
    foot, seat, back = rng.uniform(0.03, 0.16), rng.uniform(0.15, 0.35), rng.uniform(0.25, 0.75)
    arm, rise = rng.uniform(0.07, 0.3), rng.uniform(0.06, 0.35)
    parts = [
        _box([width, depth, seat], [0, 0, foot]),
        _box([width, 0.16, seat + back], [0, depth / 2, foot]),
    ]
    for side in (-1, 1):
        x = side * (width + arm) / 2
        parts.append(_box([arm, depth + 0.08, seat + rise], [x, 0.04, foot]))
        if rng.random() < 0.5:
            z = foot + seat + rise
            parts.append(_rod([x, -depth / 2, z], [x, depth / 2 + 0.08, z], arm / 2))
    x = (np.arange(seats) - (seats - 1) / 2) * width / seats
    cushion = [0.94 * width / seats, 0.8 * depth, rng.uniform(0.06, 0.12)]
    parts += [_box(cushion, [at, -0.06 * depth, foot + seat]) for at in x]
    parts += _legs(rng, width, depth, foot, 0.03)
    if seats > 1 and rng.random() < 0.4:
        chaise = [width / seats, rng.uniform(0.4, 0.9), seat]
        parts.append(_box(chaise, [rng.choice([x[0], x[-1]]), -(depth + chaise[1]) / 2, foot]))
    return _join(*parts)


def wardrobe(rng):
    """Draw a wardrobe or a dresser: a carcass with doors or drawers, a plinth or feet."""
    width, depth, height = rng.uniform(0.5, 1.4), rng.uniform(0.3, 0.6), rng.uniform(0.7, 2.1)
    foot = rng.uniform(0.04, 0.18)
    parts = [_box([width, depth, height - foot], [0, 0, foot])]
    parts += _legs(rng, width, depth, foot, 0.035)
    parts.append(_box([1.06 * width, 1.06 * depth, 0.04], [0, 0, height]))
    columns, rows = rng.integers(1, 4), (1 if height > 1.3 else rng.integers(2, 5))
    cell = np.array([width / columns, (height - foot) / rows])
    for column in range(columns):
        for row in range(rows):
            x = (column + 0.5) * cell[0] - width / 2
            z = foot + row * cell[1]
            front = [0.9 * cell[0], 0.03, 0.9 * cell[1]]
            parts.append(_box(front, [x, -depth / 2 - 0.015, z + 0.05 * cell[1]]))
            knob = trimesh.creation.icosphere(subdivisions=1, radius=0.025)
            parts.append(knob.apply_translation([x, -depth / 2 - 0.05, z + 0.6 * cell[1]]))
    return _join(*parts)


def monitor(rng):
    """Draw a computer monitor: a flat panel or a tube, on a stand."""
    height, rise = rng.uniform(0.5, 0.75), rng.uniform(0.06, 0.3)
    frame, thickness = rng.uniform(0.02, 0.06), rng.uniform(0.03, 0.1)
    screen = [
        _box([1.0, thickness, height], [0, 0, rise]),
        _box([1.0 - 2 * frame, 0.01, height - 2 * frame], [0, -thickness / 2, rise + frame]),
    ]
    if rng.random() < 0.3:
        tube = trimesh.creation.cone(radius=0.5, height=rng.uniform(0.5, 0.9), sections=24)
        turn = rotation_matrix(-np.pi / 2, [1, 0, 0])
        tube = tube.apply_transform(turn).apply_scale([0.9, 1.0, 0.9 * height])
        screen.append(tube.apply_translation([0, thickness / 2, rise + height / 2]))
    depth = rng.uniform(0.2, 0.35)
    if rng.random() < 0.5:
        foot = _disc(0.5, 0.03, 0.0).apply_scale([rng.uniform(0.35, 0.6), 2 * depth, 1.0])
    else:
        foot = _box([rng.uniform(0.3, 0.6), depth, 0.03], [0, 0.02, 0])
    neck = _box([rng.uniform(0.06, 0.2), 0.05, rise + 0.3 * height], [0, thickness / 2 + 0.025, 0])
    tilt = rotation_matrix(-rng.uniform(0.0, 0.2), [1, 0, 0], [0, 0, rise + height / 2])
    return _join(_join(*screen).apply_transform(tilt), neck, foot)


def bathtub(rng):
    """Draw a bathtub: oval to rectangular, with a rim, standing on the floor or on feet."""
    depth, height = rng.uniform(0.42, 0.85), rng.uniform(0.3, 0.75)
    base, rim = rng.uniform(0.5, 0.9), rng.uniform(0.03, 0.12)
    belly = rng.uniform(base, 0.97)
    wall = _smooth([0.0, 0.25 * height, height], [base, belly, 1.0], samples=16)
    brim = _tube(np.array([[1 + rim, height - 0.03], [1 + rim, height]]), rim)
    tub = _superelliptic(_join(_vessel(wall, 0.06), brim), rng.uniform(2.2, 7.0))
    tub.apply_scale([1.0, depth, 1.0])
    if rng.random() < 0.5:
        return tub
    foot = rng.uniform(0.08, 0.2)
    feet = _legs(rng, 1.2 * base, 1.2 * base * depth, foot + 0.05, 0.045)
    return _join(tub.apply_translation([0, 0, foot]), *feet)


def box(rng):
    """Draw an open carton, each of its four flaps at an angle of its own."""
    width, depth, height = 1.0, rng.uniform(0.5, 1.0), rng.uniform(0.3, 1.0)
    wall, flap = 0.02, rng.uniform(0.25, 0.5) * depth
    parts = [_box([width, depth, wall], [0, 0, 0])]
    for quarter, (length, reach) in enumerate([(width, depth), (depth, width)] * 2):
        turn = rotation_matrix(quarter * np.pi / 2, [0, 0, 1])
        swing = rotation_matrix(rng.uniform(0.2, 2.4), [1, 0, 0])
        lid = _box([length, wall, flap], [0, 0, 0]).apply_transform(swing)
        lid = lid.apply_translation([0, -reach / 2, height])
        side = _join(_box([length, wall, height], [0, -reach / 2, 0]), lid)
        parts.append(side.apply_transform(turn))
    return _join(*parts)


_ROUND = bottle, bowl, bucket, candlestick, cup, flower_pot, funnel, goblet, lamp, vase
_OTHER = bathtub, bed, bench, bookshelf, box, chair, desk, monitor, sofa, stool, table, wardrobe

# Family name -> function of a `numpy.random.Generator` that draws a `trimesh.Trimesh`, z up.
FAMILIES = dict(sorted((draw.__name__, draw) for draw in (*_ROUND, *_OTHER)))
