import re

import kaleido
import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import directions
from choreographer.browsers.chromium import Chromium
from conftest import coordinates
from scipy.stats import chi2

from aaelib.study import figures


def scenes(figure):
    return [value for key, value in figure.layout.to_plotly_json().items() if key[:5] == "scene"]


@pytest.fixture(scope="module")
def clouds():
    rng = np.random.default_rng(0)
    ellipsoids = directions(rng, 10, 2048) * [60.0, 55.0, 140.0]
    return ellipsoids + rng.uniform(-50, 50, size=(10, 1, 3))


@pytest.fixture(scope="module")
def capsule():
    return trimesh.creation.capsule(height=200.0, radius=50.0)


# Galleries ---------------------------------------------------------------------------------------


def on_screen(figure, xyz):
    """Pixels from the middle of a gallery, to the right and up, of points (n, 3) in its 3D view."""
    scene = scenes(figure)[0]
    ranges = np.array([scene[f"{axis}axis"]["range"] for axis in "xyz"])
    ratio = np.array([scene["aspectratio"][axis] for axis in "xyz"])
    eye = np.array([scene["camera"]["eye"][axis] for axis in "xyz"])
    right = np.cross([0, 0, 1], eye) / np.hypot(eye[0], eye[1])
    view = np.stack([right, np.cross(eye, right)])
    # An orthographic camera of plotly shows 2 units in the height of the scene.
    units = (xyz - ranges.mean(axis=1)) * ratio / np.ptp(ranges, axis=1)
    return units @ view.T * figure.layout.height / 2


def test_a_gallery_is_one_view_with_each_shape_in_its_place(clouds):
    titles = [f"socket {i}" for i in range(10)]
    figure = figures.cloud_gallery(clouds, titles, columns=4)
    assert len(scenes(figure)) == 1
    assert len(figure.data) == 10
    cell = np.array([figures.WIDTH / 4, figure.layout.height / 3])
    for i, trace in enumerate(figure.data):
        pixels = on_screen(figure, coordinates(trace))
        middle = [(i % 4 - 1.5) * cell[0], (1 - i // 4) * cell[1]]
        assert (np.abs(pixels - middle) <= cell / 2).all()
        label = scenes(figure)[0]["annotations"][i]
        place = on_screen(figure, np.array([label[axis] for axis in "xyz"]))
        assert label["text"] == titles[i]
        assert middle[1] - cell[1] / 2 < place[1] < pixels[:, 1].min()


@pytest.mark.parametrize("draw", [figures.cloud_gallery, figures.mesh_gallery])
def test_a_millimetre_is_as_long_along_every_axis_and_nothing_is_cut_off(draw, clouds):
    faces = np.array([[0, 1, 2]])
    shapes = clouds if draw is figures.cloud_gallery else [(cloud, faces) for cloud in clouds]
    figure = draw(shapes)
    scene = scenes(figure)[0]
    ranges = np.array([scene[f"{axis}axis"]["range"] for axis in "xyz"])
    lengths = np.array([scene["aspectratio"][axis] for axis in "xyz"]) / np.ptp(ranges, axis=1)
    assert scene["aspectmode"] == "manual"
    np.testing.assert_allclose(lengths, lengths[0])
    for trace in figure.data:
        xyz = coordinates(trace)
        assert (xyz >= ranges[:, 0] - 1e-3).all()
        assert (xyz <= ranges[:, 1] + 1e-3).all()


def test_thinning_keeps_every_part_of_a_line():
    line = np.random.default_rng(0).permutation(np.linspace(0, 1, 4001))
    cloud = np.column_stack([line, 0 * line, 0 * line])
    shown = np.sort(np.asarray(figures.cloud_gallery([cloud]).data[0].x))
    # 1000 of 4001 points: steps of 4 spacings, 5 where that does not come out even.
    assert len(shown) == figures.POINTS_SHOWN
    assert np.diff(shown).max() <= 5.01 / 4000


def test_numbers_stay_with_their_points_on_a_fitting_scale(clouds, capsule):
    heights = [cloud[:, 2] for cloud in clouds]
    figure = figures.cloud_gallery(clouds, color=heights, unit="mm", color_range=(-9, 9))
    for trace in figure.data:
        z, color = np.asarray(trace.z), np.asarray(trace.marker.color)
        np.testing.assert_allclose(color - color.mean(), z - z.mean(), atol=1e-3)
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax, axis.colorbar.title.text) == (-9, 9, "mm")
    both = capsule.vertices[:, 2] - 30
    diverging = figures.mesh_gallery([capsule], intensities=[both]).layout.coloraxis
    assert diverging.cmin == -diverging.cmax == -np.abs(both).max()
    # Maps of errors have one scale, which a few nodes may exceed.
    errors = [np.abs(both), 2 * np.abs(both)]
    figure = figures.error_maps([capsule] * 2, errors, ["TT", "TF"])
    axis = figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, pytest.approx(np.percentile(errors, 99)))
    assert axis.colorscale != diverging.colorscale
    for trace, each in zip(figure.data, errors, strict=True):
        np.testing.assert_allclose(np.asarray(trace.intensity), each, rtol=1e-6)


