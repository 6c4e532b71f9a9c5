"""Notebook 05 in JupyterLab, as people use it, in a real browser: part of `make test-browser`."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from analytic import sockets
from conftest import copy_checkout
from test_report_page import MOST_CONTEXTS, WATCH

from aaelib import shapes
from aaelib.models import exported, files
from aaelib.study import Study, cards, conditions
from benchmarks.measure import free_ports
from benchmarks.page import TOKEN, WAIT, WatchedPage, chromium, wait_for_answer

pytestmark = pytest.mark.browser

NOTEBOOK = "notebooks/05_latent_exploration.ipynb"
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}  # which JupyterLab asks others for
CELLS = "[...window.jupyterapp.shell.currentWidget.content.model.cells]"
IS_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === "idle";
}"""
# Each figure in view has what draws it.
ALL_DRAWN = """() => [...document.querySelectorAll(".js-plotly-plot")].every(figure => {
  const {top, bottom} = figure.getBoundingClientRect();
  return top >= innerHeight || bottom <= 0 || figure.querySelector("canvas, .main-svg");
})"""
CAPTIONS = "[...document.querySelectorAll('.jp-RenderedMarkdown strong')].map(e => e.innerText)"
# Of the socket that the explorer shows.
HEIGHTS = (
    "String(document.querySelector('.jp-OutputArea:has(.aaelib-sizes) .js-plotly-plot')"
    "._fullData[0].z.slice(0, 50))"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, cups, cup_model):
    """A copy of the checkout under git, with what notebook 05 reads of those before it."""
    root = copy_checkout(tmp_path_factory.mktemp("lab") / "checkout")
    # As many scans as these few sockets leave room for, and two of a kind to test on.
    profile = root / "notebooks" / "profiles" / "smoke.yaml"
    text = profile.read_text().replace("{TT: 30, TF: 21}", "{TT: 5, TF: 5}")
    profile.write_text(text.replace("test: 0.35", "test: 0.7"))
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=all"]):
        identity = ["-c", "user.name=a", "-c", "user.email=b"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True)
    study = Study("smoke", "05_latent_exploration")
    study.folder = root / "results" / "smoke"
    own = shapes.load_clouds(cups, 128)
    surfaces = sockets(8, 1) + sockets(8, 0)  # of TF, then of TT
    study.save_sockets(own, surfaces)
    model = conditions.path_of(study, conditions.CONDITIONS[conditions.BEST])
    model.parent.mkdir()
    for suffix in (".keras", ".json"):
        shutil.copy(cup_model.with_suffix(suffix), model.with_suffix(suffix))
    exported.export_weights(files.load(cup_model), cards.weights_path(study, "sockets"))
    return root


@contextmanager
def jupyterlab(root):
    """Serve a checkout as `make lab` does; gives the address, without a user's own settings."""
    settings = root.parent / "JUPYTERLAB_SETTINGS/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS))
    [port] = free_ports(1)
    options = f"--no-browser --port={port} --IdentityProvider.token={TOKEN} --expose-app-in-browser"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "AAELIB_"))}
    environment |= {"AAELIB_PROFILE": "smoke", "PYTHONPATH": str(root)}
    for name in ("LAB_SETTINGS", "LAB_WORKSPACES", "_CONFIG", "_DATA", "_RUNTIME"):
        environment[f"JUPYTER{name}_DIR"] = str(root.parent / f"JUPYTER{name}")
    command = ["make", "lab", f"VENV={sys.prefix}", f"LAB_OPTIONS={options}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=root, env=environment, start_new_session=True, **quiet)
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/api", process)
        yield f"http://127.0.0.1:{port}/lab/tree/{NOTEBOOK}?token={TOKEN}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def watched(checkout):
    """Notebook 05 in JupyterLab, all of whose cells have been run."""
    with jupyterlab(checkout) as address, chromium() as browser:
        opened = WatchedPage(browser, address, WATCH)
        page = opened.page
        page.wait_for_function(IS_READY)
        for item in ("Run", "Run All Cells"):
            page.get_by_role("menuitem", name=item, exact=True).click()
        page.wait_for_function(f"{CELLS}.some(cell => cell.executionState === 'running')")
        is_over = f"!{CELLS}.some(cell => cell.executionState === 'running')"
        page.wait_for_function(is_over, timeout=5 * WAIT)
        yield opened


def test_all_cells_run_and_nothing_gets_lost_while_one_scrolls(watched):
    page = watched.page
    outputs = f"{CELLS}.flatMap(c => c.outputs?.toJSON() ?? [])"
    assert page.evaluate(f"{outputs}.filter(o => o.ename)") == []
    shown = set()
    # In the margin: over a figure, the wheel zooms.
    notebook = page.locator(".jp-WindowedPanel-outer").first
    box = notebook.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 100)
    notebook.evaluate("panel => panel.scrollTo(0, 0)")
    for _ in range(100):
        page.wait_for_timeout(300)
        page.wait_for_function(ALL_DRAWN)
        shown |= set(page.evaluate(CAPTIONS))
        assert page.evaluate("live()") <= MOST_CONTEXTS
        if notebook.evaluate("p => p.scrollTop + p.clientHeight >= p.scrollHeight - 2"):
            break
        page.mouse.wheel(0, 500)
    assert {"F6_sampled_surfaces.", "F8_limb.", "F9_latent_map."} <= shown
    assert page.evaluate("lost.length") == 0
    assert (watched.complaints, watched.outside) == ([], [])


def test_a_slider_moves_the_socket(watched):
    page = watched.page
    slider = page.locator(".jp-OutputArea .noUi-handle:visible").first
    slider.scroll_into_view_if_needed()
    before = page.evaluate(HEIGHTS)
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.wait_for_function(f"before => {HEIGHTS} !== before", arg=before)
    assert (watched.complaints, watched.outside, page.evaluate("lost.length")) == ([], [], 0)


def test_a_save_leaves_git_clean(watched, checkout):
    page = watched.page
    page.get_by_role("menuitem", name="File", exact=True).click()
    with page.expect_request(lambda r: r.method == "PUT" and "/api/contents/" in r.url) as saving:
        page.locator('.lm-Menu-item[data-command="docmanager:save"]').click()
    assert saving.value.response().ok
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=checkout) == b""
