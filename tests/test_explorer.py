"""The explorer without a browser: what its controls do to the socket that is shown."""

import io
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import socket
from conftest import coordinates
from scipy.spatial import cKDTree
from test_front_door import python

from aaelib.apps import design, explorer
from aaelib.metrics import surface_distance
from aaelib.models import autoencoder, in_numpy, recipes
from aaelib.shapes import sources


@pytest.fixture(scope="module")
def opened(numpy_model):
    return explorer.Explorer(numpy_model, sources.load_sockets(source="bundled")[:4])


@pytest.fixture
def page(opened):
    """The explorer as it opens."""
    opened._past.clear()
    opened.message.value, opened.points.value = "", False
    opened._go(explorer.Position(opened.real(0), opened.real(3)), remember=False)
    return opened


def shown(page):
    return coordinates(page.figure.data[0])


def apart(page, points):
    """Distances of points from the socket that is shown."""
    mesh = trimesh.Trimesh(shown(page), page.position.surface.mesh().faces)
    return surface_distance(points, mesh)


def test_it_does_without_tensorflow():
    code = (
        "import sys; from aaelib.apps import explorer; explorer.explore(); "
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert python(code).stdout.strip() == "[]"


# Moving


def ends(page):
    return page.position.start.index, page.position.end.index


def test_it_opens_at_a_real_socket_and_leads_to_another(page, numpy_model):
    assert (page.start.value, page.end.value, page.share.value) == (0, 3, 0)
    vertices = design.decoded_surface(numpy_model, page.real(0).code).mesh().vertices
    vertices = vertices - [0, 0, vertices[:, 2].min()]
    np.testing.assert_allclose(shown(page), vertices, atol=1e-3)
    page.share.value = 1
    np.testing.assert_array_equal(page.position.socket.code, page.real(3).code)


@pytest.mark.parametrize(
    ("name", "value", "by", "off"),
    [("length_mm", 10, 10, 2), ("volume_mm3", 100, 100e3, 30e3)],
)
def test_a_size_changes_by_what_its_slider_says(page, name, value, by, off):
    before = page.position.surface.measure()[name]
    page.changes[name].value = value
    assert page.position.surface.measure()[name] - before == pytest.approx(by, abs=off)


def test_the_slider_of_kinds_leads_to_the_other_kind(page, numpy_model):
    page.changes["kind"].value = -1
    codes = [page.position.start.code, page.position.socket.code]
    assert list(design.kinds_of(numpy_model, codes)) == ["TT", "TF"]


def test_undo_goes_back_one_drag_at_a_time_and_back_to_a_leaves_the_sockets(page):
    for share in (0.1, 0.2, 0.3):
        page.share.value = share
    page.changes["length_mm"].value = 5
    page.undo.click()
    assert (page.share.value, page.changes["length_mm"].value) == (0.3, 0)
    page.undo.click()
    assert page.share.value == 0
    page.start.value = 2
    page.share.value, page.changes["volume_mm3"].value = 0.5, 50
    page.reset.click()
    assert (page.share.value, page.changes["volume_mm3"].value, ends(page)) == (0, 0, (2, 3))
    for _ in range(4):
        page.undo.click()
    assert ends(page) == (0, 3)


def test_a_drawn_socket_is_that_of_its_seed(page, numpy_model):
    page.seed.value = 5
    page.sample.click()
    np.testing.assert_array_equal(page.position.start.code, numpy_model.draw_prior(1, 5)[0])
    assert (page.start.value, page.seed.value) == (None, 6)
    assert "seed 5" in page.message.value


# Showing


def test_departure_of_a_wider_cylinder_is_the_difference_of_the_radii():
    found = explorer.departure(socket(200, 54, wave=0), socket(200, 50, wave=0))
    middle = np.abs(socket(200, 54, wave=0).mesh().vertices[:, 2] - 120) < 40
    np.testing.assert_allclose(found[middle], 4, atol=0.3)


def test_the_nearest_known_socket_of_a_known_one_is_itself_and_tells_how_far_a_wall_moved(page):
    known = page.position.start.template
    name, distance = page._known.nearest(known.cloud, known.surface)
    assert name == page.shapes.names[0]
    assert distance < 1
    wide = design.SocketSurface(known.surface.vertices * [1.1, 1.1, 1])
    moved = np.hypot(*known.surface.mesh().vertices[:, :2].T).mean() * 0.1
    found = page._known.nearest(known.cloud * [1.1, 1.1, 1], wide)[1]
    assert 0.5 * moved < found < 1.2 * moved


def test_the_surface_that_moves_is_near_the_one_that_is_fitted_anew(page, numpy_model):
    for share in (0, 0.5, 1):
        page.share.value = share
        fitted = design.decoded_surface(numpy_model, page.position.socket.code).mesh()
        assert surface_distance(page.position.surface.mesh().vertices, fitted).mean() < 0.4


def test_a_and_b_are_outlines_that_can_be_hidden(page):
    for outline, end in zip(page.figure.data[2:4], ("start", "end"), strict=True):
        vertices = getattr(page.position, end).template.surface.vertices
        brim = vertices[:, -1] - [0, 0, vertices[..., 2].min()]
        line = coordinates(outline)
        assert np.isnan(line).any(axis=1).sum() == 11
        assert np.linalg.norm(line[:, None] - brim, axis=2)[148:221].min(axis=1).max() < 1e-3
        assert outline.visible
    page.outlines.value = False
    assert not any(outline.visible for outline in page.figure.data[2:4])
    page.outlines.value = True


def test_words_say_how_ordinary_a_socket_is(page, numpy_model):
    said = []
    for factor in (0, 0.5, 1.3, 3):
        recipe = numpy_model.recipe
        away = np.full(recipe.code_size, factor * recipe.prior_std, np.float32)
        page._start_at(away)
        said.append(page.plausible.value)
    assert "An ordinary socket: 100 %" in said[0]
    assert "A rare socket" in said[2]
    assert "Hardly a socket that the model knows: fewer than 0.1 %" in said[3]


# Links


def test_a_link_leads_back_to_what_was_shown(page):
    page.share.value = 0.3
    page.changes["length_mm"].value = 7
    before, link = shown(page), "http://127.0.0.1:1/?token=5#" + quote(page.link.state)
    page.sample.click()
    drawn, drawn_link = shown(page), page.link.state
    page.restore(link)
    np.testing.assert_allclose(shown(page), before, atol=1e-4)
    assert (page.share.value, page.changes["length_mm"].value) == (0.3, 7)
    page.restore(drawn_link)
    np.testing.assert_allclose(shown(page), drawn, atol=1e-4)


@pytest.mark.parametrize(
    "link",
    [
        "",
        "#{}",
        "#[]",
        '#{"a":"nobody","b":[],"share":0,"by":{}}',
        '#{"a":[0,0],"b":[0],"share":0,"by":{}}',
        '#{"a":A,"b":A,"share":NaN,"by":{}}',
        '#{"a":A,"b":A,"share":0,"by":{"width_mm":3}}',
    ],
)
def test_a_link_to_nowhere_is_refused_and_nothing_moves(page, link):
    link, before = link.replace("A", str([0.0] * 16)), shown(page)
    page.link._handle_custom_msg({"at": link}, [])
    assert "leads to no socket" in page.message.value
    np.testing.assert_array_equal(shown(page), before)
    with pytest.raises(ValueError, match="leads to no socket"):
        page.restore(link)


def test_plausibility_is_a_share_of_draws():
    draws = np.random.default_rng(0).normal(0, 0.2, (4000, 16))
    farther = np.mean(np.sum(draws**2, axis=1) > np.sum(draws[0] ** 2))
    assert explorer.plausibility(draws[0], 0.2) == pytest.approx(farther, abs=0.03)


# Design


def test_sizes_are_read_as_they_are_typed_and_other_lines_refused():
    text = "length_mm: 250\n\n 60 : 310.5 \nvolume_mm3: 1e6"
    assert explorer.parse_sizes(text) == {"length_mm": 250, 60: 310.5, "volume_mm3": 1e6}
    assert explorer.parse_sizes("") == {}
    for text in ("length_mm", "length_mm: long", "60: 310: 9"):
        with pytest.raises(ValueError, match=f"{text}.* other than sizes"):
            explorer.parse_sizes(text)


def test_a_wanted_length_is_found_and_leaves_a_map_and_eight_alternatives(page):
    wanted = page.position.surface.measure()["length_mm"] + 15
    page.wanted.value = f"length_mm: {wanted}"
    page.find.click()
    assert page.position.surface.measure()["length_mm"] == pytest.approx(wanted, abs=3)
    assert page.message.value.startswith("Found")
    assert page.start.value is None
    assert page.colour.value == "undecided by ± mm, 90 %"
    assert page.figure.data[0].intensity.max() > 3
    assert "What to measure next" in page.message.value
    assert len(page.others.options) == 9
    best = shown(page)
    page.others.value = page.others.options[1][1]
    assert np.abs(shown(page) - best).max() > 1
    length = page.position.surface.measure()["length_mm"]
    assert length == pytest.approx(np.ptp(best[:, 2]), abs=6)
    page.undo.click()
    np.testing.assert_allclose(shown(page), best)
    assert page.others.value == -1
    page.others.value = page.others.options[2][1]
    page.share.value = 0.2  # leaves the alternatives
    assert page.others.disabled
    assert page.colour.value == "plain"


def test_what_cannot_be_had_is_said_and_nothing_moves(page):
    before = shown(page)
    page.wanted.value = "length_mm: 2000"
    page.find.click()
    assert "length_mm is 2000" in page.message.value
    assert 'role="alert"' in page.message.value
    np.testing.assert_array_equal(shown(page), before)


def upload(page, name, content, to="limb"):
    file = {"name": name, "content": content, "type": "", "size": len(content)}
    getattr(page, to).value = [file | {"last_modified": datetime.now()}]


def test_the_scan_of_a_socket_becomes_a_whole_one_of_its_leg(page):
    whole = page.position.surface.mirrored().mesh()
    cut = whole.slice_plane([0, 0, whole.vertices[:, 2].max() - 40], [0, 0, -1])
    cut.apply_transform(trimesh.transformations.rotation_matrix(0.2, [1, 0, 0]))
    upload(page, "cut.stl", trimesh.exchange.stl.export_stl(cut), "scanned")
    assert "left leg); it is A now. Nine times of ten" in page.message.value
    assert page.position.left
    assert limb_trace(page) is not None
    # The brim that was cut off is what is uncertain, and other sockets fit the scan, too.
    mesh = page.figure.data[0]
    assert mesh.intensity[mesh.z > 190].mean() > 1.5 * mesh.intensity[mesh.z < 120].mean()
    first = shown(page)
    page.others.value = page.others.options[1][1]
    assert page.position.left
    assert limb_trace(page) is not None
    assert np.abs(shown(page) - first).max() > 0.5
    page.others.value = -1
    assert np.ptp(shown(page)[:, 2]) == pytest.approx(np.ptp(whole.vertices[:, 2]), abs=8)
    upload(page, "small.stl", trimesh.exchange.stl.export_stl(cut.apply_scale(0.001)), "scanned")
    assert "--unit m" in page.message.value


def test_a_scan_of_points_is_shown_where_the_socket_is(page):
    points = page.position.surface.mesh().sample(2000, seed=0)
    content = io.BytesIO()
    np.save(content, points)
    upload(page, "points.npy", content.getvalue(), "scanned")
    assert "it is A now" in page.message.value
    distances = cKDTree(shown(page)).query(limb_trace(page))[0]
    assert np.median(distances) < 4
    assert np.ptp(limb_trace(page), axis=0) == pytest.approx(np.ptp(points, axis=0), abs=8)


def limb_trace(page):
    trace = page.figure.data[4]
    return coordinates(trace) if trace.visible else None


def test_a_bad_scan_is_refused_by_its_name(page):
    upload(page, "<b>letter.stl", b"Dear prosthetist,")
    said = page.message.value
    assert 'role="alert"' in said
    assert "letter" in said
    assert "<b>letter" not in said
    assert "/tmp" not in said
    assert limb_trace(page) is None


def test_a_scan_is_shown_at_once_and_then_gets_a_socket_whose_gap_can_be_shown(page):
    before = shown(page)
    stray = trimesh.creation.icosphere(radius=20).apply_translation([200, 0, 0])
    scan = trimesh.util.concatenate([socket(230, 55).mesh(), stray]).apply_scale(0.001)
    upload(page, "<i>limb.stl", trimesh.exchange.stl.export_stl(scan))
    said = page.message.value
    assert said.startswith("&lt;i&gt;limb.stl: 230 mm long, in m.")
    assert "2 pieces" in said
    assert (page.unit.value, page.cut.value) == ("m", 230)
    assert np.ptp(limb_trace(page)[:, 2]) == pytest.approx(230, abs=3)
    assert not page.figure.data[5].visible
    np.testing.assert_array_equal(shown(page), before)

    page.follow.click()
    said = page.message.value
    assert said.startswith("Found (")
    assert "model alone" in said
    assert page.colour.value == "gap minus the wanted one"
    assert np.any(page.figure.data[0].intensity)
    assert np.abs(shown(page) - before).max() > 1
    assert np.median(apart(page, limb_trace(page))) == pytest.approx(3, abs=0.7)

    page.share.value = 0.1
    assert "gap minus the wanted one" not in page.colour.options
    assert limb_trace(page) is None
    page.undo.click()
    assert page.position.limb
    assert page.colour.value == "gap minus the wanted one"
    assert limb_trace(page) is not None
    page.undo.click()
    assert not page.position.limb


def test_a_long_scan_shows_where_it_is_cut_and_the_cut_moves(page):
    upload(page, "leg.stl", trimesh.exchange.stl.export_stl(socket(450, 60).mesh()))
    plane = page.figure.data[5]
    assert plane.visible
    assert set(plane.z) == {280.0}
    page.cut.value = 200
    assert set(plane.z) == {200.0}
    page.undo.click()
    assert set(plane.z) == {280.0}
    assert page.cut.value == 280


def test_the_example_is_followed_and_its_leg_may_be_told(page):
    page.example.click()
    assert "transtibial.stl: 264 mm long, in mm" in page.message.value
    page.side.value = "left"
    page.clearances[0].value = 6
    page.follow.click()
    assert "left leg" in page.message.value
    assert "choose the leg" not in page.message.value
    assert page.position.left
    assert page.position.limb.clearance.max() == 6
    page.share.value = 0.1  # codes are shown as left sockets from here on
    right = replace(page.position, left=False).surface
    np.testing.assert_array_equal(page.position.surface.vertices, right.mirrored().vertices)
    page.restore(page.link.state)
    assert page.position.left
    # All that is compared with a left socket is mirrored: A is no distance from itself.
    page.reset.click()
    page.colour.value = "distance from A"
    assert np.abs(page.figure.data[0].intensity).max() < 1e-3
    near = [
        float(np.nanmin(np.abs(np.array(page.figure.data[2].y) - y))) for y in shown(page)[:, 1]
    ]
    assert np.median(near) < 2
    known, distance = page._known.nearest(
        page.position.socket.cloud, page.position.of_leg(page.position.surface)
    )
    assert f"{known}: its wall is {distance:.1f} mm" in page.plausible.value
    page.points.value = True
    assert apart(page, coordinates(page.figure.data[1])[::20]).mean() < 1
    page.points.value = False
    page.side.value = "either"
    page.clearances[0].value = 3


# Taking home


def test_a_wall_around_what_is_shown_and_its_sizes_are_saved(page, monkeypatch, tmp_path):
    def save(what, buffers):
        (tmp_path / what["name"]).write_bytes(buffers[0])

    monkeypatch.setattr(page.download, "send", save)
    for suffix in (".stl", ".ply", ".csv"):
        page.format.value = suffix
        page.download._handle_custom_msg("make", [])
    for wall in (trimesh.load(tmp_path / f"socket.{suffix}") for suffix in ("stl", "ply")):
        assert wall.is_watertight
        assert wall.volume > 0
        inner = page.position.surface.mesh().vertices[::50]
        assert surface_distance(inner, wall).max() < 0.05
    assert "length_mm" in (tmp_path / "socket.csv").read_text()


def test_a_model_without_millimetres_is_refused():
    recipe = recipes.recipe("paper", n_points=64, encoder=(8,), decoder=(8,), discriminator=(8,))
    with pytest.raises(ValueError, match="no size in mm"):
        explorer.Explorer(autoencoder.AdversarialAutoencoder(recipe), None)


@pytest.mark.parametrize(("other_leg", "told"), [(1.03, True), (1.5, False), (np.nan, False)])
def test_a_limb_that_may_be_of_either_leg_is_told(other_leg, told):
    errors, off = pd.DataFrame({"mean": [0.5]}), (60, 90)
    fit = SimpleNamespace(other_leg=other_leg, displacement=2.0, covered=0.9)
    words = explorer._TEXTS.found_for_limb("left leg", errors, off, 1.2, fit)
    assert ("choose the leg if you know it" in words) == told


def test_the_page_without_a_kernel_holds_the_decoder(tmp_path):
    from aaelib.apps import page as without_kernel

    text = without_kernel.write(tmp_path / "explorer.html").read_text()
    assert text.count('"kernel":') == 1 + len(in_numpy.load("sockets").recipe.decoder)