def test_a_sphere_that_grows_by_3_mm_moves_outwards_by_3_mm():
    spheres = tuple(trimesh.creation.icosphere(3, radius) for radius in (47.0, 50.0, 53.0))
    figure = figures.modes_of_variation([spheres], ["mode 1"])
    inwards, none, outwards = (np.asarray(trace.intensity) for trace in figure.data)
    np.testing.assert_allclose(inwards, -3, rtol=0.01)
    np.testing.assert_allclose(none, 0)
    np.testing.assert_allclose(outwards, 3, rtol=0.01)


def test_names_are_no_markup(clouds):
    name, shown = "<b>a</b> & b", "&lt;b&gt;a&lt;/b&gt; &amp; b"
    gallery = figures.cloud_gallery(clouds[:1], [name])
    assert [note.text for note in gallery.layout.scene.annotations] == [shown]
    steps = figures.interpolation(clouds[:1], [name]).layout.sliders[0].steps
    assert [step.label for step in steps] == [shown]
    table = pd.DataFrame({"mm": [1.0, 2.0]}, [name, "SSM"])
    bars = figures.bars_with_baselines(table, {"mm": ("error", "lower")}, [name])
    assert {*bars.data[0].y} == {bars.data[0].name} == {shown}
    assert list(bars.layout.yaxis.categoryarray) == ["SSM", shown]
    assert figures.nearest_histogram({name: np.ones(2)}).data[0].name == shown
    codes = figures.latent_map(np.eye(2), [name] * 2, [name] * 2, np.eye(3)[:, :2], [0.5, 0.5])
    assert codes.data[-1].name == codes.data[-1].hovertext[0] == shown


@pytest.mark.parametrize("as_mesh", [False, True])
def test_interpolation_moves_only_coordinates_from_the_first_shape_to_the_last(as_mesh, capsule):
    ends = capsule.vertices, capsule.vertices * [1.5, 1.0, 1.0] + [10.0, 0, 0]
    steps = [(1 - t) * ends[0] + t * ends[1] for t in np.linspace(0, 1, 5)]
    labels = ["TT", "1/4", "1/2", "3/4", "TF"]
    shapes = [(vertices, capsule.faces) for vertices in steps] if as_mesh else steps
    figure = figures.interpolation(shapes, labels)
    assert (len(figure.data), len(figure.frames)) == (1, 5)
    first, last = coordinates(figure.data[0]), coordinates(figure.frames[-1].data[0])
    stretch = last - first * [1.5, 1.0, 1.0]
    np.testing.assert_allclose(stretch, stretch[:1].repeat(len(stretch), axis=0), atol=1e-3)
    assert set(figure.frames[1].data[0].to_plotly_json()) == {"type", "x", "y", "z"}
    slider = figure.layout.sliders[0].steps
    assert [step.label for step in slider] == labels
    assert [step.args[0][0] for step in slider] == [frame.name for frame in figure.frames]
    # WebGL is only drawn again when it is told to.
    assert all(step.args[1]["frame"]["redraw"] for step in slider)


# Charts ------------------------------------------------------------------------------------------


def headings(figure):
    return [note.text for note in figure.layout.annotations]


@pytest.fixture
def measures():
    columns = {"compactness": [0.6, 0.9], "generalization": [2.0, 1.0], "specificity": [3.0, 4.0]}
    return pd.DataFrame(columns, index=[1, 2])


def test_a_series_has_one_colour_whatever_the_order(measures):
    titles = {"specificity": "specificity"}
    one, other = (
        {trace.name: trace.line.color for trace in figures.training_curves(runs, titles, {}).data}
        for runs in ({"a": measures, "b": measures}, {"b": measures, "a": measures})
    )
    assert one == other
    assert len(set(one.values())) == 2


def test_training_curves_mark_the_best_epoch_and_take_logarithms_where_apt():
    epochs = pd.Index(np.arange(1, 101), name="epoch")
    runs = {
        name: pd.DataFrame({"chamfer": scale / epochs**2, "accuracy": 0.5}, index=epochs)
        for name, scale in (("scratch", 1.0), ("transfer", 0.5))
    }
    titles = {"chamfer": "Chamfer distance", "accuracy": "accuracy", "jsd": "in no run"}
    figure = figures.training_curves(runs, titles, best={"transfer": 20})
    assert headings(figure) == ["Chamfer distance", "accuracy"]
    assert (figure.layout.yaxis.type, figure.layout.yaxis2.type) == ("log", None)
    marked = [(t.name, x) for t in figure.data for x in t.x[t.marker.size > 0]]
    assert marked == [("transfer", 20)] * 2
    assert [t.name for t in figure.data if t.showlegend] == ["scratch", "transfer"]


