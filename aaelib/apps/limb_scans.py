"""Scans of residual limbs as they come: units, pieces, holes, and where to cut them."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import igl
import numpy as np
import trimesh
from scipy.spatial import cKDTree

from ..shapes import meshes
from ..shapes.clouds import UNITS
from ..shapes.places import DATA

EXAMPLE = DATA / "limbs" / "transtibial.stl"
LENGTHS = (80.0, 1200.0)  # mm; of scans, with all of the leg at most
WIDTHS = (45.0, 230.0)  # mm; diameters of limbs
_WIDTH, _LENGTH = 110.0, 270.0  # mm; of most
LONGEST, CUT = 320.0, 280.0  # mm; sockets reach no further, and where to cut what does

_FLAT = 0.05  # thickness of a piece by its width: a table, no limb
_WHOLE = 0.9  # of the area that is not flat: the limb, in one piece
_SIDE = 2.0  # variance along a limb by that across it, of limbs surely longer than wide
_PERHAPS_SIDE = 1.3  # of limbs that may be
_OPENING = 1.2  # girth of an opening by the limb's width; that of a cylinder has 3.1
_SECOND_OPENING = 0.5  # of the largest girth, from which on a hole is taken for an opening
_SPIKE = 10.0  # distance of a vertex from its neighbours by the median edge
_THIN = 0.15  # of a wall between two surfaces, by the limb's width; that of a limb itself: 0.4
_PLANE, _TABLE = 0.04, 0.3  # of the length, about an opening; of the area there
_SHORT = 1.5  # length by width, of limbs whose farthest point may be at the side
_BENT = np.radians(25.0)  # between the lower part of a limb and the 60 mm above, at a knee
_CAP = 0.03  # of the area, from which on a plane at an end is where a limb was cut off
_ALIKE = 1.1  # areas of two ends, of which none is more likely to be the upper one


@dataclass(frozen=True)
class Scan:
    """
    The scan of a limb, in mm and in its own position.

    Attributes
    ----------
    mesh : trimesh.Trimesh
        One piece with one opening; normals point outwards.
    unit : str
        Of the file: "mm", "cm", "m" or "inch".
    units : list of str
        All in which the scan would be of a limb's size, the likeliest first.
    tip, axis : numpy.ndarray
        (3,), the distal end, and the way up from there.
    length : float
        From the tip along the axis.
    straight : float
        So far above the tip the limb is straight; inf if all of it is.
    notes : list of str
        What was changed, in words.
    """

    mesh: trimesh.Trimesh
    unit: str
    units: list
    tip: np.ndarray
    axis: np.ndarray
    length: float
    straight: float
    notes: list

    @property
    def proposed_cut(self):
        """Height above the tip, mm, at which to cut: the length where nothing is to be cut."""
        if self.straight < self.length:
            return max(min(self.straight, CUT), LENGTHS[0])
        return self.length if self.length <= LONGEST else CUT

    def cut(self, height=None):
        """
        The limb up to a height above the tip, mm; by default the one that is proposed.

        Raises a ValueError if what is left is too short.
        """
        height = self.proposed_cut if height is None else height
        if not height >= LENGTHS[0]:
            raise ValueError(f"a cut at {height:.4g} mm leaves less than {LENGTHS[0]:g} mm of limb")
        if height >= self.length:
            return self.mesh
        kept = self.mesh.slice_plane(self.tip + height * self.axis, -self.axis)
        kept.merge_vertices()
        pieces = trimesh.graph.connected_component_labels(kept.face_adjacency, len(kept.faces))
        lowest = (kept.triangles_center @ self.axis).argmin()
        kept.update_faces(pieces == pieces[lowest])
        kept.remove_unreferenced_vertices()
        return kept


def load_limb(path, unit=None, cut=None):
    """
    Read the scan of a residual limb.

    Vertices are merged within 1e-4 of the limb's radius, faces without area and vertices that are
    not finite are left out, and so are flat and small pieces, such as the table. Holes are closed,
    and a scan that is closed at its upper end is opened there. What is longer than sockets reach is
    cut.

    Parameters
    ----------
    path : str or Path
        An STL, PLY or OBJ file, or any other mesh that trimesh reads, in any position.
    unit : {"mm", "cm", "m", "inch"}, optional
        Of the file's numbers; by default that in which they are most like a limb's.
    cut : float, optional
        Height above the distal end, mm, where to cut; by default 280 if the limb is longer than
        320, else nowhere.

    Returns
    -------
    trimesh.Trimesh
        In mm; normals point outwards.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such surface, has several large pieces, or the unit or the cut is out of range.
        The message names the file.

    Warns
    -----
    UserWarning
        Tells what was changed, and the unit if it is not mm.
    """
    scan = read_scan(path, unit)
    for note in scan.notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    return scan.cut(cut)


def read_scan(path, unit=None):
    """Read a scan whole: a `Scan`; parameters and errors are those of `load_limb`."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no limb scan at {path}")
    if unit not in (None, *UNITS):
        raise ValueError(f"{path}: the unit is {unit!r}; accepted: {', '.join(UNITS)}")
    unit = meshes.unit_of(path, unit)
    mesh, notes = _merged(meshes.read(path)), []
    if not len(mesh.faces):
        raise ValueError(f"{path}: no faces with an area; a limb is a surface of triangles")
    try:
        mesh = _limb_among(_without_spikes(mesh, notes), notes)
        mesh = _with_one_opening(mesh, notes)
        center = opening(mesh)
        if _is_at_side(mesh, center, _PERHAPS_SIDE):
            notes.append("its opening is across its longest side: is that where the limb goes on?")
        units = _units(mesh, center)
        unit = _chosen(unit, units, notes)
        mesh.apply_scale(UNITS[unit])
        tip, axis, straight = _distal_end(mesh, UNITS[unit] * center)
    except ValueError as error:
        raise ValueError(f"{path}: {'; '.join([str(error), *notes])}") from None
    length = float(((mesh.vertices - tip) @ axis).max())
    if straight < length:
        notes.append(f"bent {straight:.0f} mm above its end, at the knee? A socket ends below")
    elif length > LONGEST:
        notes.append(f"{length:.0f} mm long, of which a socket takes the lowest {CUT:.0f}")
    return Scan(mesh, unit, units, tip, axis, length, straight, notes)


