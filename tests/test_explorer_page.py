"""The explorer's page in a real browser: `make test-browser`."""

import os

import numpy as np
import pytest
import trimesh
from analytic import socket
from test_server import kernels

from benchmarks.page import SIZES, Page, serving

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address():
    with serving() as url:
        yield url


@pytest.fixture
def page(browser, address):
    opened = Page(browser, address)
    yield opened
    assert opened.close() == ([], [])


def test_a_slider_makes_the_socket_longer_and_undo_shorter_again(page):
    before = page.vertices()
    page.open("Change one size")
    page.press(0, "ArrowRight", 10)
    longer = page.wait_until_moved(before)
    assert np.ptp(longer[:, 2]) - np.ptp(before[:, 2]) == pytest.approx(10, abs=3)
    page.page.get_by_role("button", name="Undo").click()
    np.testing.assert_allclose(page.wait_until_moved(longer), before, atol=0.1)


def test_it_opens_with_a_hint_and_names_what_can_be_moved(page):
    assert page.page.get_by_role("heading", name="Walk through the space").is_visible()
    assert page.page.get_by_text('Drag "from A to B" first').is_visible()
    assert page.page.get_by_role("slider", name="from A to B").is_visible()
    assert page.page.get_by_role("img", name="The socket in three dimensions").is_visible()
    assert "no medical device" in page.page.inner_text("body")
    axes = page.page.evaluate(
        "Object.values(document.querySelector('.js-plotly-plot')._fullLayout.scene)"
        ".filter(each => each?.title?.text).map(each => each.title.text)"
    )
    assert sorted(axes) == ["height, mm", "mm", "mm"]


def test_its_address_leads_back_to_what_was_shown(page):
    before = page.vertices()
    page.press(0, "PageUp", 3)
    moved = page.wait_until_moved(before)
    page.page.wait_for_function("location.hash.includes('share')")
    page.page.reload()
    # Voila's goodbye to the kernel that is left has no token; the kernel ends all the same.
    page.complaints = [said for said in page.complaints if "403" not in said]
    page.wait_until_shown()
    page.page.wait_for_function(
        "z => Math.abs(document.querySelector('.js-plotly-plot')._fullData[0].z[0] - z) < 0.1",
        arg=float(moved[0, 2]),
    )
    np.testing.assert_allclose(page.vertices(), moved, atol=0.1)


def test_the_download_is_a_watertight_wall(page, tmp_path):
    page.open("Take home")
    with page.page.expect_download() as download:
        page.page.click(".aaelib-download")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "socket.stl"
    assert trimesh.load(file).is_watertight


def test_a_limb_is_shown_and_gets_a_socket(page, tmp_path):
    socket(0.23, 0.055).mesh().export(tmp_path / "limb.stl")
    before = page.vertices()
    page.open("Design for a limb")
    page.upload(tmp_path / "limb.stl")
    page.says("230 mm long, in m")
    page.page.wait_for_function("document.querySelector('.js-plotly-plot').data[4].visible")
    page.page.get_by_role("button", name="Find its socket").click()
    said = page.says("Error of the gap")
    assert "right leg" in said or "left leg" in said
    page.wait_until_moved(before)


def test_a_search_can_be_cancelled(page):
    before = page.vertices()
    page.open("Design for a limb")
    page.page.get_by_role("button", name="Try an example").click()
    page.says("transtibial.stl")
    page.page.get_by_role("button", name="Find its socket").click()
    page.says("Looking for the socket")
    page.page.get_by_role("button", name="Cancel").click()
    page.says("cancelled; nothing has changed")
    np.testing.assert_array_equal(page.vertices(), before)


def test_two_pages_do_not_disturb_each_other(page, browser, address):
    other = Page(browser, address)
    before = other.vertices()
    np.testing.assert_allclose(page.vertices(), before)
    page.press(0, "PageUp", 3)
    page.wait_until_moved(before)
    np.testing.assert_array_equal(other.vertices(), before)
    other.page.close()


def test_a_large_scan_arrives_and_one_that_is_too_large_is_refused_in_words(page, tmp_path):
    page.open("Design for a limb")
    for name, mebibytes, said in (("a.stl", 40, "a.stl"), ("b.stl", 300, "more than 250 MiB")):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, mebibytes * 2**20)
        page.upload(tmp_path / name)
        page.says(said)


def test_a_kernel_that_is_killed_is_told_of_and_the_next_page_works(browser):
    before = set(kernels())
    with serving() as address:
        killed = Page(browser, address)
        [kernel] = set(kernels()) - before
        kernel.kill()
        killed.says("load the page again")
        killed.page.reload()
        killed.page.wait_for_selector(SIZES)
        killed.page.close()