def test_the_prior_s_ellipses_hold_the_fraction_they_say():
    prior = np.random.default_rng(0).multivariate_normal([1, 2], [[2, 0.8], [0.8, 1]], 5000)
    figure = figures.latent_map(np.zeros((1, 2)), ["TT"], ["a"], prior, [0.5, 0.25])
    whitened = np.linalg.inv(np.cov(prior.T))
    for ring, share in zip(figure.data[1:4], (0.5, 0.9, 0.99), strict=True):
        off = np.column_stack([ring.x, ring.y]) - prior.mean(axis=0)
        squared = np.einsum("ni,ij,nj->n", off, whitened, off)
        np.testing.assert_allclose(squared, chi2(2).ppf(share))


BETTER = {"MMD": "lower", "coverage": "higher", "1-NN": 0.5, "not here": "lower"}


def test_baselines_are_grey_and_panels_say_which_way_is_better():
    table = pd.DataFrame(
        {"MMD": [1.0, 2.0], "coverage": [0.8, np.nan], "1-NN": [0.6, 0.5]}, index=["AAE", "SSM"]
    )
    table["MMD_sd"] = [0.1, np.nan]
    metrics = {metric: (metric, better) for metric, better in BETTER.items()}
    figure = figures.bars_with_baselines(table, metrics, ["SSM"])
    assert headings(figure) == ["MMD ↓", "coverage ↑", "1-NN → 0.5"]
    assert list(figure.layout.yaxis.categoryarray) == ["SSM", "AAE"]  # from below
    bars = [trace for trace in figure.data if trace.type == "bar"]
    grey = {trace.name: trace.marker.color == figures.BASELINE_COLOR for trace in bars}
    assert grey == {"AAE": False, "SSM": True}
    np.testing.assert_array_equal(bars[0].error_x.array, [0.1])
    # The best value is drawn where it is a value.
    assert [(line.x0, line.x1) for line in figure.layout.shapes] == [(0.5, 0.5)]


def test_a_learning_curve_has_the_mean_and_spread_of_its_seeds():
    runs = pd.DataFrame(
        [("AAE", 20, 1.0), ("AAE", 20, 3.0), ("AAE", 5, 4.0), ("linear", 20, 1.5)],
        columns=["model", "scans", "error"],
    )
    figure = figures.lines(runs, "scans", "error", "model", {"mean": "error, mm"}, log_x=True)
    aae, linear = sorted(figure.data, key=lambda trace: trace.name)
    assert (aae.name, linear.name) == ("AAE", "linear")
    np.testing.assert_array_equal(aae.x, [5, 20])
    np.testing.assert_array_equal(aae.y, [4, 2])
    np.testing.assert_allclose(aae.error_y.array, [np.nan, np.sqrt(2)])
    assert list(figure.layout.xaxis.ticktext) == ["5", "20"]


def table_of_claims(*rows):
    columns = ["claim", "metric", "mean", "low", "high", "answer"]
    return pd.DataFrame(rows, columns=columns).set_index("claim")


@pytest.fixture
def claims():
    return table_of_claims(
        ("A lowers it", "mm", -2.0, -3.0, -1.5, "supported"),
        ("B lowers it", "mm", 0.5, -1.0, 2.0, "undecided"),
        ("A covers more", "coverage", 0.1, np.nan, np.nan, "undecided"),
    )


def intervals(figure):
    """Name -> (mean, low, high, colour) of the points of a figure."""
    return {
        y: (x, x - below, x + above, trace.marker.color)
        for trace in figure.data
        for x, y, above, below in zip(
            trace.x, trace.y, trace.error_x.array, trace.error_x.arrayminus, strict=True
        )
    }


def test_a_claim_is_a_point_with_its_interval_in_the_colour_of_its_answer(claims):
    figure = figures.differences(claims)
    assert headings(figure) == ["mm", "coverage"]
    drawn = intervals(figure)
    for claim, row in claims.iterrows():
        np.testing.assert_allclose(drawn[claim][:3], (row["mean"], row.low, row.high))
    first, second, third = (drawn[claim][3] for claim in claims.index)
    assert first != second == third
    # From below.
    assert list(figure.layout.yaxis.categoryarray) == list(claims.index[::-1])
    # Zero is a line in every panel.
    lines = [(line.x0, line.x1, line.xref) for line in figure.layout.shapes]
    assert lines == [(0, 0, "x"), (0, 0, "x2")]