# Pieces ---------------------------------------------------------------------------------------


def _merged(mesh):
    """The faces that have an area and finite vertices, vertices next to each other merged."""
    mesh.remove_infinite_values()
    mesh.merge_vertices()
    radius = np.median(np.linalg.norm(mesh.vertices - np.median(mesh.vertices, axis=0), axis=1))
    pairs = cKDTree(mesh.vertices).query_pairs(1e-4 * radius, output_type="ndarray")
    groups = trimesh.graph.connected_component_labels(pairs, len(mesh.vertices))
    mesh.faces = np.unique(groups, return_index=True)[1][groups][mesh.faces]
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    return mesh


def _without_spikes(mesh, notes):
    """Leave out the faces of vertices that are far from all their neighbours and their middle."""
    edges, n, shortest = mesh.edges_unique, len(mesh.vertices), np.full(len(mesh.vertices), np.inf)
    np.minimum.at(shortest, edges, mesh.edges_unique_length[:, None])
    joined = trimesh.graph.edges_to_coo(np.vstack([edges, edges[:, ::-1]]), count=n).tocsr()
    middles = joined @ mesh.vertices / np.maximum(joined.sum(axis=1), 1)
    away = np.minimum(shortest, np.linalg.norm(mesh.vertices - middles, axis=1))
    is_spike = away > _SPIKE * np.median(mesh.edges_unique_length)
    is_spike[edges[is_spike[edges].all(axis=1)]] = False  # of large faces
    is_spike &= np.bincount(edges.ravel(), minlength=n) > 0
    if is_spike.any():
        notes.append(f"{is_spike.sum()} vertices far from all others were left out: spikes")
        mesh.update_faces(~is_spike[mesh.faces].any(axis=1))
        mesh.remove_unreferenced_vertices()
    return mesh


