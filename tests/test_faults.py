"""Writes that fail, in Python or in a library below it; and files that others have published."""

import shutil
import subprocess
import sys

import pytest

from benchmarks import public_meshes
from benchmarks.page import ROOT


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace lets the calls fail")
def test_a_write_of_a_cloud_that_fails_leaves_the_old_or_the_new_and_a_second_run_completes():
    counts = ["--resample", "30"]
    command = [sys.executable, "-m", "benchmarks", "faults", *counts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


@pytest.mark.slow
def test_public_mesh_files_are_read_as_a_second_reader_does_or_refused_by_both(tmp_path):
    try:
        public_meshes.install(tmp_path)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"packages with mesh files can't be had: {error}")
    table, differ = public_meshes.run(tmp_path)
    assert differ == [], table
    assert table.count("| 0 | 0 | 0 |\n") == len(public_meshes.SUFFIXES)
