"""The run that is stored in the notebooks: its pictures, its sources, and no points of ModelNet."""

import base64
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
STORED = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
PLOTLY, PNG = "application/vnd.plotly.v1+json", "image/png"

each_notebook = pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", [])]


def bundles(path):
    """The outputs that were displayed, as {kind: content}."""
    return [output.data for output in outputs(path) if "data" in output]


def texts(path):
    return [bundle["text/markdown"] for bundle in bundles(path) if "text/markdown" in bundle]


@each_notebook
def test_no_cell_failed_or_shows_a_log_a_progress_bar_or_a_path_of_a_machine(path):
    for output in outputs(path):
        assert output.output_type != "error"
        text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        assert not re.search(r"WARNING:|Warning: |absl|\dit/s|/tmp/|/home/|\.py:\d+", text)


@each_notebook
def test_every_figure_has_a_picture_and_at_most_two_3d_views(path):
    """Viewers without JavaScript, such as a code host's, show nothing else than the picture."""
    for bundle in bundles(path):
        if PLOTLY in bundle:
            assert sum(name.startswith("scene") for name in bundle[PLOTLY]["layout"]) <= 2
            assert PNG in bundle
        if PNG in bundle:
            assert base64.b64decode(bundle[PNG]).startswith(b"\x89PNG")


def test_shapes_of_modelnet_are_stored_as_pictures_only():
    """ModelNet may not be passed on: its points are in no figure that a reader could extract."""
    for bundle in bundles(NOTEBOOKS / "02_modelnet_pretraining.ipynb"):
        traces = bundle.get(PLOTLY, {}).get("data", [])
        assert not {trace["type"] for trace in traces} & {"scatter3d", "mesh3d", "surface"}


@each_notebook
def test_every_table_and_figure_says_its_source_and_the_one_profile(path):
    profiles = set()
    for text in texts(path):
        if text.startswith(("|", "**F", "- ")):
            provenance = text.rsplit("*", 2)[1]
            source, profile, splits = provenance.split(";")[0].split(" · ")
            assert source not in ("", "None")
            assert re.fullmatch(r"1 split|\d+ splits", splits)
            profiles.add(profile)
    assert len(profiles) == 1


def test_the_readme_shows_the_stored_run():
    readme = (NOTEBOOKS.parent / "README.md").read_text(encoding="utf-8")
    shown = {text.strip() for path in STORED for text in texts(path)}
    included = re.findall(r"<!-- include \S+(?: \d+)? -->\n(.*?)\n<!-- end -->", readme, re.DOTALL)
    assert included
    assert all(any(text.startswith(part) for text in shown) for part in included)
    for picture in re.findall(r"\]\((notebooks/images/\S+\.png)\)", readme):
        assert (NOTEBOOKS.parent / picture).read_bytes().startswith(b"\x89PNG")


def table(notebook, name):
    """Rows of a stored Markdown table, as {column: number}, without the spread."""
    text = next(t for t in texts(NOTEBOOKS / f"{notebook}.ipynb") if f"**{name}.**" in t)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return [dict(zip(header, (c.split(" ± ")[0] for c in row), strict=True)) for row in rows]


def test_stored_surfaces_and_models_follow_sockets_better_than_their_baselines():
    for name, column, limit in (
        ("T1_data", "surface_fit_mm", 0.35),
        ("T2_shape_model", "unseen_surface_mm", 1.1),
    ):
        assert all(float(row[column]) < limit for row in table("01_augmentation", name))
    tables = ("T4_augmentation_transfer", "T4_starts", "T4_baselines")
    rows = {row["model"]: row for name in tables for row in table("04_evaluation", name)}

    def is_lower(column, model, baseline):
        return float(rows[model][column]) < float(rows[baseline][column])

    assert is_lower("chamfer", "augmentation + transfer", "nearest scan")
    best = "all training sockets"
    assert is_lower("chamfer", best, "linear, all training sockets, k numbers")
    for column in ("fidelity", "jsd"):
        assert is_lower(column, best, "linear shape model, k numbers")
    assert float(rows[best]["surface_mm"]) < 0.8