def test_a_claim_far_beyond_the_others_is_written_at_the_edge(claims):
    far = table_of_claims(("C lowers it a lot", "mm", -100.0, -110.0, -90.0, "supported"))
    figure = figures.differences(pd.concat([claims, far]))
    low, high = figure.layout.xaxis.range
    assert -5 < low < -3 < 2 < high < 4
    (note,) = [note for note in figure.layout.annotations if "100" in note.text]
    assert (note.x, note.y, note.text) == (low, "C lowers it a lot", "◂ -100")


def test_the_share_of_sockets_within_a_distance_is_the_distribution_function():
    distances = np.random.default_rng(0).permutation(np.linspace(1, 2, 11))
    figure = figures.nearest_histogram({"generated": distances, "test": distances + 1})
    generated = figure.data[0]
    assert generated.line.shape == "hv"
    np.testing.assert_allclose(generated.x, np.linspace(1, 2, 11))
    np.testing.assert_allclose(generated.y, np.arange(1, 12) / 11)
    assert figure.layout.xaxis.type is None
    copies = figures.nearest_histogram({"copies": distances / 100, "test": distances})
    assert copies.layout.xaxis.type == "log"


def test_judges_have_their_accuracies_and_scores_with_intervals():
    judged = pd.DataFrame(
        {"accuracy": [0.7, 0.6, 0.5], "low": [0.6, 0.5, 0.3], "high": [0.78, 0.69, 0.7]},
        index=["A", "machines", "machine: 1-NN"],
    )
    scores = pd.DataFrame({"mean": [4.0, 3.5], "sd": [0.5, 1.0], "n": [45, 44]})
    scores.index = ["real", "generated"]
    figure = figures.assessment(judged, scores)
    drawn = intervals(figure)
    for name, row in judged.iterrows():
        np.testing.assert_allclose(drawn[name][:3], row)
    assert drawn["A"][3] == drawn["machines"][3] != drawn["machine: 1-NN"][3] == figures.FAINT
    np.testing.assert_allclose(drawn["real<br>n = 45"][:3], [4, 3.5, 4.5])
    np.testing.assert_allclose(drawn["generated<br>n = 44"][:3], [3.5, 2.5, 4.5])
    # The line of guessing.
    assert [(line.x0, line.x1, line.xref) for line in figure.layout.shapes] == [(0.5, 0.5, "x")]
    assert "xaxis2" not in figures.assessment(judged, scores[:0]).layout


def test_published_values_are_lines_at_their_value(measures):
    figure = figures.compactness({"TT": measures}, {"TT": {"specificity": 3.5}})
    assert [(line.y0, line.y1, line.yref) for line in figure.layout.shapes] == [(3.5, 3.5, "y3")]
    assert headings(figure)[1:] == ["generalization, mm", "specificity, mm", "3.5"]


# Output ------------------------------------------------------------------------------------------


def test_pages_share_one_plotly_js_and_ask_no_other_host(tmp_path, capsule):
    folder = tmp_path / "figures"
    for name in ("a", "b"):
        figures.write_html(figures.mesh_gallery([capsule]), folder / f"{name}.html")
    assert sorted(path.name for path in folder.iterdir()) == ["a.html", "b.html", "plotly.min.js"]
    page = (folder / "a.html").read_text()
    sources = re.findall(r"<(?:script|link)[^>]+(?:src|href)=[\"']([^\"']+)", page)
    assert sources == ["plotly.min.js"]
    assert "http" not in page


def test_pictures_show_3d_where_there_is_a_browser(clouds):
    figure = figures.cloud_gallery(clouds[:2])
    if Chromium.find_browser(skip_local=False) is None:
        with pytest.warns(UserWarning, match="Chrome or Chromium"):
            assert figures.to_png(figure) is None
        return
    picture = figures.to_png(figure)
    size = int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert size == (1000, figure.layout.height)
    # A scene that WebGL could not draw would compress to next to nothing.
    blank = figures.to_png(figures.cloud_gallery(clouds[:2], color=["#ffffff"] * 2))
    assert len(picture) > 5 * len(blank)


@pytest.fixture
def no_server():
    """No browser draws pictures yet, and none will when the test is over."""
    kaleido.stop_sync_server(silence_warnings=True)
    figures._has_browser.cache_clear()
    yield
    figures._has_browser.cache_clear()


@pytest.mark.usefixtures("no_server")
def test_without_a_browser_pictures_are_none_and_one_warning_says_what_to_do(monkeypatch, clouds):
    monkeypatch.setenv("BROWSER_PATH", "/nowhere/chromium")
    monkeypatch.setattr(Chromium, "find_browser", lambda **_: "/nowhere/chromium")
    with pytest.warns(UserWarning, match="apt install chromium") as warned:
        pictures = [figures.to_png(figures.cloud_gallery(clouds[:1])) for _ in range(2)]
    assert pictures == [None, None]
    assert len(warned) == 1