def _limb_among(mesh, notes):
    """The piece that is not flat and has most of the area."""
    pieces = trimesh.graph.connected_component_labels(mesh.face_adjacency, len(mesh.faces))
    areas = np.bincount(pieces, mesh.area_faces)
    solid, shares = areas.copy(), areas / areas.sum()
    large = shares > 0.01
    for piece in np.flatnonzero(large):
        corners = mesh.triangles[pieces == piece].reshape(-1, 3)
        widths = np.linalg.svd(corners - corners.mean(axis=0), compute_uv=False)
        solid[piece] *= widths[2] > _FLAT * widths[1]
    limb = (large * solid).argmax()
    told = ", ".join(f"{share:.0%}" for share in np.sort(shares)[:-6:-1])
    told = f"{len(areas)} pieces, with {told} of the area"
    if not solid[limb] > _WHOLE * solid[large].sum():
        raise ValueError(f"{told}: none is the limb by itself; keep the limb alone")
    if len(areas) > 1:
        left_out = f"taken is the one with {shares[limb]:.0%}, left out are flat and small ones"
        notes.append(f"{told}: {left_out}")
    mesh.update_faces(pieces == limb)
    mesh.remove_unreferenced_vertices()
    # As `trimesh.repair.fix_winding`, which walks the faces in Python: 30 s for 200,000 of them.
    mesh.faces = igl.bfs_orient(np.array(mesh.faces, np.int64))[0]
    if not mesh.is_winding_consistent:
        raise ValueError(
            "a surface with one side, as a Moebius strip; remove the faces that join its inside "
            "and its outside"
        )
    return mesh


# Openings -------------------------------------------------------------------------------------


def border_edges(mesh):
    """Edges (n, 2) that have a face on one side only."""
    return mesh.edges[trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)]


def _openings(mesh):
    """
    Edges (n, 2) of the border, the opening (n,) of each, and centroids and girths of openings.

    The girth is that of a circle with the same mean radius: a jagged rim is no larger hole.
    """
    edges = border_edges(mesh)
    labels = trimesh.graph.connected_component_labels(edges, len(mesh.vertices))[edges[:, 0]]
    labels = np.unique(labels, return_inverse=True)[1]
    lengths = np.linalg.norm(np.diff(mesh.vertices[edges], axis=1)[:, 0], axis=1)
    middles, totals = mesh.vertices[edges].mean(axis=1), np.bincount(labels, lengths)
    sums = [np.bincount(labels, lengths * each) for each in middles.T]
    centers = np.stack(sums, axis=1) / totals[:, None]
    away = np.linalg.norm(middles - centers[labels], axis=1)
    return edges, labels, centers, 2 * np.pi * np.bincount(labels, lengths * away) / totals


def _spread(mesh):
    """Variances (3,), ascending, of a surface about its centroid, and their axes (3, 3)."""
    variances, axes = np.linalg.eigh(
        np.cov(mesh.triangles_center.T, aweights=mesh.area_faces, ddof=0)
    )
    return variances.clip(min=0), axes  # rounding may leave that of something flat below 0


def _width(mesh):
    """Mean diameter of a surface across its longest axis; a cylinder's is its diameter."""
    variances = _spread(mesh)[0]
    return 2 * np.sqrt(variances[0] + variances[1])


def _with_one_opening(mesh, notes):
    """Close holes, and open a scan that is closed at its upper end."""
    edges, labels, centers, girths = _openings(mesh)
    is_hole = girths < _OPENING * _width(mesh)
    if not is_hole.all():
        second, largest = np.sort(np.append(girths, 0))[-2:]
        if second > _SECOND_OPENING * largest:
            around = f"{largest:.4g} and {second:.4g} around"
            raise ValueError(f"two openings, {around}; fill the hole at the limb's end")
        is_hole = girths < largest
    if is_hole.any():
        # Fans around the centroids. An edge runs the other way in the face beyond it.
        rim, of_hole = edges[is_hole[labels]], labels[is_hole[labels]]
        fans = np.column_stack([rim[:, ::-1], len(mesh.vertices) + of_hole])
        vertices, faces = np.vstack([mesh.vertices, centers]), np.vstack([mesh.faces, fans])
        mesh = trimesh.Trimesh(vertices, faces, process=False)
        mesh.remove_unreferenced_vertices()
        largest = f"{girths[is_hole].max():.3g} around in the file's unit"
        notes.append(f"{is_hole.sum()} holes were closed, the largest {largest}")
    if not is_hole.all():
        _check_no_table(mesh)
    volume = np.linalg.det(mesh.triangles - mesh.centroid).sum() / 6
    if not is_hole.all():  # with a fan over its opening
        volume = np.linalg.det(mesh.triangles - opening(mesh)).sum() / 6
    if 2 * abs(volume) < _THIN * _width(mesh) * mesh.area:
        raise ValueError("a wall with two sides, it seems; take the one on the skin")
    if is_hole.all():
        mesh = _opened(mesh, notes)
        volume = np.linalg.det(mesh.triangles - opening(mesh)).sum()
    if volume < 0:
        mesh.invert()
    return mesh


