"""Read-only checkouts, and notebooks run in JupyterLab."""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from conftest import copy_checkout
from test_execution import Pair
from test_report import read

from aaelib.apps import lab
from benchmarks.measure import free_ports
from benchmarks.page import TOKEN, wait_for_answer

ROOT = Path(__file__).resolve().parents[1]

# A read-only checkout -----------------------------------------------------------------------------

# Root may write everywhere, but for this.
UNPRIVILEGED = (
    ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]
    if os.name == "posix" and os.getuid() == 0
    else []
)
unprivileged = pytest.mark.skipif(
    os.name != "posix" or bool(UNPRIVILEGED and not shutil.which("setpriv")),
    reason="nothing here can be made read-only for this user",
)


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    """A copy of the checkout in which nothing may be written."""
    root = copy_checkout(tmp_path_factory.mktemp("read-only") / "checkout")
    folders = [root, *(folder for folder in root.rglob("*") if folder.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield root
    for folder in folders:
        folder.chmod(0o755)


def start(command, root, **variables):
    ours = ("MAKE", "MFLAGS", "AAELIB_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environment |= {"PYTHONPATH": str(root)} | variables
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*UNPRIVILEGED, *command], cwd=root, env=environment, **pipes)


@pytest.mark.slow
@unprivileged
def test_make_reproduce_in_a_read_only_checkout_says_where_it_would_write(read_only):
    with start(["make", "reproduce", f"VENV={sys.prefix}"], read_only) as process:
        said = process.communicate()[0]
    assert process.returncode != 0
    folder = read_only / "results" / "default" / "notebooks"
    assert f"results go to {folder}, which can't be written" in said
    assert "Traceback" not in said


@pytest.mark.slow
@unprivileged
def test_the_explorer_of_a_read_only_checkout_opens(read_only):
    [port] = free_ports(1)
    explore = [sys.executable, "-m", "aaelib", "explore", "--no-browser", f"--port={port}"]
    with start(explore, read_only, JUPYTER_TOKEN=TOKEN) as process:
        wait_for_answer(f"http://127.0.0.1:{port}/voila/static/nothing", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?token={TOKEN}") as answer:
            page = answer.read().decode()
        process.terminate()
    assert "application/vnd.jupyter.widget-view+json" in page
    assert "Traceback" not in page


# Pairs --------------------------------------------------------------------------------------------


def test_jupyterlab_keeps_the_stored_output_of_a_cell_whose_text_stays(tmp_path):
    stored = Pair(tmp_path).stored
    ran = read(stored)
    ran.cells[1].update(execution_count=7, outputs=[])
    ran.cells.append(nbformat.v4.new_code_cell("b", execution_count=8))

    def save():
        model, manager = {"type": "notebook", "content": ran}, SimpleNamespace(root_dir=folder)
        lab.without_kernel(model, f"/{stored.name}", manager)

    folder = str(stored.parent)
    save()
    assert ran.cells[1] == read(stored).cells[1]
    assert ran.cells[2].execution_count == 8
    ran.cells[1].update(source="a = 5\na", execution_count=9, outputs=[])
    save()
    assert (ran.cells[1].execution_count, ran.cells[1].outputs) == (9, [])
