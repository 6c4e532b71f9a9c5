"""Every page of the site in a real browser, opened as a file: part of `make test-browser`."""

import json
from pathlib import Path

import nbformat
import numpy as np
import pytest

from aaelib.study import figures, site
from benchmarks.page import HARMLESS, chromium

pytestmark = pytest.mark.browser

MOST_CONTEXTS = 8
# Notes of each 3D canvas whether its context was taken from it while it was still on the page.
WATCH = """
window.contexts = new Set(); window.lost = [];
const original = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const context = original.call(this, kind, ...rest);
  if (context && kind.includes("webgl") && !window.contexts.has(this)) {
    window.contexts.add(this);
    this.addEventListener("webglcontextlost", () => this.isConnected && window.lost.push(1));
  }
  return context;
};
window.live = () => [...window.contexts].filter(
  canvas => canvas.isConnected && !original.call(canvas, "webgl")?.isContextLost()).length;
"""
BLANK = """() => [...document.querySelectorAll(".plotly-figure")].filter(figure => {
  const box = figure.getBoundingClientRect();
  return box.top < innerHeight && box.bottom > 0 &&
    !(figure.classList.contains("drawn") ? figure.querySelector("canvas, .main-svg")
                                         : figure.querySelector("img")?.naturalWidth);
}).length"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site of the stored notebooks, and of one that has more 3D figures than a page may draw."""
    root = tmp_path_factory.mktemp("site")
    notebooks = root / "stored"
    notebooks.mkdir()
    for path in (*site.NOTEBOOKS.glob("[0-9]*.ipynb"), site.NOTEBOOKS / "images"):
        (notebooks / path.name).symlink_to(path)
    points = np.random.default_rng(0).normal(size=(3, 200, 3))
    shapes = points + 100 * np.arange(3)[:, None, None]
    drawn = figures.interpolation(shapes, ["a", "half way", "b"])
    gallery = figures.cloud_gallery(points, ["a", "b", "c"], columns=2)
    outputs = [
        nbformat.v4.new_output("display_data", {site.PLOTLY: json.loads(each.to_json())})
        for each in (drawn, *[gallery] * 20)
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# Many figures"),
        nbformat.v4.new_code_cell("shown()", outputs=outputs),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebooks / "99_many.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "NOTEBOOKS", notebooks)
        return site.build(root / "results" / "study").parent


class Watched:
    """A page, what its browser complained of, and what it asked of other hosts."""

    def __init__(self, browser, address, **viewport):
        self.complaints, self.outside = [], []
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000} | viewport)
        self.page.add_init_script(WATCH)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(address)

    def _heard(self, message):
        is_context = "WebGL context" in message.text
        if (message.type == "error" or is_context) and not any(
            part in message.text for part in HARMLESS
        ):
            self.complaints.append(message.text)

    def _asked(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")):
            self.outside.append(request.url)

    def scroll(self, step=500):
        """Scroll to the bottom; the most contexts alive, and figures in view that were blank."""
        most = blank = 0
        for y in range(0, self.page.evaluate("document.body.scrollHeight"), step):
            self.page.evaluate(f"scrollTo(0, {y})")
            self.page.wait_for_timeout(250)
            most = max(most, self.page.evaluate("live()"))
        return most


def pages():
    """Addresses in a site, relative to it, by kind of page."""
    return ["index.html", "search.html", "notebooks/*.html", "howto/*.html", "api/*.html"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("pattern", pages())
def test_every_page_scrolls_without_an_error_a_lost_view_or_a_request(built, browser, pattern):
    paths = sorted(built.glob(pattern))
    assert paths
    for path in paths:
        watched = Watched(browser, path.as_uri())
        most = watched.scroll()
        lost = watched.page.evaluate("lost.length")
        watched.page.close()
        assert (watched.complaints, watched.outside, lost) == ([], [], 0), path.name
        assert most <= MOST_CONTEXTS, path.name
