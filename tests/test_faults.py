"""Runs in which a single write fails, in Python or in a library below it."""

import shutil
import subprocess
import sys

import pytest

from benchmarks.page import ROOT


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace lets the calls fail")
def test_a_write_of_a_cloud_that_fails_leaves_the_old_or_the_new_and_a_second_run_completes():
    counts = ["--resample", "30"]
    command = [sys.executable, "-m", "benchmarks", "faults", *counts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
