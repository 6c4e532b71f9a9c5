"""Files of a socket: a wall to print around its surface, and its measurements."""

from pathlib import Path

import numpy as np
import pandas as pd
import trimesh
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve
from trimesh.triangles import points_to_barycentric

from .meshes import nearest_on
from .writing import replacing

MAX_THICKNESS = 20.0  # mm; walls of printed sockets have 3 to 8
FORMATS = (".stl", ".3mf", ".ply")  # of shells

_SMOOTHING = 2.0  # of the wall's directions, in thicknesses; 1 leaves folds at dented distal ends
_TOLERANCE = 0.01  # mm, of the thickness at the nodes
_STEPS = 30  # towards the thickness; 5 do for most sockets, 20 in the deepest pits
_RIM_SEGMENTS = 8  # of the half circle; with 6 mm the chords are 0.06 mm inside


def export(surface, path, thickness=4.0, formats=FORMATS, motion=None):
    """
    Write a socket as a closed shell to print, in the format of the path's suffix.

    Parameters
    ----------
    surface : SocketSurface
        Its inner surface.
    path : str or Path
        A ``.stl`` (binary), ``.3mf`` or ``.ply`` (binary) file. Coordinates are mm; of the three
        only 3MF says so.
    thickness : float
        Of the wall, mm: above 0, up to 20.
    formats : tuple of str
        Suffixes to accept, of those above.
    motion : (4, 4) array, optional
        Of the shell, such as one to the scan that the socket is of.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the suffix is not accepted, if `thickness` is out of range, or if such a wall would cross
        itself (`thicken`).
    """
    path = checked_path(path, formats)
    shell = surface.shell(thickness)
    if motion is not None:
        shell.apply_transform(motion)
    with replacing(path) as temporary:
        shell.export(temporary, file_type=path.suffix[1:].lower())
    return path


def write(surface, path, thickness, motion=None):
    """Write a `SocketSurface` by the path's suffix: its measures (`.csv`), or a closed wall."""
    if path.suffix.lower() == ".csv":
        return export_measurements(surface, path)
    return export(surface, path, thickness, motion=motion)


def export_measurements(surface, path):
    """
    Write a socket's measurements as a table (CSV).

    The ``part`` of the first row is "socket": it has the measurements of the whole. Each further
    row is a "section", from the distal end up. Cells that do not apply are empty. The other columns
    are named as in `SocketSurface.measure`, or start with ``section_``, and end in their unit.

    Parameters
    ----------
    surface : SocketSurface
        To measure.
    path : str or Path
        Of the ``.csv`` file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If the suffix is not ``.csv``.
    """
    path = checked_path(path, (".csv",))
    measures = surface.measure()
    sections = pd.DataFrame(
        {
            "part": "section",
            "section_height_mm": measures.pop("heights_mm"),
            "section_perimeter_mm": measures.pop("perimeters_mm"),
            "section_area_mm2": measures.pop("areas_mm2"),
        }
    )
    socket = pd.DataFrame({"part": ["socket"], **measures})
    with replacing(path) as temporary:
        table = pd.concat([socket, sections])
        temporary.write_text(table.to_csv(index=False, float_format="%.2f"))
    return path


def thicken(mesh, brim, thickness):
    """
    Build a closed wall around an open cup, with a rounded rim.

    The inner wall is the cup itself. Each vertex of it has a partner on the outer wall, in the
    direction of the vertex normal after one implicit step of heat flow over the cup (Desbrun et al.
    1999). Plain normals would meet within the wall where the outside is hollow, and the offset
    would fold over. Sphere tracing (Hart 1996) finds how far out the partner is: each step is as
    long as the thickness exceeds the distance from the cup, so no step crosses the offset surface.
    The rim is a half circle on each vertex of the brim, upwards from wall to wall. It adds half the
    thickness to the socket's length.

    Parameters
    ----------
    mesh : trimesh.Trimesh
        The cup, mm; its normals point outwards, its one boundary is the brim.
    brim : array_like
        (n,) indices of the boundary's vertices in order, counterclockwise about the way out.
    thickness : float
        Of the wall, mm: above 0, up to 20.

    Returns
    -------
    trimesh.Trimesh
        Watertight, in mm, its normals outwards. First the vertices and faces of the inner wall,
        in the order of `mesh`, then those of the outer one, then the rim's.

    Raises
    ------
    ValueError
        If `thickness` is out of range, if faces of `mesh` have no area, or if such a wall would
        cross itself: where a lip or a dent leaves no room for it.
    """
    if not 0 < thickness <= MAX_THICKNESS:
        raise ValueError(f"thickness is {thickness}; walls have above 0, up to {MAX_THICKNESS} mm")
    if flat := np.count_nonzero(mesh.area_faces == 0):
        raise ValueError(f"{flat} faces of the surface have no area: its vertices must differ")
    directions = _smoothed(mesh, mesh.vertex_normals, _SMOOTHING * thickness)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = _lengths(mesh, directions, thickness)
    outer = mesh.vertices + lengths[:, None] * directions
    _check_room(mesh, outer, directions, thickness)
    return _closed(mesh, outer, np.asarray(brim))


