"""Notebooks are executed, made into pages that need no network, and stored."""

import base64
import json
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from aaelib.study import report

PARAMETERS = 'profile = "default"'
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
PNG = "iVBORw0KGgo="


def write(path, *cells):
    """Write a notebook whose second cell holds the parameters."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# A small study"),
            new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            *cells,
        ]
    )
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def read(path):
    return nbformat.read(path, as_version=4)


def text_of(notebook):
    return "".join(o.get("text", "") for c in notebook.cells for o in c.get("outputs", []))


def figure(**mime):
    data = {PLOTLY: {"data": [{"y": [1, 2], "name": "</script>"}], "layout": {"height": 321}}}
    return new_output("display_data", {**data, **mime})


def external_hosts(html):
    """Addresses of other hosts that a page would fetch."""
    return re.findall(
        r"""(?:<(?:script|link|img|iframe)[^>]*?(?:src|href)=|@import|url\(|import\()\s*["']?"""
        r"""((?:https?:)?//[^"'\s)>]+)""",
        html,
    )


def test_importing_the_report_is_cheap():
    heavy = "{'tensorflow', 'nbconvert', 'papermill', 'pandas', 'plotly'}"
    code = f"import sys, aaelib.study.report; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Pages


@pytest.fixture
def results(tmp_path):
    """A results folder with one executed notebook of two figures."""
    results = tmp_path / "smoke"
    write(
        results / "notebooks" / "01_augmentation.ipynb",
        new_markdown_cell("See [the next](02_next.ipynb), [the web](https://example.org/x.ipynb)"),
        new_code_cell("one()", outputs=[figure()]),
        new_code_cell("two()", outputs=[figure(**{"image/png": PNG, "text/html": "twice"})]),
    )
    report.to_html(
        results / "notebooks" / "01_augmentation.ipynb", results / "report" / "01_augmentation.html"
    )
    return results


def test_a_page_asks_no_other_host(results):
    html = (results / "report" / "01_augmentation.html").read_text()
    assert external_hosts(html) == []
    assert re.findall(r'<script src="([^"]*)"', html) == ["../figures/plotly.min.js"]
    assert (results / "report" / "../figures/plotly.min.js").stat().st_size > 1e6


def test_external_hosts_sees_what_a_page_fetches():
    from nbconvert import HTMLExporter

    html, _ = HTMLExporter().from_notebook_node(new_notebook(cells=[new_markdown_cell("# x")]))
    assert any("require" in host for host in external_hosts(html))
    assert any("mathjax" in host for host in external_hosts(html))


def test_every_figure_of_a_page_is_live_once_and_a_picture_without_javascript(results):
    html = (results / "report" / "01_augmentation.html").read_text()
    assert html.count('class="plotly-figure"') == 2
    figures = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert [json.loads(text) for text in figures] == 2 * [figure().data[PLOTLY]]
    assert re.findall(r'<noscript><img [^>]*base64,([^"]+)"', html) == [PNG]
    assert html.count(PNG) == 1
    assert "twice" not in html


def test_a_page_never_offers_to_send_data_away(results):
    assert "showSendToCloud: false" in (results / "report" / "01_augmentation.html").read_text()


def test_a_page_has_its_notebooks_title_and_links_to_pages(results):
    html = (results / "report" / "01_augmentation.html").read_text()
    assert "<title>A small study</title>" in html
    assert 'href="02_next.html"' in html
    assert 'href="https://example.org/x.ipynb"' in html
    assert 'href="../index.html"' in html


def test_a_page_without_figures_loads_no_plotly(tmp_path):
    source = write(tmp_path / "notebooks" / "01.ipynb", new_code_cell("print(1)"))
    report.to_html(source, tmp_path / "report" / "01.html")
    assert "plotly.min.js" not in (tmp_path / "report" / "01.html").read_text()
    assert not (tmp_path / "figures").exists()


# The index


def test_the_index_reaches_everything_and_its_links_resolve(results):
    tables, figures = results / "tables", results / "figures"
    tables.mkdir()
    (tables / "T10_b.csv").write_text("kind,error\nTT,0.00123456\nTF,\n")
    (tables / "T2_a.csv").write_text("kind,n\nTT,90\n")
    (figures / "F1_system.html").write_text("a figure")
    (results / "notebooks" / "02_next.failed.ipynb").write_text("not a notebook")
    captions = {
        "T2_a": {"caption": "Counts < 100", "notebook": "01_augmentation", "source": "SocketSSM"},
        "F1_system": {"caption": "The system", "notebook": "01_augmentation"},
    }
    (results / "captions.json").write_text(json.dumps(captions))
    html = report.write_index(results).read_text()
    links = re.findall(r'href="([^"]+)"', html)
    assert links == [
        "report/01_augmentation.html",
        "figures/F1_system.html",
        "tables/T2_a.csv",
        "tables/T10_b.csv",
    ]
    assert all((results / link).exists() for link in links)
    assert external_hosts(html) == []
    for shown in ("A small study", "smoke", "SocketSSM", "Counts &lt; 100", "The system"):
        assert shown in html
    assert "<td>0.001235</td>" in html
    assert "<td></td>" in html


def test_the_index_of_an_empty_run_is_a_page(tmp_path):
    assert "Notebooks" in report.write_index(tmp_path).read_text()


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


def test_storing_copies_outputs_and_nothing_of_papermill(tmp_path):
    stored = write(tmp_path / "stored.ipynb", new_code_cell("show()"))
    before = read(stored)
    run = executed(
        tmp_path / "run.ipynb", new_output("stream", text="5 sockets"), figure(**{"image/png": PNG})
    )
    report.store(run, stored)
    after = read(stored)
    assert after.cells[-1].outputs == read(run).cells[-1].outputs
    assert after.cells[-1].execution_count == 3
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.id for c in after.cells] == [c.id for c in before.cells]
    assert "papermill" not in stored.read_text()


def test_storing_refuses_a_figure_without_a_static_picture(tmp_path):
    stored = write(tmp_path / "stored.ipynb", new_code_cell("show()"))
    with pytest.raises(ValueError, match="no static picture"):
        report.store(executed(tmp_path / "run.ipynb", figure()), stored)


def test_storing_drops_progress_bars_and_keeps_warnings(tmp_path):
    stored = write(tmp_path / "stored.ipynb", new_code_cell("show()"))
    bar = " 50%|#####     | 1/2 [00:00<00:00,  9.99it/s]"
    report.store(
        executed(
            tmp_path / "run.ipynb",
            new_output("stream", name="stderr", text=f"\r{bar}\r{bar}\n"),
            new_output("stream", name="stderr", text=f"\r{bar}\nUserWarning: few\n"),
            new_output("stream", name="stderr", text="12it [00:03,  4.00it/s]\n"),
            new_output(
                "stream",
                name="stderr",
                text="WARNING: All log messages before absl::InitializeLog() is called\n"
                "I0000 00:00:1.2 3 port.cc:153] oneDNN custom operations are on.\n"
                "E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit\n",
            ),
            new_output("display_data", {WIDGET: {"model_id": "0"}, "text/plain": bar}),
            new_output("display_data", {WIDGET: {"model_id": "1"}, "text/plain": "VBox(...)"}),
            new_output("stream", text="coverage 50%\n"),
        ),
        stored,
    )
    outputs = read(stored).cells[-1].outputs
    assert [o.get("text") for o in outputs] == ["UserWarning: few\n", None, "coverage 50%\n"]
    assert WIDGET not in outputs[1].data


@pytest.mark.parametrize(
    ("cells", "message"),
    [(["show(2)"], r"cell 2 differs: executed 'show\(\)', stored 'show\(2\)'"), ([], "3 cells")],
)
def test_storing_refuses_outputs_of_other_sources(tmp_path, cells, message):
    stored = write(tmp_path / "stored.ipynb", *map(new_code_cell, cells))
    before = stored.read_bytes()
    with pytest.raises(ValueError, match=message):
        report.store(executed(tmp_path / "run.ipynb"), stored)
    assert stored.read_bytes() == before


def test_storing_refuses_a_notebook_that_gets_too_large(tmp_path):
    stored = write(tmp_path / "stored.ipynb", new_code_cell("show()"))
    before = stored.read_bytes()
    run = executed(tmp_path / "run.ipynb", new_output("stream", text="x" * 3_000_000))
    with pytest.raises(ValueError, match=r"3\.0 MB .* at most 3 MB"):
        report.store(run, stored)
    assert stored.read_bytes() == before


# The README -----------------------------------------------------------------------------------


def test_readme_shows_the_run(tmp_path):
    results = tmp_path / "results" / "default"
    (results / "tables").mkdir(parents=True)
    (results / "tables" / "T.md").write_text("| new |\n")
    (results / "notebooks").mkdir()
    picture = {"image/png": base64.b64encode(b"pixels").decode(), "text/plain": "F1"}
    cell = new_code_cell("show()")
    cell.outputs = [new_output("display_data", picture)]
    nbformat.write(new_notebook(cells=[cell]), results / "notebooks" / "01_a.ipynb")
    readme = tmp_path / "README.md"
    readme.write_text(
        "![a](notebooks/images/F1.png)\n<!-- include tables/T.md -->\n| old |\n<!-- end -->\nrest\n"
    )
    for _ in range(2):  # a second time changes nothing
        report.update_readme(readme, results)
        assert readme.read_text().endswith(
            "<!-- include tables/T.md -->\n| new |\n<!-- end -->\nrest\n"
        )
    assert (tmp_path / "notebooks/images/F1.png").read_bytes() == b"pixels"


def test_readme_with_a_picture_that_the_run_lacks_is_left_alone(tmp_path):
    (tmp_path / "notebooks").mkdir()
    readme = tmp_path / "README.md"
    readme.write_text("![a](notebooks/images/F9.png)")
    with pytest.raises(FileNotFoundError, match="F9"):
        report.update_readme(readme, tmp_path)
    assert readme.read_text() == "![a](notebooks/images/F9.png)"


def test_a_text_goes_where_its_own_word_stands(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(
        "<!-- include a -->\nold\n<!-- end -->\n<!-- bench a -->\nold\n<!-- end -->\n"
    )
    (tmp_path / "a").write_text("new\n")
    report.include(readme, tmp_path, "bench")
    assert readme.read_text() == (
        "<!-- include a -->\nold\n<!-- end -->\n<!-- bench a -->\nnew\n<!-- end -->\n"
    )