def _check_no_table(mesh):
    """Raise a ValueError if much of the surface about its opening is in one plane, a table's."""
    center = opening(mesh)
    axis = trimesh.unitize(center - mesh.centroid)
    away = np.abs((mesh.triangles_center - center) @ axis)
    length = np.ptp(mesh.vertices @ axis)
    in_plane = (away < _PLANE * length) & (np.abs(mesh.face_normals @ axis) > 0.95)
    near = mesh.area_faces[away < 0.2 * length].sum()
    if mesh.area_faces[in_plane].sum() > _TABLE * near:
        raise ValueError("its largest opening is in a plane, a table it seems; cut that off")


def _opened(mesh, notes):
    """
    Open a closed scan at its upper end: the flat one, where it was cut off, or else the wider one.
    """
    axis = _spread(mesh)[1][:, 2]
    length, ends = np.ptp(mesh.vertices @ axis), []
    if (cap := _cap(mesh, length)) is not None:
        way, height = cap
        notes.append("closed at both ends; the flat one was opened")
        return mesh.slice_plane((height - 0.02 * length) * way, -way)
    for way in (axis, -axis):
        below = (mesh.vertices @ way).max() - mesh.triangles_center @ way
        capped = (below < 0.03 * length) & (np.abs(mesh.face_normals @ axis) > 0.97)
        around = mesh.area_faces[below < 0.2 * length].sum()
        ends.append((mesh.area_faces[capped].sum() / around, around, way))
    flat = [end for end in ends if end[0] > 0.2]
    narrower, wider = sorted(ends, key=lambda end: end[1])
    if len(flat) != 1 and wider[1] < _ALIKE * narrower[1]:
        raise ValueError(
            "a closed surface whose ends are alike; remove the faces that close it where the limb "
            "was cut off from the body in the scan"
        )
    _, _, way = flat[0] if len(flat) == 1 else wider
    height = (mesh.vertices @ way).max() - (0.02 if flat else 0.1) * length
    notes.append(f"closed at both ends; the {'flat' if flat else 'wider'} one was opened")
    return mesh.slice_plane(height * way, -way)


def _cap(mesh, length):
    """The outward normal (3,) of the one plane at an end of a closed surface, and its height."""
    found = []
    for facet in np.flatnonzero(mesh.facets_area > _CAP * mesh.area):
        normal, corner = mesh.facets_normal[facet], mesh.triangles[mesh.facets[facet][0], 0]
        for way in (normal, -normal):
            if (mesh.vertices @ way).max() < corner @ way + 1e-3 * length:
                found.append((way, corner @ way))
    return found[0] if len(found) == 1 else None


def opening(mesh):
    """
    Centroid (3,) of the border of a limb's opening.

    Raises a ValueError if the surface is closed or its opening is at the side.
    """
    edges, _, centers, girths = _openings(mesh)
    if not len(edges):
        raise ValueError("a closed surface; remove the faces that close it where the scan ends")
    center = centers[girths.argmax()]
    if _is_at_side(mesh, center, _SIDE):
        around = f"the largest opening, {girths.max():.4g} around,"
        raise ValueError(f"{around} is at the side; fill it, and open the limb's upper end")
    return center


def _is_at_side(mesh, center, longer):
    """Whether an opening is across the longest axis, and that is so much longer, by variance."""
    variances, axes = _spread(mesh)
    axis = trimesh.unitize(center - mesh.centroid)
    return variances[2] > longer * variances[1] and abs(axis @ axes[:, 2]) < np.sqrt(0.5)


# Units and ends -------------------------------------------------------------------------------


