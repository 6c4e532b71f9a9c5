"""Read mesh files that others have published, and compare with what a second reader finds."""

import collections
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import trimesh
from tqdm import tqdm

from aaelib.shapes import meshes

# Wheels that hold mesh files, of robots and of a graphics library, and the second reader.
PACKAGES = "dm-control==1.0.50", "gymnasium-robotics==1.4.2", "pyvista==0.49.1", "robosuite==1.5.2"
PACKAGES += "mani-skill==3.0.1", "pymeshlab==2025.7.post1"
SUFFIXES = ".glb", ".obj", ".ply", ".stl"  # of those that both readers take and packages have
OUTCOMES = "agree", "refused by both", "refused by ours", "refused by the other", "differ"


def install(folder):
    """Unpack `PACKAGES` into a folder, without what they need to run."""
    pip = [uv, "pip"] if (uv := shutil.which("uv")) else [sys.executable, "-m", "pip"]
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(folder)]
    subprocess.run([*pip, "install", *options, *PACKAGES], check=True)
    sys.path.append(str(folder))  # for MeshLab


def outcome(file):
    """Which of `OUTCOMES` a mesh file has, by area and by the sizes of the box around its faces."""
    ours = _facts(lambda: meshes.read(file))
    other = _facts(lambda: _by_meshlab(str(file)))
    if ours is None or other is None:
        return OUTCOMES[1 + (other is not None) + 2 * (ours is not None)]
    # Quads that are not flat have one area for each diagonal.
    alike = np.isclose(ours[0], other[0], rtol=2e-3) and np.allclose(ours[1:], other[1:], rtol=1e-5)
    return "agree" if alike else "differ"


def _by_meshlab(name):
    """Read a file by MeshLab, all parts of a scene."""
    import pymeshlab  # one of `PACKAGES`

    scene = pymeshlab.MeshSet()
    scene.load_new_mesh(name)
    parts = [(part.transformed_vertex_matrix(), part.face_matrix()) for part in scene]
    return trimesh.Trimesh(*trimesh.util.append_faces(*zip(*parts, strict=True)), process=False)


def _facts(read):
    """Area and box of a mesh, or None if the reader fails or finds no faces."""
    try:
        with warnings.catch_warnings(action="ignore"):
            mesh = read()
        triangles = np.asarray(mesh.vertices, float)[mesh.faces]
        edges = np.diff(triangles, axis=1)
        area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2
        return area, *np.ptp(triangles.reshape(-1, 3), axis=0)
    except Exception:  # readers raise what they like
        return None


def run(folder=None):
    """
    Read all mesh files under a folder, or those of `PACKAGES`, which are fetched.

    Returns
    -------
    table : str
        Markdown: how many files of each suffix have each of `OUTCOMES`.
    differ : list of Path
        Files that the two readers take for different meshes, or that ours alone refuses.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as fetched:
            install(fetched)
            return run(fetched)
    files = [each for each in sorted(Path(folder).rglob("*")) if each.suffix.lower() in SUFFIXES]
    found = {file: outcome(file) for file in tqdm(files, "meshes", file=sys.stderr)}
    counts = collections.Counter((file.suffix.lower(), how) for file, how in found.items())
    rows = [
        f"| {suffix} | " + " | ".join(str(counts[suffix, how]) for how in OUTCOMES) + " |"
        for suffix in SUFFIXES
    ]
    differ = [file for file, how in found.items() if how in ("differ", "refused by ours")]
    head = [f"| files | {' | '.join(OUTCOMES)} |", "|:--" + "|--:" * len(OUTCOMES) + "|"]
    return "\n".join(["## Public mesh files", "", *head, *rows]) + "\n", differ
