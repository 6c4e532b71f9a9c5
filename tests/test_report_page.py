"""Every page of the site in a real browser, opened as a file: part of `make test-browser`."""

import json

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_output
from test_report import write

from aaelib.study import figures, site
from benchmarks.page import WatchedPage

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
# Whether each figure in view shows its picture, or is drawn.
ALL_SHOWN = """() => [...document.querySelectorAll(".plotly-figure")].every(figure => {
  const {top, bottom} = figure.getBoundingClientRect();
  return top >= innerHeight || bottom <= 0 || figure.querySelector("img")?.naturalWidth
    || figure.classList.contains("drawn") && figure.querySelector("canvas, .main-svg");
})"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The site of the stored notebooks, and of one with more 3D figures than may live."""
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
        new_output("display_data", {site.PLOTLY: json.loads(each.to_json())})
        for each in (drawn, *[gallery] * 20)
    ]
    write(notebooks / "99_many.ipynb", new_code_cell("shown()", outputs=outputs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "NOTEBOOKS", notebooks)
        return site.build(root / "results" / "study").parent


class Watched(WatchedPage):
    """A page of the site."""

    def scroll(self, step=700):
        """Scroll to the bottom, each figure shown; the most 3D contexts alive at a time."""
        most = 0
        for y in range(0, self.page.evaluate("document.body.scrollHeight"), step):
            self.page.evaluate(f"scrollTo(0, {y})")
            self.page.wait_for_timeout(100)
            self.page.wait_for_function(ALL_SHOWN)
            most = max(most, self.page.evaluate("live()"))
        return most


@pytest.fixture
def opened(built, browser):
    """Opens a page of the site."""
    pages = []

    def open_page(path, query=""):
        pages.append(Watched(browser, (built / path).as_uri() + query, WATCH))
        return pages[-1]

    yield open_page
    for watched in pages:
        watched.page.close()


@pytest.mark.parametrize(
    "pattern", ["*.html", "notebooks/0*.html", "notebooks/99*.html", "howto/*.html", "api/*.html"]
)
def test_every_page_scrolls_without_an_error_a_lost_view_or_a_request(built, opened, pattern):
    paths = sorted(built.glob(pattern))
    assert paths
    for path in paths:
        watched = opened(path)
        assert watched.scroll() <= MOST_CONTEXTS, path.name
        lost = watched.page.evaluate("lost.length")
        assert (watched.complaints, watched.outside, lost) == ([], [], 0), path.name
        watched.page.set_viewport_size({"width": 390, "height": 844})
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390, path.name


def test_the_slider_of_an_interpolation_moves_the_shape_without_a_kernel(opened):
    page = opened("notebooks/99_many.html").page
    first_x = "document.querySelector('.js-plotly-plot')?._fullData?.[0].x[0]"
    page.wait_for_function(f"{first_x} !== undefined")
    before = page.evaluate(first_x)
    slider = page.locator(".slider-rail-touch-rect").first.bounding_box()
    page.mouse.click(slider["x"] + slider["width"] - 2, slider["y"] + slider["height"] / 2)
    # From the first shape to the last, 200 further along each axis.
    page.wait_for_function(f"Math.abs({first_x} - {before} - 200) < 10")


def test_a_click_on_a_heading_sorts_a_table_by_number_and_a_second_one_turns_it(opened):
    page = opened("notebooks/04_evaluation.html").page
    heading = page.locator("table:has(caption) thead th", has_text="surface_mm").first
    column = "e => [...e.closest('table').tBodies[0].rows].map(r => r.cells[e.cellIndex].innerText)"
    for falls in (False, True):
        heading.click()
        numbers = [float(text.split(" ±")[0]) for text in heading.evaluate(column)]
        assert numbers == sorted(numbers, reverse=falls)
    assert len(numbers) > 3


def test_a_word_is_found_without_a_server(opened):
    page = opened("search.html", "?q=fidelity").page
    page.wait_for_selector("ul.search li a")
    assert "notebooks/" in "".join(
        link.get_attribute("href") for link in page.locator("ul.search li a").all()
    )


def test_what_is_printed_has_a_picture_of_each_figure_and_no_menus(opened):
    page = opened("notebooks/04_evaluation.html").page
    page.emulate_media(media="print")
    assert not page.locator(".bd-sidebar-primary").is_visible()
    for picture in page.locator(".plotly-figure img").all():
        assert picture.is_visible()
