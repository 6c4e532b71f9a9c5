"""A page of the report in a real browser, opened as a file: part of `make test-browser`."""

import json

import nbformat
import numpy as np
import pytest

from aaelib.study import figures, report
from benchmarks.page import chromium

pytestmark = pytest.mark.browser


def test_the_slider_of_an_interpolation_moves_the_shape_without_a_kernel(tmp_path):
    shapes = np.random.default_rng(0).normal(size=(3, 200, 3)) + 100 * np.arange(3)[:, None, None]
    drawn = json.loads(figures.interpolation(shapes, ["a", "half way", "b"]).to_json())
    output = nbformat.v4.new_output("display_data", {"application/vnd.plotly.v1+json": drawn})
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("shown()", outputs=[output])]
    )
    executed = tmp_path / "notebooks" / "05.ipynb"
    executed.parent.mkdir()
    nbformat.write(notebook, executed)
    report.to_html(executed, tmp_path / "report" / "05.html")

    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        asked, complaints = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((tmp_path / "report" / "05.html").as_uri())
        first_x = "document.querySelector('.js-plotly-plot')?._fullData?.[0].x[0]"
        page.wait_for_function(f"{first_x} !== undefined")
        before = page.evaluate(first_x)
        slider = page.locator(".slider-rail-touch-rect").bounding_box()
        page.mouse.click(slider["x"] + slider["width"] - 2, slider["y"] + slider["height"] / 2)
        # From the first shape to the last, 200 further along each axis.
        page.wait_for_function(f"Math.abs({first_x} - {before} - 200) < 10")
    assert complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
