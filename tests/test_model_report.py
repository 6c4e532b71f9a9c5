"""What a model is worth: metrics beside baselines, and a page of them."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import trimesh

from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.models import files
from aaelib.models.runs import card_of
from aaelib.shapes import load_clouds
from aaelib.study import baselines
from aaelib.study.model_report import NEAREST, evaluate


@pytest.fixture(scope="module")
def egg_shapes(eggs):
    return load_clouds(eggs, 128)


@pytest.fixture(scope="module")
def found(egg_model, egg_shapes):
    return evaluate(egg_model, egg_shapes, draws=2)


def test_only_unseen_shapes_are_evaluated_by_default(egg_model, egg_shapes, found):
    test = card_of(egg_model)["split"]["test"]
    assert list(found.errors.index) == sorted(test)
    assert found.about["which"].startswith("the 5 of 16 shapes that the model was neither")
    points = egg_shapes[np.isin(egg_shapes.names, list(test))].points
    expected = reconstruction_chamfer(points, files.load(egg_model).reconstruct(points))
    np.testing.assert_allclose(found.errors.chamfer, expected)
    assert found.metrics.chamfer["eggs"] == pytest.approx(expected.mean())


def test_clouds_are_compared_with_real_ones_and_have_no_surface(found):
    assert list(found.metrics.index) == ["eggs", NEAREST]
    assert "surface_mm" not in found.metrics
    assert {"chamfer", "fidelity", "coverage", "jsd", "one_nn_accuracy"} <= {*found.metrics}
    assert found.metrics.notna().loc["eggs", "fidelity_sd"]
    assert list(found.by_class.index) == ["egg chamfer", "ball chamfer"]


def test_shapes_that_may_have_been_trained_on_are_no_baseline(egg_model, egg_shapes, tmp_path):
    other = replace(egg_shapes, points=1.001 * egg_shapes.points, folder="", files=None)
    found = evaluate(egg_model, other, draws=1)
    assert list(found.metrics.index) == ["eggs"]
    assert found.memorising == {}
    assert "memory" not in found.figures
    page = found.write(tmp_path).read_text()
    assert "none is a baseline" in page
    assert not re.search("Is it memory|Folder:", page)


def test_sockets_have_errors_in_mm_and_more_baselines(cups, cup_model):
    shapes = load_clouds(cups, 128)
    found = evaluate(cup_model, shapes, draws=1)
    rows = ["cups", NEAREST, baselines.LINEAR, baselines.FLOOR]
    assert list(found.metrics.index) == rows
    assert found.metrics.surface_mm[baselines.FLOOR] < 1e-3
    assert found.metrics.surface_mm["cups"] > 0
    assert list(found.by_class.index[:2]) == ["TT chamfer", "TT surface_mm"]
    assert "surface_mm" not in evaluate(cup_model, shapes, draws=1, sockets=False).metrics


def test_meshes_have_a_sampling_floor(egg_model, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        mesh = trimesh.creation.icosphere(subdivisions=3)
        mesh.apply_scale(rng.uniform(10, 30, 3))
        mesh.export(tmp_path / f"{i}.off")
    found = evaluate(egg_model, load_clouds(tmp_path, 128), draws=2)
    assert list(found.metrics.index) == ["eggs", baselines.FLOOR]
    assert 0 < found.metrics.chamfer[baselines.FLOOR] < found.metrics.chamfer["eggs"]
    assert found.metrics.coverage[baselines.FLOOR] == 1


def test_a_model_without_a_file_is_called_by_its_recipe(egg_model, egg_shapes, found):
    again = evaluate(files.load(egg_model), egg_shapes[:4], draws=1)
    assert again.metrics.index[0] == "compact"
    assert again.about["which"].startswith("all 4 shapes; which of them")


@pytest.mark.parametrize("name", ["draws", "limit"])
def test_counts_below_one_are_refused_by_name(egg_model, egg_shapes, name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        evaluate(egg_model, egg_shapes, **{name: 0})


def test_samples_are_said_to_have_a_size_only_where_they_have_one(found, unit_model, egg_shapes):
    assert found.captions["samples"].endswith("in the unit of the folder's files.")
    unsized = evaluate(unit_model, egg_shapes, draws=1, everything=True)
    # Only unseen shapes tell whether samples are copies: training shapes are at 0 from themselves.
    assert (unsized.about["n"], unsized.about["n_trained"]) == (16, 8)
    assert unsized.memorising["test"] > 0
    assert unsized.captions["samples"].endswith("without a size: in the unit sphere.")


# The page


def test_an_evaluation_is_a_page_and_numbers(found, tmp_path):
    page = found.write(tmp_path).read_text()
    written = {file.name for file in tmp_path.iterdir()}
    assert written == {"index.html", "metrics.json", "errors.csv"}
    assert f"'{NEAREST}' reconstructs with the nearest of 8 training shapes" in page
    assert "there is no linear shape model" in page
    assert not re.search(r"""(src|href)=["']""", page.split("<body>")[1])
    assert page.count('class="plotly-figure"') == len(found.figures) == 7
    values = json.loads((tmp_path / "metrics.json").read_text())
    for metric in ("chamfer", "fidelity", "fidelity_sd", "coverage"):
        mine = found.metrics.loc["eggs", metric]
        assert values["metrics"]["eggs"][metric] == pytest.approx(mine, rel=1e-6)
    assert (values["n"], values["seeds"], values["source"]) == (5, [1000, 1001], "bälle")
    errors = pd.read_csv(tmp_path / "errors.csv", index_col="shape")
    np.testing.assert_allclose(errors.chamfer, found.errors.chamfer)


def test_names_are_neither_markup_nor_formulas(egg_model, egg_shapes, tmp_path):
    name = "=1+2<img src=x>"
    few = egg_shapes[:3]
    few = replace(few, kinds=np.full(3, name), names=np.array([f"{name}{i}" for i in range(3)]))
    page = evaluate(egg_model, few, draws=1, everything=True).write(tmp_path).read_text()
    assert "=1+2&lt;img src=x&gt;" in page
    # What the figures hold is JSON, of which plotly takes tags for markup.
    assert not re.search(r"1\+2(<|\\u003c)img", page)
    errors = pd.read_csv(tmp_path / "errors.csv")
    assert errors["shape"].tolist() == [f"'{name}{i}" for i in range(3)]
    assert set(errors["class"]) == {f"'{name}"}
    assert errors.chamfer.dtype == float


def test_a_model_whose_name_is_not_utf8_has_a_page(found, tmp_path):
    name = os.fsdecode(b"mod\xe8le")  # Latin-1
    page = replace(found, about=found.about | {"model": name}).write(tmp_path / name)
    assert r"mod\udce8le: evaluation" in page.read_text("utf-8")
