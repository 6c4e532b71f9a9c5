"""The explorer's page without a kernel, in a real browser: `make test-browser`."""

import csv

import numpy as np
import pytest
import trimesh

from aaelib.apps import design, page
from aaelib.apps.explorer import plausibility
from benchmarks.page import WatchedPage

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return page.write(tmp_path_factory.mktemp("page") / "explorer.html")


@pytest.fixture
def opened(browser, file):
    watched = WatchedPage(browser, file.as_uri())
    watched.page.wait_for_selector("body[data-ready]")
    yield watched.page
    assert watched.close() == ([], [])


def state(tab):
    return tab.evaluate("explorer.state")


def test_the_page_is_small_enough_for_a_site(file):
    assert file.stat().st_size <= 20_000_000


def test_codes_are_decoded_as_in_python(opened, shipped):
    codes = shipped.draw_prior(20, seed=5)
    theirs = opened.evaluate(
        "codes => codes.map(code => [...explorer.decode(code)])", codes.tolist()
    )
    ours = shipped.decode(codes)
    np.testing.assert_allclose(np.reshape(theirs, ours.shape), ours, atol=0.02)


def test_surfaces_sizes_and_plausibility_are_pythons(opened, shipped):
    codes = shipped.draw_prior(8, seed=6)
    found = opened.evaluate(
        """codes => codes.map(code => {
            const nodes = explorer.surface(code, explorer.decode(code));
            return [[...nodes], explorer.measure(nodes), explorer.plausibility(code)]; })""",
        codes.tolist(),
    )
    for code, (nodes, sizes, share) in zip(codes, found, strict=True):
        fitted = design.decoded_surface(shipped, code)
        grid = np.reshape(nodes, fitted.vertices.shape)
        # The same arithmetic on the same grid, and about the grid that is fitted anew.
        measured = type(fitted)(grid).measure()
        for name in page.SLIDERS:
            assert sizes[name] == pytest.approx(measured[name], rel=1e-4)
            assert sizes[name] == pytest.approx(fitted.measure()[name], rel=0.08)
        assert [*sizes["perimeters"].values()] == pytest.approx(measured["perimeters_mm"], rel=1e-4)
        assert [float(height) for height in sizes["perimeters"]] == measured["heights_mm"]
        assert share == pytest.approx(plausibility(code, 0.2), abs=1e-3)


def test_the_way_from_a_to_b_ends_at_b(opened, shipped):
    opened.locator("#share").focus()
    opened.keyboard.press("End")
    opened.wait_for_function("explorer.state.share === 1")
    socket = opened.evaluate("DATA.sockets[explorer.state.b]")
    shown = opened.evaluate("document.getElementById('socket')._fullData[0].z.length")
    assert shown == 1 + 72 * 47
    length = design.decoded_surface(shipped, np.array(socket["code"], np.float32)).measure()[
        "length_mm"
    ]
    opened.wait_for_function(
        f"Math.abs(parseFloat(document.querySelector('#sizes td').innerText) - {length}) < 5"
    )


def test_one_size_changes_and_undo_takes_it_back(opened):
    def row(n):
        return float(opened.locator(f"#sizes tr:nth-child({n}) td:nth-child(3)").inner_text())

    slider = opened.get_by_label("length, mm")
    slider.focus()
    for _ in range(15):
        opened.keyboard.press("ArrowRight")
    opened.wait_for_function("Object.values(explorer.state.by)[0] === 15")
    opened.wait_for_timeout(500)
    assert row(1) == pytest.approx(15, abs=4)
    assert abs(row(3)) < 12  # of 300 mm and more: the perimeter is held
    while opened.locator("#undo").is_enabled():
        opened.locator("#undo").click()
    opened.wait_for_function("Object.keys(explorer.state.by).length === 0")
    opened.wait_for_timeout(500)
    assert row(1) == 0


def test_a_link_brings_back_what_was_seen_and_a_wrong_one_the_start(opened, browser, file):
    opened.get_by_role("button", name="Draw a new A").click()
    opened.get_by_label("volume, ml").press("ArrowRight")
    opened.wait_for_function("explorer.state.by.volume_mm3 === 10")
    opened.wait_for_timeout(500)
    other = browser.new_page()
    other.goto(opened.url)
    other.wait_for_selector("body[data-ready]")
    assert state(other) == state(opened)
    assert other.locator("#sizes").inner_text() == opened.locator("#sizes").inner_text()
    for wrong in ("#%7B%22a%22%3A99999%7D", "#{", "#%7B%22by%22%3A%7B%22x%22%3A1%7D%7D"):
        other.goto("about:blank")
        other.goto(file.as_uri() + wrong)
        other.wait_for_selector("body[data-ready]")
        assert state(other) == {"a": 0, "b": 15, "share": 0, "by": {}, "modes": {}}
    other.close()


def test_the_socket_and_its_sizes_come_home(opened, tmp_path):
    files = {}
    for button in ("STL", "Sizes as CSV"):
        with opened.expect_download() as download:
            opened.get_by_role("button", name=button).click()
        files[button] = tmp_path / download.value.suggested_filename
        download.value.save_as(files[button])
    mesh = trimesh.load(files["STL"])
    sizes = dict(csv.reader(files["Sizes as CSV"].read_text().splitlines()))
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(float(sizes["length_mm"]), abs=0.01)
    assert len(mesh.faces) == 72 * (2 * 47 - 1)
    outwards = mesh.face_normals @ [1, 0, 0] * (mesh.triangles_center - mesh.centroid)[:, 0]
    assert np.average(outwards, weights=mesh.area_faces) > 0
