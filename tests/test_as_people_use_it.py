"""Read-only checkouts, notebooks edited elsewhere or run in JupyterLab, and texts that changed."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from test_execution import Pair
from test_report import read

from aaelib.apps import cli, lab
from aaelib.models import code
from benchmarks.measure import free_ports
from benchmarks.page import TOKEN

ROOT = Path(__file__).resolve().parents[1]
UNTRACKED = shutil.ignore_patterns("SocketSSM", "ModelNet*", "*.zip", "__pycache__", ".*")

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
    root = tmp_path_factory.mktemp("read-only") / "checkout"
    root.mkdir()
    for name in ("aaelib", "notebooks", "data"):
        shutil.copytree(ROOT / name, root / name, ignore=UNTRACKED)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    folders = [root, *(folder for folder in root.rglob("*") if folder.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield root
    for folder in folders:
        folder.chmod(0o755)


def start(command, root, **variables):
    ours = ("MAKE", "MFLAGS", "AAELIB_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return subprocess.Popen(
        [*UNPRIVILEGED, *command],
        cwd=root,
        env=environment | {"PYTHONPATH": str(root)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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
    arguments = ["-m", "aaelib", "explore", "--no-browser", f"--port={port}"]
    page = ""
    with start([sys.executable, *arguments], read_only, JUPYTER_TOKEN=TOKEN) as process:
        while not page:
            assert process.poll() is None, process.stdout.read()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/?token={TOKEN}") as answer:
                    page = answer.read().decode()
            except OSError:
                time.sleep(0.2)
        process.terminate()
    assert "application/vnd.jupyter.widget-view+json" in page
    assert "Traceback" not in page


# Pairs --------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "NOTEBOOKS", tmp_path)
    return Pair(tmp_path)


def test_jupyterlab_keeps_the_stored_output_of_a_cell_whose_text_stays(pair):
    ran = read(pair.stored)
    ran.cells[1].update(execution_count=7, outputs=[])
    ran.cells.append(nbformat.v4.new_code_cell("b", execution_count=8))

    def save():
        model, manager = {"type": "notebook", "content": ran}, SimpleNamespace(root_dir=folder)
        lab.without_kernel(model, f"/{pair.stored.name}", manager)

    folder = str(pair.stored.parent)
    save()
    assert ran.cells[1] == read(pair.stored).cells[1]
    assert ran.cells[2].execution_count == 8
    ran.cells[1].update(source="a = 5\na", execution_count=9, outputs=[])
    save()
    assert (ran.cells[1].execution_count, ran.cells[1].outputs) == (9, [])


# What a text is part of ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "modules"),
    [
        ("card_sockets.md.j2", {"cards"}),
        ("card_pretrained.md.j2", {"cards"}),
        ("evaluation.html.j2", {"model_report"}),
    ],
)
def test_a_changed_text_of_a_card_writes_the_card_again(tmp_path, monkeypatch, template, modules):
    def digests():
        names = ("cards", "model_report", "figures", "tables")
        return {name: code.digest_of(f"aaelib.study.{name}") for name in names}

    shutil.copytree(ROOT / "aaelib", tmp_path / "aaelib", ignore=UNTRACKED)
    monkeypatch.setattr(code, "_PACKAGE", tmp_path / "aaelib")
    before = digests()
    text = tmp_path / "aaelib/study/templates" / template
    text.write_text(text.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    after = digests()
    assert {name for name in before if before[name] != after[name]} == modules
