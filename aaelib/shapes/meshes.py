"""Mesh files: vertices and faces, read in little more memory than they take."""

import re
from itertools import takewhile
from pathlib import Path

import numpy as np
import trimesh
from trimesh.exchange.load import mesh_formats
from trimesh.exchange.ply import load_ply
from trimesh.exchange.stl import load_stl

# Formats of trimesh, without Python objects, a variant of STL, and points without faces.
SUFFIXES = frozenset(f".{name}" for name in mesh_formats() - {"dict", "dict64", "stl_ascii", "xyz"})

# ModelNet40 has files that run header and counts together: "OFF490 518 0".
_OFF_HEADER = re.compile(rb"\s*OFF\s*(\d+)[ \t]+(\d+)(?:[ \t]+\d+)?[ \t\r]*\n")


def read(path):
    """
    Read a mesh file.

    Parameters
    ----------
    path : str or Path
        In any format that trimesh reads; a scene is taken as one mesh.

    Returns
    -------
    vertices : numpy.ndarray
        (n, 3) floats, as precise as the file has them, in its unit.
    faces : numpy.ndarray
        (m, 3) integers, indices of vertices. None are merged or left out.

    Raises
    ------
    ValueError
        If the file can't be read. The message names it.
    """
    path = Path(path)
    try:
        return _read(path)
    except MemoryError as error:
        raise ValueError(
            f"{path}: too large for the free memory; close other programs, or take a mesh with "
            "fewer faces"
        ) from error
    except Exception as error:  # each of trimesh's readers raises what it likes
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{path}: not a mesh that trimesh can read ({what[:200]}); accepted: "
            f"{', '.join(sorted(SUFFIXES))}; write the file again, or take it out"
        ) from error


def _read(path):
    reader = _READERS.get(path.suffix.lower())
    found = reader(path) if reader else None
    if found is None:
        mesh = trimesh.load_mesh(path, process=False)
        found = mesh.vertices.view(np.ndarray), mesh.faces.view(np.ndarray)
    return _checked("vertices", found[0], "fiu"), _checked("faces", found[1], "iu")


def _checked(name, array, kinds):
    """Check for rows of three numbers: a damaged file may give lists, or rows of two."""
    if not array.size:
        return np.empty((0, 3), int)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in kinds:
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}, not (n, 3)")
    return array


def _read_off(path):
    """Read a file of triangles only, else None; trimesh would make a list of every line."""
    with path.open("rb") as file:
        header = _OFF_HEADER.match(file.read(1000))
        if not header:
            return None
        counts = [int(count) for count in header.groups()]
        file.seek(header.end())
        if sum(counts) > path.stat().st_size:
            raise ValueError(f"its header counts {counts[0]} vertices and {counts[1]} faces")
        vertices = np.fromfile(file, np.float64, 3 * counts[0], sep=" ")
        faces = np.fromfile(file, np.int64, 4 * counts[1], sep=" ")
        is_all = len(vertices) == 3 * counts[0] and len(faces) == 4 * counts[1]
        if is_all and (faces[::4] == 3).all() and not file.read(1000).strip():
            return vertices.reshape(-1, 3), faces.reshape(-1, 4)[:, 1:]
        file.seek(header.end())
        _check_off(file, *counts)
    return None


def _check_off(file, n_vertices, n_faces):
    """Raise if lines are missing, or the end of the last one: trimesh would not notice."""
    found, last = 0, b"0"
    for line in file:
        if words := line.split(b"#")[0].split():
            found, last = found + 1, words
    if found < n_vertices + n_faces or (n_faces and len(last) <= int(last[0])):
        raise ValueError(
            f"cut off after {found} lines of {n_vertices} vertices and {n_faces} faces"
        )


def _check_ply(file):
    """Raise if lines of a PLY file in ASCII are missing; trimesh checks binary files."""
    header = [line.split() for line in takewhile(lambda line: line.strip() != b"end_header", file)]
    if [b"format", b"ascii", b"1.0"] not in header:
        return
    counts = [int(words[2]) for words in header if words[:1] == [b"element"]]
    found = sum(1 for line in file if line.strip())
    if found < sum(counts):
        raise ValueError(f"cut off after {found} of {sum(counts)} lines")


def _read_ply(path):
    with path.open("rb") as file:
        found = load_ply(file)
        file.seek(0)
        _check_ply(file)
    return _arrays(found)


def _read_stl(path):
    with path.open("rb") as file:
        found = load_stl(file)
    if "faces" not in found and not found.get("geometry"):
        raise ValueError("neither a whole binary STL file nor one in text with any facets")
    return _arrays(found)


def _arrays(found):
    """Get vertices and faces from a reader's dict, else None; a trimesh would hold copies."""
    vertices, faces = (np.asarray(found.get(name, ())) for name in ("vertices", "faces"))
    are_triangles = faces.ndim == 2 and faces.shape[1] == 3 and vertices.ndim == 2
    return (vertices, faces) if are_triangles else None


_READERS = {".off": _read_off, ".ply": _read_ply, ".stl": _read_stl}
