"""A run of the study writes its tables, figures and shapes, and shows them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from analytic import sockets

from aaelib.shapes.folders import Shapes
from aaelib.study import figures, workspace


class Shown(list):
    """What was displayed: bundles as they are, Markdown as its text."""

    def __call__(self, content, raw=False):
        assert raw == isinstance(content, dict)
        self.append(content if raw else content.data)

    @property
    def bundles(self):
        return [content for content in self if isinstance(content, dict)]

    @property
    def text(self):
        return "\n".join(content for content in self if isinstance(content, str))


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A repository of its own with two profiles; nothing reaches the real results."""
    profiles = tmp_path / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "quick.yaml").write_text("{seed: 7, pictures: false, corpus: {limit: 3}}")
    (profiles / "with_pictures.yaml").write_text("{seed: 7, pictures: true}")
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(workspace, "PROFILES", profiles)
    shown = Shown()
    monkeypatch.setattr(workspace, "display", shown)
    return shown


def run(profile="quick", source="analytic sockets"):
    made = workspace.Study(profile, "04_evaluation")
    made.source = source
    return made


@pytest.fixture
def frame():
    return pd.DataFrame({"error": [0.123456, 2.0]}, index=pd.Index(["a", "b"], name="model"))


def scatter3d(scenes):
    figure = go.Figure()
    for i in range(scenes):
        name = "scene" if i == 0 else f"scene{i + 1}"
        figure.add_trace(go.Scatter3d(x=[0, 1], y=[0, 1], z=[0, 1], scene=name))
        figure.update_layout({name: {"dragmode": "turntable"}})
    return figure


# Profiles


def test_a_study_has_its_profiles_parameters_and_folder(shown, tmp_path):
    made = run()
    assert made["corpus"] == {"limit": 3}
    assert made.seed == 7
    assert made.folder == tmp_path / "results" / "quick"
    assert made.model_path("best") == made.folder / "models" / "best.keras"
    assert made.model_path("best", 0) == made.folder / "models" / "best_0.keras"
    # Nothing is written before there is something to write.
    assert not made.folder.exists()


def test_an_unknown_profile_lists_those_that_there_are(shown):
    with pytest.raises(ValueError, match="'slow'; accepted: quick, with_pictures"):
        workspace.Study("slow", "01_augmentation")


# Between notebooks


def test_shapes_surfaces_and_split_come_back(shown):
    surfaces = sockets(3)
    points = np.stack([surface.sample(20) for surface in surfaces])
    shapes = Shapes(points, np.array(["a", "b", "c"]), np.array(["TT", "TT", "TF"]), "a source")
    split = {"scans": np.array([0, 2]), "test": np.array([1])}
    first = run(source=None)
    first.save_shapes("sockets", shapes, surfaces, split)
    assert first.source == "a source"

    second = run(source=None)
    loaded, loaded_surfaces, loaded_split = second.load_shapes("sockets")
    np.testing.assert_array_equal(loaded.points, points)
    assert loaded.points.dtype == np.float32
    assert (list(loaded.names), list(loaded.kinds)) == (["a", "b", "c"], ["TT", "TT", "TF"])
    assert loaded.source == second.source == "a source"
    # The source stays that of the shapes read first.
    run(source=None).save_shapes("corpus", replace(shapes, source="a corpus"), surfaces, split)
    assert second.load_shapes("corpus")[0].source == "a corpus"
    assert second.source == "a source"
    for a, b in zip(loaded_surfaces, surfaces, strict=True):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-4)
    assert list(loaded_split) == ["scans", "test"]
    for part, index in split.items():
        np.testing.assert_array_equal(loaded_split[part], index)


def test_what_an_earlier_notebook_did_not_write_says_what_to_run(shown):
    with pytest.raises(FileNotFoundError, match=r"sockets\.npz is missing.*make reproduce PROFILE"):
        run().load_shapes("sockets")


# Tables


def test_a_table_is_written_in_full_with_its_provenance(shown, frame):
    made = run()
    made.table("T9", frame, "Errors in mm, lower is better.", frame.round(1).astype(str))
    written = pd.read_csv(made.folder / "tables" / "T9.csv", index_col="model")
    np.testing.assert_array_equal(written.error, frame.error)
    for column, value in {"source": "analytic sockets", "profile": "quick", "seed": 7}.items():
        assert (written[column] == value).all()
    text = (made.folder / "tables" / "T9.md").read_text()
    assert "0.1 " in text
    assert "0.123" not in text
    caption = "**T9.** Errors in mm, lower is better. *analytic sockets · profile quick · seed 7*"
    assert text.rstrip().endswith(caption)
    assert shown == [text.rstrip("\n")]


def test_a_table_without_caption_is_written_and_not_shown(shown, frame):
    made = run()
    made.table("rows", frame)
    assert [str(f.relative_to(made.folder)) for f in made.folder.rglob("*.*")] == [
        "tables/rows.csv"
    ]
    assert shown == []


# Figures


def test_a_figure_is_a_page_and_its_caption_names_the_source(shown):
    made = run()
    made.figure("F9", scatter3d(1), "A line.")
    page = (made.folder / "figures" / "F9.html").read_text()
    assert "plotly.min.js" in page
    assert (made.folder / "figures" / "plotly.min.js").exists()
    captions = json.loads((made.folder / "captions.json").read_text())
    assert captions == {
        "F9": {
            "caption": "A line. analytic sockets · profile quick · seed 7",
            "notebook": "04_evaluation",
            "source": "analytic sockets",
        }
    }
    assert "analytic sockets · profile quick · seed 7" in shown.text
    assert "results/quick/figures/F9.html" in shown.text


def test_captions_are_kept_and_replaced_by_name(shown, frame):
    run().figure("F9", go.Figure(), "Old.")
    run().table("T1", frame, "A table.")
    run(source="other sockets").figure("F9", go.Figure(), "New.")
    captions = json.loads((run().folder / "captions.json").read_text())
    assert list(captions) == ["F9", "T1"]
    assert captions["F9"]["caption"].startswith("New. other sockets")


@pytest.mark.parametrize("live", [True, False])
def test_a_figure_is_live_unless_its_shapes_may_not_be_passed_on(shown, monkeypatch, live):
    monkeypatch.setattr(figures, "to_png", lambda figure: b"a picture")
    run("with_pictures").figure("F9", scatter3d(1), "Shapes.", live)
    (bundle,) = shown.bundles
    assert bundle["image/png"] == b"a picture"
    assert ("application/vnd.plotly.v1+json" in bundle) == live


def test_without_pictures_or_a_browser_every_figure_is_live(shown, monkeypatch):
    def no_picture(figure):
        raise AssertionError("the profile asks for no pictures")

    monkeypatch.setattr(figures, "to_png", no_picture)
    run("quick").figure("F9", scatter3d(2), "Shapes.")
    monkeypatch.setattr(figures, "to_png", lambda figure: None)
    run("with_pictures").figure("F9", scatter3d(2), "Shapes.")
    for bundle in shown.bundles:
        assert "image/png" not in bundle
        live = bundle["application/vnd.plotly.v1+json"]
        # What a notebook stores is plain JSON.
        assert json.loads(json.dumps(live))["data"][0]["type"] == "scatter3d"


def test_conclusions_are_a_list_with_their_provenance(shown):
    run().conclude("Errors fall.", "Draws vary.")
    expected = "- Errors fall.\n- Draws vary.\n\n*analytic sockets · profile quick · seed 7*"
    assert shown == [expected]
