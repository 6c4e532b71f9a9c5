"""Small files that declare gigabytes are refused before the memory is taken."""

import dataclasses
import io
import json
import re
import struct
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import pytest
from analytic import socket
from conftest import TINY, zipped
from test_meshes import gltf, nested_3mf, ply_header

from aaelib.models import autoencoder, files, recipes
from aaelib.shapes import folders
from aaelib.shapes.shape_model import ShapeModel
from benchmarks.measure import own_peak_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")

CONSTANT, MULTIPLE = 0.15, 100  # GB, of the file's size


def reset_peak():
    """Let the peak of this process start again at the present resident size."""
    Path("/proc/self/clear_refs").write_text("5")


def npz(save=np.savez, **arrays):
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def config(**changes):
    """A tiny model's config, which may name wide layers: it is never built here."""
    entries = dataclasses.asdict(recipes.recipe("compact", TINY, **changes))
    return {"name": "tiny", "recipe": entries}


def keras_file(config, shape=None):
    """A saved tiny model of another config, or with compressed zeros in place of a weight."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        autoencoder.AdversarialAutoencoder(recipes.recipe("compact", TINY)).save(file)
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(members["model.weights.h5"])
    if shape:
        with h5py.File(weights, "r+") as opened:
            # The first array that `visititems` comes to.
            name = opened.visititems(lambda name, each: name if hasattr(each, "shape") else None)
            del opened[name]
            opened.create_dataset(name, shape, "f4", chunks=True, compression="gzip")
    saved = json.dumps({"class_name": "AdversarialAutoencoder", "config": config})
    return zipped(members | {"config.json": saved, "model.weights.h5": weights.getvalue()})


def three_mf(depth, n_spaces=0):
    """A `.3mf` file of objects that each show the one before twice, and as many spaces."""
    return zipped({"3D/3dmodel.model": nested_3mf(depth) + n_spaces * " "})


def aliases(depth):
    """YAML whose lists hold the one before nine times."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]")
    return "\n".join([*lines, f"encoder: *a{depth - 1}"]).encode()


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


ZEROS = np.zeros((200, 1_000_000), np.float16)

# Name of a file -> its content.
BOMBS = {
    "wide.npz": lambda: npz(config=json.dumps(config(encoder=(20_000, 20_000)))),
    "wide linear.npz": lambda: npz(config=json.dumps(config(linear_models=1000, n_points=10_000))),
    "packed.npz": lambda: npz(
        save=np.savez_compressed, config=json.dumps(config()), encoder_0=ZEROS
    ),
    "wide.keras": lambda: keras_file(config(decoder=(20_000, 20_000))),
    "transform.keras": lambda: keras_file(config(encoder=(8, 2000), tnets=True)),
    "packed.keras": lambda: keras_file(config(), (200, 1_000_000)),
    "shape model.npz": lambda: npz(np.savez_compressed, mean=ZEROS[:60], modes=ZEROS[:60]),
    "cloud.npy": lambda: header((10**9, 3)) + bytes(600),
    "binary.ply": lambda: ply_header("binary_little_endian", 10**9, 1).encode() + bytes(600),
    "mixed.ply": lambda: (
        ply_header("binary_little_endian", 2, 10**9).encode()
        + bytes(24)
        + np.array([3, 0, 0, 0, 4, 0, 0, 0, 0], "u1").repeat([1, 4, 4, 4, 1, 4, 4, 4, 4]).tobytes()
        * 40_000
    ),
    "text.ply": lambda: ply_header("ascii", 10**9, 1).encode() + b"0 0 0\n",
    "counts.stl": lambda: bytes(80) + struct.pack("<I", 10**9) + bytes(50),
    "counts.off": lambda: b"OFF\n1000000000 1 0\n0 0 0\n3 0 1 2\n",
    "corners.off": lambda: b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n900000000 0 1 2\n",
    "zeros.gltf": lambda: gltf(count=3 * 10**7, with_buffer=False).encode(),
    "nodes.gltf": lambda: gltf(nodes=3000, count=3000).encode(),
    "primitives.gltf": lambda: gltf(primitives=3000, count=3000).encode(),
    "spaces.3mf": lambda: three_mf(1, 150_000_000),
    "nested.3mf": lambda: three_mf(40),
    "aliases.yaml": lambda: aliases(10),
}
READERS = {".npz": files.load, ".keras": files.load, ".yaml": recipes.recipe}
READERS["shape model.npz"] = ShapeModel.load


@pytest.fixture(scope="module", autouse=True)
def warm(saved, tmp_path_factory):
    """What readers import and set up once is no file's."""
    folder = tmp_path_factory.mktemp("warm")
    for suffix in (".npz", ".keras"):
        files.load(saved / f"model{suffix}")
    ShapeModel.fit([socket(), socket(220)]).save(folder / "shape model.npz")
    ShapeModel.load(folder / "shape model.npz")
    for suffix in (".stl", ".ply", ".off", ".glb", ".3mf"):
        socket().mesh().export(folder / f"mesh{suffix}")
        folders.read(folder / f"mesh{suffix}", 100)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_no_more_memory_than_its_size_warrants(name, tmp_path):
    file = tmp_path / name
    file.write_bytes(BOMBS[name]())
    read = READERS.get(name) or READERS.get(file.suffix, folders.read)
    reset_peak()
    before = own_peak_memory()
    with pytest.raises(ValueError, match=re.escape(name)):
        read(file)
    assert own_peak_memory() - before < CONSTANT + MULTIPLE * file.stat().st_size / 1e9
