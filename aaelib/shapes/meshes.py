"""Mesh files, as trimesh reads them."""

import json
import re
from pathlib import Path

import igl
import numpy as np
import trimesh
from trimesh.exchange.load import mesh_formats

from . import archives

# Formats of trimesh, without Python objects, a variant of STL, and points without faces.
SUFFIXES = frozenset(f".{name}" for name in mesh_formats() - {"dict", "dict64", "stl_ascii", "xyz"})

# ModelNet40 has files that run header and counts together: "OFF490 518 0".
_OFF_HEADER = re.compile(rb"\s*OFF\s*(\d+)[ \t]+(\d+)(?:[ \t]+\d+)?[ \t\r]*\n")
_PLY_HEADER = re.compile(rb"ply\s+format ascii.*?end_header[ \t\r]*\n", re.DOTALL)


def read(path):
    """
    Read a mesh file.

    Parameters
    ----------
    path : str or Path
        In any format that trimesh reads; a scene is taken as one mesh.

    Returns
    -------
    trimesh.Trimesh
        In the file's unit. No vertices are merged, no faces left out.

    Raises
    ------
    ValueError
        If the file can't be read. The message names it.
    """
    path = Path(path)
    try:
        if path.suffix.lower() in (".off", ".ply"):
            _check_whole(path.read_bytes())
        elif path.suffix.lower() in (".3mf", ".3dxml"):
            archives.check_zip(path)
        elif path.suffix.lower() in (".gltf", ".glb"):
            archives.check(path, 12 * _gltf_numbers(path.read_bytes()))
        scene = trimesh.load_scene(path, process=False, skip_materials=True)
        # A scene may show a part many times over.
        parts = (scene.geometry[scene.graph[node][1]] for node in scene.graph.nodes_geometry)
        archives.check(path, 12 * sum(len(part.faces) for part in parts))
        mesh = scene.to_mesh()
        if path.suffix.lower() == ".stl" and not len(mesh.faces):
            raise ValueError("neither a whole binary STL file nor one in text with any facets")
        if len(mesh.faces) and (mesh.vertices.shape[1], mesh.faces.shape[1]) != (3, 3):
            raise ValueError(f"{mesh.vertices.shape} vertices, {mesh.faces.shape} faces")
        if len(mesh.faces) and not 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices):
            raise ValueError(f"faces of vertices that are not among its {len(mesh.vertices)}")
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
    # Without what else the file says: normals and colours.
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def _check_whole(content):
    """Raise if an OFF or PLY file in text was cut off: trimesh takes the faces that are there."""
    if header := _OFF_HEADER.match(content):
        counts = header.groups()
    elif header := _PLY_HEADER.match(content):
        counts = re.findall(rb"(?m)^element \S+ (\d+)", header[0])
    else:
        return
    body = re.sub(rb"#[^\n]*", b"", content[header.end() :])
    lines = [words for line in body.splitlines() if (words := line.split())]
    expected = sum(map(int, counts))
    is_cut = header.re is _OFF_HEADER and lines and len(lines[-1]) <= int(lines[-1][0])
    if len(lines) < expected or is_cut:
        raise ValueError(f"cut off after {len(lines)} of {expected} lines")


def _gltf_numbers(content):
    """Count the elements that all parts of a glTF file take from its accessors."""
    if content[:4] == b"glTF":
        content = content[20 : 20 + int.from_bytes(content[12:16], "little")]
    tree = json.loads(content)
    parts = [part for mesh in tree.get("meshes", ()) for part in mesh["primitives"]]
    used = [i for part in parts for i in (part.get("indices"), *part["attributes"].values())]
    return sum(tree["accessors"][i]["count"] for i in used if i is not None)


def nearest_on(mesh, points):
    """
    Nearest point of a mesh's faces to each point, as `trimesh.proximity.closest_point` gives it.

    Libigl's search takes a sixth of the time (Jacobson, Panozzo et al., https://libigl.github.io).

    Parameters
    ----------
    mesh : trimesh.Trimesh
    points : (n, 3) array

    Returns
    -------
    nearest : (n, 3) array
    distances : (n,) array
        Unsigned, in the mesh's unit.
    faces : (n,) array of int
    """
    points = np.ascontiguousarray(points, float)
    squared, faces, nearest = igl.point_mesh_squared_distance(
        points, np.array(mesh.vertices, float), np.array(mesh.faces, np.int64)
    )
    return nearest, np.sqrt(squared), faces
