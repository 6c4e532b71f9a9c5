"""A short run of every fuzz target; `python tests/fuzz/fuzz_readers.py TARGET` makes a long one."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.fuzz_readers import TARGETS

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
