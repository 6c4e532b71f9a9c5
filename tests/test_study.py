"""A run of the study writes its tables, figures and sockets, and shows them."""

import json

import jupytext
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import trimesh
from analytic import sockets

from aaelib.shapes.folders import Shapes
from aaelib.shapes.places import NOTEBOOKS
from aaelib.study import figures, workspace

DATA = "*analytic sockets · profile quick · 2 splits*"
QUICK = """
splits: [7, 9]
pictures: false
sockets: {scans: {TT: 2, TF: 1}, validation: 0.5, test: 0.5}
own_shapes: {n_per_family: 1}
"""
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What is displayed by a study in a repository of its own, which has two profiles."""
    profiles = tmp_path / "notebooks" / "profiles"
    profiles.mkdir(parents=True)
    (profiles / "quick.yaml").write_text(QUICK)
    (profiles / "with_pictures.yaml").write_text("{splits: [7], pictures: true}")
    shown = []
    monkeypatch.setattr(workspace, "ROOT", tmp_path)
    monkeypatch.setattr(workspace, "PROFILES", profiles)

    def display(content, raw=False):
        shown.append(content if raw else content.data)  # bundles as they are, Markdown as its text

    monkeypatch.setattr(workspace, "display", display)
    return shown


def run(profile="quick", source="analytic sockets"):
    made = workspace.Study(profile, "04_evaluation")
    made.source = source
    return made


@pytest.fixture
def frame():
    return pd.DataFrame({"error": [0.123456, 2.0]}, index=pd.Index(["a", "b"], name="model"))


@pytest.mark.usefixtures("shown")
def test_a_study_has_its_profiles_parameters_and_folder(tmp_path):
    made = run()
    assert (made["splits"], made.seed, [each.seed for each in made.splits()]) == ([7, 9], 7, [7, 9])
    assert made.folder == tmp_path / "results" / "quick"
    assert made.model_path("best") == made.folder / "models" / "best.keras"
    # Nothing is written before there is something to write.
    assert not made.folder.exists()
    with pytest.raises(ValueError, match="'slow'; accepted: quick, with_pictures"):
        run("slow")


@pytest.mark.usefixtures("shown")
def test_sockets_and_surfaces_come_back_split_by_the_seed():
    surfaces = sockets(8)
    points = np.stack([surface.sample(20) for surface in surfaces])
    kinds = np.array(["TT"] * 5 + ["TF"] * 3)
    shapes = Shapes(points, np.arange(8).astype(str), kinds, "a source")
    with pytest.raises(FileNotFoundError, match=r"sockets\.npz is missing.*make reproduce PROFILE"):
        run().load_sockets()
    first = run(source=None)
    first.save_sockets(shapes, surfaces)
    assert first.source == "a source"

    second = run(source=None)
    loaded, loaded_surfaces, split = second.load_sockets()
    np.testing.assert_array_equal(loaded.points, points)
    assert loaded.points.dtype == np.float32
    assert (*loaded.names, *loaded.kinds) == (*shapes.names, *kinds)
    assert loaded.source == second.source == "a source"
    for a, b in zip(loaded_surfaces, surfaces, strict=True):
        np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-4)
    splits = [split, *(each.load_sockets()[2] for each in second.splits())]
    counts = {part: len(index) for part, index in split.items()}
    assert counts == {"scans": 3, "more": 0, "validation": 3, "test": 2}
    drawn = [np.concatenate([each["scans"], each["test"]]).tolist() for each in splits]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_table_is_written_in_full_with_its_provenance(shown, frame):
    made = run()
    made.table("T9", frame.assign(error_sd=0.01), "Errors in mm, lower is better.")
    written = pd.read_csv(made.folder / "tables" / "T9.csv", index_col="model")
    np.testing.assert_array_equal(written.error, frame.error)
    for column, value in {"source": "analytic sockets", "profile": "quick", "splits": 2}.items():
        assert (written[column] == value).all()
    text = (made.folder / "tables" / "T9.md").read_text()
    assert "| 0.123 ± 0.010 |" in text
    assert "error_sd" not in text
    assert text.endswith(f"**T9.** Errors in mm, lower is better. {DATA}\n")
    assert shown == [text.rstrip("\n")]


@pytest.mark.usefixtures("shown")
def test_notebook_7_keeps_folders_of_one_name_apart(tmp_path, monkeypatch):
    cells = jupytext.read(NOTEBOOKS / "07_own_shapes.py").cells
    begin = [cell.source for cell in cells if cell.cell_type == "code"][:4]
    assert "load_clouds" in begin[-1]
    monkeypatch.setenv("AAELIB_PROFILE", "quick")
    for year, names in {"2025": "ab", "2026": "bc"}.items():
        folder = tmp_path / year / "meshes"
        folder.mkdir(parents=True)
        for name in names:
            trimesh.creation.capsule(radius=int(year)).export(folder / f"{name}.stl")
        monkeypatch.setenv("AAELIB_SHAPES", str(folder))
        found = {}
        exec("\n".join(begin), found)
        assert found["study"].source == f"folder {folder}"
        assert "".join(found["clouds"].names) == names
        radii = np.linalg.norm(found["clouds"].points[..., :2], axis=-1).max(axis=1)
        np.testing.assert_allclose(radii, int(year), rtol=0.01)


def test_a_table_without_caption_is_written_and_not_shown(shown, frame):
    made = run()
    made.table("rows", frame)
    assert [path.name for path in made.folder.rglob("*.*")] == ["rows.csv"]
    assert shown == []


@pytest.mark.parametrize(
    ("profile", "picture", "live", "kinds"),
    [
        ("with_pictures", b"a picture", True, {"image/png", PLOTLY}),
        # Shapes that may not be passed on.
        ("with_pictures", b"a picture", False, {"image/png"}),
        # Without a browser, or in a profile that wants no pictures.
        ("with_pictures", None, False, {PLOTLY}),
        ("quick", b"a picture", False, {PLOTLY}),
    ],
)
def test_a_figure_is_live_and_has_a_picture(shown, monkeypatch, profile, picture, live, kinds):
    monkeypatch.setattr(figures, "to_png", lambda figure: picture)
    made = run(profile, source="folder /a/<img src=x>")
    made.figure("F9", go.Figure(go.Scatter3d(x=[0, 1])), "Shapes.", live)
    assert (made.folder / "figures" / "F9.html").exists()
    assert shown[1].startswith("**F9.** Shapes. *folder /a/&lt;img src=x&gt; · profile ")
    assert f"; to turn and zoom: `results/{profile}/figures/F9.html`" in shown[1]
    assert shown[0].keys() == {"text/plain"} | kinds
    if PLOTLY in kinds:  # what a notebook stores is plain JSON
        assert json.loads(json.dumps(shown[0][PLOTLY]))["data"][0]["type"] == "scatter3d"


def test_conclusions_are_a_list_with_their_provenance(shown):
    run().conclude("Errors fall.", "Draws vary.")
    assert shown == [f"- Errors fall.\n- Draws vary.\n\n{DATA}"]
