"""Notebooks are executed, made into a site that needs no network, and stored."""

import base64
import json
import re
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from aaelib.shapes import sources
from aaelib.study import Study, site
from aaelib.study.templating import render

PARAMETERS = 'profile = "default"'
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PNG = "iVBORw0KGgo="


def write(path, *cells):
    """Write a notebook whose second cell holds the parameters."""
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    notebook = new_notebook(cells=[new_markdown_cell("# A small study"), parameters, *cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def read(path):
    return nbformat.read(path, as_version=4)


def text_of(notebook):
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def figure(name="F1_a", **mime):
    data = {PLOTLY: {"data": [{"y": [1, 2], "name": "</script>"}], "layout": {"height": 321}}}
    return new_output("display_data", {"text/plain": name, **data, **mime})


# The site


STUDY = Study("smoke", "01_first")
STUDY.source = "SocketSSM"
DATA = f"*{STUDY.provenance}; to turn and zoom: `results/smoke/figures/F1_a.html`*"
BAR = " 50%|#####     | 1/2 [00:00<00:00,  9.99it/s]"


FIRST = "notebooks/01_first.html"


def shown(text):
    return new_output("display_data", {"text/markdown": text})


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A site of one notebook that a run has executed and one that is stored, as {page: HTML}."""
    root = tmp_path_factory.mktemp("site")
    shutil.copytree(site.DOCS, root / "docs")
    settings = root / "docs" / "conf.py"
    # Which take long.
    settings.write_text(re.sub(r"LAYERS = .*", "LAYERS = ()", settings.read_text()))
    shutil.copytree(site.NOTEBOOKS / "images", root / "notebooks" / "images")
    table = f"| kind | mm |\n|:--|--:|\n| TT | 9 |\n\n**T1_b.** Sizes < 10. {DATA}"
    cells = [
        new_markdown_cell("See [the next](02_next.ipynb), [the web](https://example.org/x.ipynb)"),
        new_code_cell("one()", outputs=[figure(), shown(f'**F1_a.** Two "lines". {DATA}')]),
        new_code_cell(
            "two()", outputs=[figure("F2_c", **{"image/png": PNG, "text/html": "twice"})]
        ),
        new_code_cell("three()", outputs=[shown(table)]),
        new_code_cell("four()", outputs=[new_output("stream", name="stderr", text="absl logs")]),
    ]
    results = root / "smoke"
    write(results / "notebooks" / "01_first.ipynb", *cells)
    write(root / "notebooks" / "01_first.ipynb", new_markdown_cell("of an earlier run"))
    write(root / "notebooks" / "02_next.ipynb", new_code_cell("5", outputs=[shown("- **Found**")]))
    (results / "tables").mkdir()
    (results / "tables" / "T1_b.csv").write_text("kind,mm\nTT,9\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "DOCS", root / "docs")
        patch.setattr(site, "NOTEBOOKS", root / "notebooks")
        index = site.build(results)
    return {
        path.relative_to(index.parent).as_posix(): path.read_text(encoding="utf-8")
        for path in index.parent.rglob("*.html")
    } | {"lead": (results / "index.html").read_text(), "folder": index.parent}


def test_pages_lead_to_each_other_and_the_folder_of_the_run_to_its_site(built):
    assert {"index.html", "notebooks/01_first.html", "howto/original.html"} <= set(built)
    assert 'url=site/index.html"' in built["lead"]
    assert sorted(path.name for path in built["folder"].parent.glob(".*")) == []
    # What the run has executed replaces what is stored.
    assert "of an earlier run" not in built[FIRST]
    assert "Found" in built["notebooks/02_next.html"]
    links = re.findall(r'href="([^"]+)"', built[FIRST])
    assert {"02_next.html", "https://example.org/x.ipynb", "../index.html"} <= set(links)
    front = re.findall(r'href="(notebooks/[^"]+)"', built["index.html"])
    assert {f"notebooks/01_first.html#{name}" for name in ("F1_a", "F2_c", "t1-b")} <= set(front)
    # A figure links to the cell that made it.
    cells = re.findall(r'href="#(cell-[\w-]+)">The cell that made it', built[FIRST])
    assert [f'id="{cell}"' in built[FIRST] for cell in cells] == [True, True]


def test_a_figure_is_live_once_and_has_a_picture_that_its_caption_describes(built):
    html = built[FIRST]
    figures = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(text) for text in figures] == 2 * [figure().data[PLOTLY]]
    assert re.findall(r'<img src="([^"]+\.png)"', html) == ["../_static/figures/F2_c.png"]
    assert (built["folder"] / "_static/figures/F2_c.png").read_bytes() == base64.b64decode(PNG)
    assert "twice" not in html
    # Nor does a button send its data to another host.
    assert "showSendToCloud: false" in (built["folder"] / "_static/page.js").read_text()


def test_a_table_has_a_caption_that_names_it_and_its_file(built):
    html = built[FIRST]
    assert re.search(r"<caption>.*<strong>T1_b\.</strong> Sizes &lt; 10\.", html)
    assert 'href="../_static/tables/T1_b.csv"' in html
    assert (built["folder"] / "_static/tables/T1_b.csv").exists()


def test_a_page_says_its_data_once_folds_code_and_shows_neither_set_up_nor_logs(built):
    html = built[FIRST]
    assert html.count("SocketSSM · profile smoke · 1 split") == 1
    assert "to turn and zoom" not in html
    assert "SocketSSM · profile smoke · 1 split" in built["index.html"]
    assert html.count("<details") == 4
    assert PARAMETERS not in re.sub("<[^>]+>", "", html).replace("&quot;", '"')
    assert "absl" not in html


def test_a_site_that_sphinx_refuses_leaves_the_last_one(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("the last one")
    shutil.copytree(site.DOCS, tmp_path / "docs")
    (tmp_path / "docs" / "conf.py").write_text("extensions = ['none.such']")
    monkeypatch.setattr(site, "DOCS", tmp_path / "docs")
    with pytest.raises(RuntimeError, match=r"(?s)no site of .*none\.such"):
        site.build(tmp_path)
    assert (tmp_path / "site" / "index.html").read_text() == "the last one"


# Storing


def executed(path, *outputs, source="show()"):
    """Write an executed notebook as papermill leaves it."""
    path = write(path, new_code_cell(source, execution_count=3, outputs=list(outputs)))
    notebook = read(path)
    injected = new_code_cell('profile = "study"', metadata={"tags": ["injected-parameters"]})
    notebook.cells.insert(2, injected)
    notebook.metadata.papermill = {"output_path": "/somewhere"}
    notebook.cells[-1].metadata.papermill = {"duration": 1.0}
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def stored(tmp_path):
    return write(tmp_path / "stored.ipynb", new_code_cell("show()"))


def test_storing_copies_outputs_and_nothing_of_papermill(tmp_path, stored):
    before = read(stored)
    outputs = new_output("stream", text="5 sockets, 50%"), figure(**{"image/png": PNG})
    run = executed(tmp_path / "run.ipynb", *outputs)
    site.store(run, stored)
    after = read(stored)
    assert after.cells[-1].outputs == list(outputs)
    assert after.cells[-1].execution_count == 3
    assert [(c.source, c.id) for c in after.cells] == [(c.source, c.id) for c in before.cells]
    assert "papermill" not in stored.read_text()


def test_weights_that_learnt_from_modelnet_stay_where_they_are(tmp_path):
    run, kept = tmp_path / "run", tmp_path / "kept"
    run.mkdir()
    for name in ("sockets", "pretrained"):
        (run / f"{name}.npz").write_bytes(name.encode())
    (run / "pretrained.md").write_text(
        render("card_pretrained.md.j2", corpus="ModelNet10", recipe={})
    )
    site.store_weights(run, kept)
    assert sorted(file.name for file in kept.iterdir()) == ["registry.txt", "sockets.npz"]
    (run / "pretrained.md").write_text(
        render("card_pretrained.md.j2", corpus=sources.BUNDLED_CORPUS, recipe={})
    )
    site.store_weights(run, kept)
    assert (kept / "pretrained.npz").read_bytes() == b"pretrained"
    assert len((kept / "registry.txt").read_text().splitlines()) == 2


def test_storing_drops_logs_progress_bars_and_live_widgets(tmp_path, stored):
    outputs = (
        new_output(
            "stream", name="stderr", text=f"\r{BAR}\n/tmp/ipykernel_1/2.py:3: UserWarning\n"
        ),
        new_output("display_data", {WIDGET: {"model_id": "0"}, "text/plain": BAR}),
        new_output("display_data", {WIDGET: {"model_id": "1"}, "text/plain": "VBox(...)"}),
        new_output("display_data", {WIDGET: {"model_id": "2"}, "image/png": PNG}),
    )
    site.store(executed(tmp_path / "run.ipynb", *outputs), stored)
    note, picture = read(stored).cells[-1].outputs
    assert note.data.keys() == {"text/plain"}
    assert picture.data == {"image/png": PNG}


@pytest.mark.parametrize(
    ("output", "source", "message"),
    [
        (figure(), "show()", "no static picture"),
        (new_output("stream", text=""), "show(2)", "was not executed from"),
        (new_output("stream", text="x" * 4_000_000), "show()", r"4\.0 MB .* at most 4 MB"),
    ],
)
def test_storing_refuses_what_would_not_do(tmp_path, stored, output, source, message):
    before = stored.read_bytes()
    with pytest.raises(ValueError, match=message):
        site.store(executed(tmp_path / "run.ipynb", output, source=source), stored)
    assert stored.read_bytes() == before


# The README -----------------------------------------------------------------------------------


def test_readme_shows_the_run(tmp_path):
    results = tmp_path / "results" / "default"
    pictures = results / "site" / "_static" / "figures"
    pictures.mkdir(parents=True)
    (pictures / "F1.png").write_bytes(b"pixels")
    (results / "T.md").write_text("| new |\n| second |\n| third |\n")
    readme = tmp_path / "README.md"
    image, bench = "![a](notebooks/images/F1.png)\n", "<!-- bench T.md -->\n<!-- end -->\n"
    readme.write_text(f"{image}<!-- include T.md 2 -->\n| old |\n<!-- end -->\n{bench}rest\n")
    for _ in range(2):  # a second time changes nothing
        site.update_readme(readme, results)
        included = "<!-- include T.md 2 -->\n| new |\n| second |\n<!-- end -->\n"
        assert readme.read_text() == f"{image}{included}{bench}rest\n"
    assert (tmp_path / "notebooks/images/F1.png").read_bytes() == b"pixels"
    site.include(readme, results, "bench")
    assert readme.read_text().endswith("| third |\n<!-- end -->\nrest\n")
    (pictures / "F1.png").unlink()
    with pytest.raises(FileNotFoundError, match="F1"):
        site.update_readme(readme, results)