def _units(mesh, center):
    """Units in which a scan is of a limb's size, that of the likeliest width first."""
    length = np.linalg.norm(mesh.vertices - center, axis=1).max()
    width = _width(mesh)
    found = [
        unit
        for unit, factor in UNITS.items()
        if LENGTHS[0] <= factor * length <= LENGTHS[1] and WIDTHS[0] <= factor * width <= WIDTHS[1]
    ]
    if not found:
        raise ValueError(
            f"{length:.4g} long from its opening to its end and {width:.4g} wide; in no unit "
            f"({', '.join(UNITS)}) is that a limb, which has {LENGTHS[0]:g} to {LENGTHS[1]:g} mm "
            f"and {WIDTHS[0]:g} to {WIDTHS[1]:g} mm"
        )
    usual = np.log(_WIDTH / width), np.log(_LENGTH / length)
    return sorted(found, key=lambda unit: sum(abs(np.log(UNITS[unit]) - each) for each in usual))


def _chosen(unit, units, notes):
    """The unit that is asked for, or the likeliest."""
    if unit and unit not in units:
        raise ValueError(f"in {unit} it is no limb; it may be in {' or '.join(units)}")
    if not unit and units != ["mm"]:
        others = "".join(f"; or is it {each}?" for each in units[1:])
        notes.append(f"taken to be in {units[0]}{others}")
    return unit or units[0]


def _distal_end(mesh, center):
    """
    The distal end (3,) of a limb in mm, the way up from there (3,), and how far it is straight.

    The end is the vertex farthest from the opening's centroid, or of a limb hardly longer than wide
    the lowest one. The way up joins the middles of two parts of the surface: that near the end, and
    that as far away as a socket reaches, or as the limb is straight: so the thigh above a bent knee
    does not change it.
    """
    axis = trimesh.unitize(center - mesh.centroid)
    away = np.linalg.norm(mesh.vertices - center, axis=1)
    if away.max() < _SHORT * _width(mesh):
        tip = mesh.vertices[(mesh.vertices @ axis).argmin()]
        return center + ((tip - center) @ axis) * axis, axis, np.inf
    tip = mesh.vertices[away.argmax()]
    away = np.linalg.norm(mesh.triangles_center - tip, axis=1)

    def way(reach):
        parts = away < 0.5 * reach, (away > 0.8 * reach) & (away < reach)
        if not all(part.any() for part in parts):
            raise ValueError(
                f"{len(mesh.faces)} faces, too large to tell which way is up; take the scan as it "
                "was before it was simplified, or subdivide its faces"
            )
        low, high = (np.average(mesh.triangles_center[m], 0, mesh.area_faces[m]) for m in parts)
        return trimesh.unitize(high - low)

    reach = min(CUT, away.max())
    straight = _straight(mesh, away, reach)
    axis = way(min(reach, straight))
    # The lowest vertex of the axis, so that no height is below 0.
    lowest = ((mesh.vertices - tip) @ axis).min()
    return tip + lowest * axis, axis, straight


def _straight(mesh, away, reach):
    """How far (mm) from a limb's end, by distances of its faces, it is straight; inf for all."""
    tip = mesh.triangles_center[away.argmin()]
    border = np.linalg.norm(mesh.vertices[border_edges(mesh)[:, 0]] - tip, axis=1)
    rings = np.arange(20.0, min(reach, border.min()), 20.0)
    if len(rings) < 8:
        return np.inf
    labels = np.digitize(away, rings)
    areas = np.bincount(labels, mesh.area_faces, len(rings) + 1)[1:]
    if not areas.all():  # faces larger than that
        return np.inf
    weighted = mesh.area_faces[:, None] * mesh.triangles_center
    middles = np.stack([np.bincount(labels, each, len(rings) + 1)[1:] for each in weighted.T], 1)
    middles /= areas[:, None]
    # Next to the end, which may be at the side of a bent limb's axis, rings do not count.
    for i in range(4, len(rings) - 3):
        lower, upper = middles[i] - middles[2], middles[i + 3] - middles[i]
        if trimesh.unitize(lower) @ trimesh.unitize(upper) < np.cos(_BENT):
            return float(rings[i])
    return np.inf
