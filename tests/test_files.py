"""Files are written whole or not at all, and by one process at a time."""

import errno
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from aaelib.shapes.writing import locked, replacing


@contextmanager
def largest_file(n_bytes):
    """Let no file get larger, as a full disk would: what is beyond is not written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_block_that_raises_leaves_what_was_there_and_one_that_ends_well_replaces_it(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("before")

    def cut_off():
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
    with replacing(file) as temporary:
        assert (temporary.suffix, temporary.name[0]) == (".csv", ".")
        temporary.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after"
    assert list(tmp_path.iterdir()) == [file]


# Where nothing can be written


def write_h5(file):
    with h5py.File(file, "w") as opened:
        opened["zeros"] = np.zeros(10_000)


WRITERS = {
    "page.html": lambda file: file.write_text("x" * 10_000),
    "arrays.npz": lambda file: np.savez(file, np.zeros(10_000)),
    "weights.h5": write_h5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_does_not_fit_is_named_and_what_was_there_stays(tmp_path, name):
    file = tmp_path / name
    file.write_text("before")

    def write():
        with largest_file(4000), replacing(file) as temporary:
            WRITERS[name](temporary)

    with pytest.raises(OSError, match=rf"(?s)what was there before is as it was .*{name}"):
        write()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(tmp_path):
    file = tmp_path / "table.csv"
    (file / "inside").mkdir(parents=True)
    refused = pytest.raises(IsADirectoryError, match=r"a folder is in its place.*table\.csv")
    with refused, replacing(file):
        raise AssertionError("the work has begun")
    assert (file / "inside").is_dir()


@pytest.mark.parametrize(
    "error", [ValueError("no number"), PermissionError(errno.EACCES, "denied", "input.csv")]
)
def test_an_error_of_something_else_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as raised, replacing(tmp_path / "table.csv"):
        raise error
    assert raised.value is error


def test_a_killed_process_leaves_what_was_there_and_no_table_that_a_search_finds(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("before")
    code = (
        "import os, sys\nfrom aaelib.shapes.writing import replacing\n"
        "with replacing(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os._exit(1)"
    )
    assert subprocess.run([sys.executable, "-c", code, file]).returncode == 1
    assert file.read_text() == "before"
    assert [f for f in tmp_path.iterdir() if not f.name.startswith(".")] == [file]


# One at a time


HOLD = """
import sys, time
from aaelib.shapes.writing import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held(path, seconds=60):
    """Another process holds a path."""
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_who_comes_second_is_told(tmp_path):
    path = tmp_path / "new" / "smoke"
    refused = pytest.raises(RuntimeError, match=r"smoke is in use .*stop it, then run again")
    with held(path), refused, locked(path, patience=0):
        pass


def test_a_lock_ends_with_a_killed_process(tmp_path):
    with held(tmp_path / "run") as other:
        other.send_signal(signal.SIGKILL)
        with locked(tmp_path / "run"):
            pass


def test_who_comes_second_waits_for_one_that_is_about_to_end_and_leaves_nothing_behind(tmp_path):
    with held(tmp_path / "run", seconds=0.5), locked(tmp_path / "run", patience=30):
        assert [file.name for file in tmp_path.iterdir()] == [".run.lock"]
    assert list(tmp_path.iterdir()) == []
