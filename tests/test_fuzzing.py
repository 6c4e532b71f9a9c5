"""A short run of every fuzz target; `python tests/fuzz/fuzz_readers.py TARGET` makes a long one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz.fuzz_readers import TARGETS
from test_meshes import polygon_file

SCRIPT = Path(__file__).parent / "fuzz" / "fuzz_readers.py"
# Building a network takes a thousand times as long as reading an array.
RUNS = {"model": 15, "weights": 30}


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_fuzzer_makes_is_read_or_refused_by_name(target, tmp_path):
    run = subprocess.run(
        [sys.executable, SCRIPT, target, "-seed=1", f"-atheris_runs={RUNS.get(target, 2000)}"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert run.returncode == 0, run.stderr[-5000:]
    assert not list(tmp_path.glob("crash-*"))


@pytest.mark.parametrize(
    ("target", "change"),
    [
        # Points of two coordinates, and of one.
        ("mesh-obj", lambda _: b"v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n"),
        ("mesh-obj", lambda _: b"v 0\nv 1\nv 2\nf 1 2 3\n"),
        ("mesh-gltf", lambda seed: seed.replace(b'"VEC3"', b'"SCALAR"')),
        # Corners that are not there.
        ("mesh-ply", lambda _: polygon_file("ply", np.eye(3), [0, 1, 721420312]).encode()),
        ("mesh-ply", lambda _: polygon_file("ply", np.eye(3), [0, 1, -7]).encode()),
        # Compressed bytes that are damaged.
        ("shape-model", lambda seed: seed[:58] + 8 * b"\xff" + seed[66:]),
    ],
)
def test_what_a_fuzzer_found_is_refused_by_name(target, change, tmp_path):
    seed = next(iter(TARGETS[target].seeds(tmp_path)))
    file = tmp_path / "read" / f"found{TARGETS[target].suffix}"
    file.parent.mkdir()
    file.write_bytes(change(seed))
    with pytest.raises(ValueError, match="found"):
        TARGETS[target].read(file)