def checked_path(path, suffixes):
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        accepted = ", ".join(suffixes)
        raise ValueError(f"{path} has the suffix {path.suffix!r}; files are written as {accepted}")
    return path


def _smoothed(mesh, values, length):
    """Smooth values (n_vertices, k) by heat flow over about `length` mm of the mesh."""
    mass = np.bincount(mesh.faces.ravel(), np.repeat(mesh.area_faces / 3, 3))
    system = diags_array(mass) + length**2 * _stiffness(mesh)
    return spsolve(system.tocsc(), mass[:, None] * values)


def _stiffness(mesh):
    """Laplace-Beltrami operator (n_vertices, n_vertices), by cotangents (Pinkall et al. 1993)."""
    # A corner's cotangent weighs the edge that faces it.
    weights = (0.5 / np.tan(mesh.face_angles)).ravel()
    start, end = np.roll(mesh.faces, -1, axis=1).ravel(), np.roll(mesh.faces, -2, axis=1).ravel()
    edges = coo_array((weights, (start, end)), shape=2 * (len(mesh.vertices),))
    edges = edges + edges.T
    return diags_array(edges.sum(axis=0)) - edges


def _lengths(mesh, directions, thickness):
    """Trace how far out (n_vertices,) the mesh is `thickness` away; nan where it never is."""
    lengths = np.full(len(directions), float(thickness))
    short = np.arange(len(directions))
    for _ in range(_STEPS):
        tips = mesh.vertices[short] + lengths[short, None] * directions[short]
        nearest, distances, faces = nearest_on(mesh, tips)
        # Where a lip leaves less room than two walls need, the way out leads through the lip.
        inside = np.einsum("ij,ij->i", tips - nearest, _normals(mesh, nearest, faces)) < 0
        lengths[short] += np.where(inside, np.nan, thickness - distances)
        short = short[~inside & (distances < thickness - _TOLERANCE)]
        if not len(short):
            return lengths
    lengths[short] = np.nan
    return lengths


def _normals(mesh, points, faces):
    """Interpolate normals (n, 3) at points on faces: on an edge, between those of both sides."""
    shares = points_to_barycentric(mesh.triangles[faces], points)
    return np.einsum("ij,ijk->ik", shares, mesh.vertex_normals[mesh.faces[faces]])


def _check_room(mesh, outer, directions, thickness):
    """Raise if part of the outer wall was not found, or is turned over."""
    normals = np.cross(*np.diff(outer[mesh.faces], axis=1).transpose(1, 0, 2))
    fits = np.einsum("ij,ij->i", normals, directions[mesh.faces].sum(axis=1)) > 0
    if not fits.all():
        heights = mesh.triangles_center[~fits, 2] - mesh.vertices[:, 2].min()
        where = f"between {heights.min():.0f} and {heights.max():.0f} mm above the distal end"
        advice = "the surface is bent too tightly; choose a thinner wall, or a smoother surface"
        raise ValueError(f"a wall of {thickness} mm would cross itself {where}: {advice}")


def _closed(mesh, outer, brim):
    n = len(outer)
    rim = _rim(mesh.vertices[brim], outer[brim])
    between = 2 * n + np.arange(rim.shape[0] * rim.shape[1]).reshape(rim.shape[:2])
    faces = _band(np.concatenate([[brim + n], between, [brim]]))
    return trimesh.Trimesh(
        np.concatenate([mesh.vertices, outer, rim.reshape(-1, 3)]),
        np.concatenate([mesh.faces[:, ::-1], mesh.faces + n, faces]),
        process=False,
    )


def _rim(inner, outer):
    """Put points (segments - 1, n, 3) on half circles from the outer brim (n, 3) to the inner."""
    middle, half = (inner + outer) / 2, (outer - inner) / 2
    along = np.roll(middle, -1, axis=0) - np.roll(middle, 1, axis=0)
    up = np.cross(half, along)
    up *= np.linalg.norm(half, axis=1, keepdims=True) / np.linalg.norm(up, axis=1, keepdims=True)
    turns = np.linspace(0, np.pi, _RIM_SEGMENTS + 1)[1:-1, None, None]
    return middle + np.cos(turns) * half + np.sin(turns) * up


def _band(rings):
    """Triangulate (m, 3) between rings (k, n) of vertices, each around the one before."""
    here, there = rings, np.roll(rings, -1, axis=1)
    lower = np.stack([here[:-1], there[:-1], there[1:]], axis=-1)
    upper = np.stack([here[:-1], there[1:], here[1:]], axis=-1)
    return np.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3)])
