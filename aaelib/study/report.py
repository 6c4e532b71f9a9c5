"""Turn executed notebooks into a report that opens without a network."""

import json
import re
import shutil
from base64 import b64decode
from pathlib import Path

import pooch

from ..shapes.writing import replacing

TEMPLATES = Path(__file__).parent / "templates"
MAX_STORED_BYTES = 3_000_000
MAX_WEIGHTS_BYTES = 16_000_000

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"

# TensorFlow's C++ side logs processors and missing GPUs before anyone can tell it not to.
_LOG = re.compile(
    r"[IWE]\d{4} \d\d:\d\d|\d{4}-\d\d-\d\d \S+ [IWE] |WARNING: All log messages before absl|"
    r"To enable the following instructions:"
)
_PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[\d")  # as tqdm draws it, with and without a total


def to_html(executed, html_path):
    """
    Write an executed notebook as a page that asks no other host for anything.

    The page goes to ``results/<profile>/report/<name>.html``. Its plotly figures are live and share
    ``../figures/plotly.min.js``; without JavaScript their static pictures show.
    """
    import nbformat
    from nbconvert import HTMLExporter

    html_path = Path(html_path)
    notebook = nbformat.read(executed, as_version=4)
    resources = {
        "metadata": {"name": _title(notebook, Path(executed).stem)},
        "index": "../index.html",
        "draw": (TEMPLATES / "draw.js").read_text(),
    }
    if _for_the_page(notebook):
        from .figures import share_plotly

        share_plotly(html_path.parent.parent / "figures")
        resources["plotly"] = "../figures/plotly.min.js"
    notebook.metadata.pop("widgets", None)
    page, _ = HTMLExporter(
        raw_template=(TEMPLATES / "notebook.html.j2").read_text()
    ).from_notebook_node(notebook, resources)
    with replacing(html_path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _for_the_page(notebook):
    """Turn outputs and links into what a page shows, in place; return whether a figure is live."""
    is_live = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # Links between notebooks become links between pages.
            cell.source = re.sub(r"\]\((?![a-z]+:)([^)\s]+)\.ipynb", r"](\1.html", cell.source)
        if cell.cell_type != "code":
            continue
        cell.outputs = _without_progress(cell.outputs)
        for output in cell.outputs:
            data = output.get("data", {})
            if _PLOTLY in data:
                output.data = {"text/html": _live_figure(data)}
                is_live = True
            else:
                _without_widget(output)
    return is_live


def _live_figure(data):
    """HTML of a figure that `templates/draw.js` draws."""
    figure = data[_PLOTLY]
    return render(
        "figure.html.j2",
        # "</script>" in a label would end the element that holds it.
        figure=json.dumps(figure).replace("<", "\\u003c"),
        height=int(figure.get("layout", {}).get("height") or 450),
        png=data.get("image/png", "").replace("\n", ""),
    )


def write_index(results_dir):
    """
    Write ``index.html`` in ``results/<profile>``, and return its path.

    It lists the executed notebooks in order, the figures, and the tables. Captions come
    from ``captions.json``: name of a figure or table -> ``{"caption": str, "notebook": str}``, and
    ``"source": str`` for the data that it was made from.
    """
    import nbformat

    results = Path(results_dir).resolve()
    captions = results / "captions.json"
    captions = json.loads(captions.read_text(encoding="utf-8")) if captions.exists() else {}
    notebooks = [
        (f"report/{path.stem}.html", _title(nbformat.read(path, as_version=4), path.stem))
        for path in _in_order(results / "notebooks", "*.ipynb")
        if not path.stem.endswith(".failed")
    ]
    figures = _in_order(results / "figures", "*.html")
    tables = _in_order(results / "tables", "*.csv")
    _write_page(
        results / "index.html",
        "index.html.j2",
        title=f"Report: {results.name}",
        profile=results.name,
        sources=sorted({entry["source"] for entry in captions.values() if "source" in entry}),
        notebooks=notebooks,
        figures=[(path.stem, _caption(captions, path.stem)) for path in figures],
        tables=[(path.stem, _caption(captions, path.stem), _table(path)) for path in tables],
    )
    return results / "index.html"


def write_page(path, title, paragraphs, sections):
    """
    Write tables and live figures as one page that needs no other file and no network.

    `paragraphs` (of str) stand above the `sections`, each a heading, a caption and a
    pandas.DataFrame or plotly figure.
    """
    from plotly.offline import get_plotlyjs

    _write_page(
        path,
        "evaluation.html.j2",
        title=title,
        plotly=get_plotlyjs(),
        paragraphs=paragraphs,
        sections=[(heading, caption, _content(each)) for heading, caption, each in sections],
    )


def _write_page(path, template, **values):
    page = render(template, **values)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def render(template, **values):
    """Fill in one of the `templates`; HTML in values is escaped on pages."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    escape = select_autoescape(["html.j2"])
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=escape)
    return environment.get_template(template).render(**values)


def _content(content):
    """HTML of a table or a figure."""
    if hasattr(content, "columns"):
        return content.to_html(border=0, na_rep="-", float_format="{:.4g}".format)
    return _live_figure({_PLOTLY: json.loads(content.to_json())})


def _caption(captions, name):
    entry = captions.get(name, {})
    origin = f" ({entry['notebook']})" if "notebook" in entry else ""
    return entry.get("caption", "") + origin


def _in_order(folder, pattern):
    """Files by name, with T2 before T10."""

    def key(path):
        parts = re.split(r"(\d+)", path.stem)
        return [int(part) if part.isdigit() else part for part in parts]

    return sorted((p for p in folder.glob(pattern) if not p.name.startswith(".")), key=key)


def _table(path):
    """HTML of a CSV file, numbers to four significant digits; for a long one, a link to it."""
    import pandas as pd

    frame = pd.read_csv(path)
    if len(frame) > 30:
        return f'<p><a href="tables/{path.name}">{len(frame)} rows</a></p>'
    return frame.to_html(index=False, border=0, na_rep="", float_format="{:.4g}".format)


def _title(notebook, default):
    """The first heading of a notebook."""
    markdown = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+\s+(.+?)\s*$", "\n".join(markdown), flags=re.MULTILINE)
    return re.sub(r"[*`]", "", headings[0]) if headings else default


def store(executed, stored):
    """
    Copy the outputs of an executed notebook into the ``.ipynb`` that it was executed from.

    What papermill added (a cell, metadata, times), progress bars and live widgets are left out.

    Raises
    ------
    ValueError
        If the notebooks differ in a cell's source, a figure has no static picture, or the result is
        above 3 MB. `stored` is left as it was.
    """
    import nbformat

    source = nbformat.read(stored, as_version=4)
    run = nbformat.read(executed, as_version=4)
    run.cells = [c for c in run.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    _check_same_sources(run, source, executed, stored)
    for cell, ran in zip(source.cells, run.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = ran.execution_count
            cell.outputs = [_without_widget(o) for o in _without_progress(ran.outputs)]
            _check_pictures(cell.outputs, executed)
    text = nbformat.writes(source) + "\n"
    size = len(text.encode())
    if size > MAX_STORED_BYTES:
        raise ValueError(
            f"{stored} would have {size / 1e6:.1f} MB with its outputs; at most "
            f"{MAX_STORED_BYTES / 1e6:.0f} MB are stored: let its figures show less data"
        )
    with replacing(stored) as temporary:
        temporary.write_text(text, encoding="utf-8")


def update_readme(readme, results_dir):
    """
    Bring what the README shows of a run up to date: included texts, and pictures of figures.

    Texts are those of `include`; ``notebooks/images/NAME.png`` is the static picture of the figure
    NAME. Raises FileNotFoundError if the run lacks a text or a picture, naming it.
    """
    readme, results_dir = Path(readme), Path(results_dir)
    pictures = _pictures(results_dir / "notebooks")
    text = readme.read_text(encoding="utf-8")
    for image in re.findall(r"\]\((notebooks/images/\S+\.png)\)", text):
        name = Path(image).stem
        if name not in pictures:
            raise FileNotFoundError(
                f"{readme} shows {image}, but no executed notebook in {results_dir} has a picture "
                f"{name!r}; pictures need Chrome or Chromium"
            )
        with replacing(readme.parent / image) as temporary:
            temporary.write_bytes(pictures[name])
    include(readme, results_dir)


def include(readme, folder, word="include"):
    """
    Put texts between the ``<!-- include PATH -->`` and ``<!-- end -->`` of a Markdown file.

    PATH is relative to `folder`; another `word` than "include" stands for another folder. Nothing
    is changed if a text is missing (FileNotFoundError).
    """
    readme, folder = Path(readme), Path(folder)

    def included(match):
        text = (folder / match["path"]).read_text(encoding="utf-8").strip()
        return f"{match['start']}\n{text}\n{match['end']}"

    pattern = rf"(?P<start><!-- {word} (?P<path>\S+) -->).*?(?P<end><!-- end -->)"
    text = re.sub(pattern, included, readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    with replacing(readme) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _pictures(folder):
    """Static pictures in executed notebooks, by the names that their outputs bear as text."""
    import nbformat

    notebooks = [
        nbformat.read(path, as_version=4)
        for path in folder.glob("[0-9]*.ipynb")
        if not path.stem.endswith(".failed")
    ]
    outputs = [o for nb in notebooks for cell in nb.cells for o in cell.get("outputs", [])]
    data = [output.get("data", {}) for output in outputs]
    return {d["text/plain"]: b64decode(d["image/png"]) for d in data if "image/png" in d}


def store_weights(run, stored):
    """
    Copy the models to take away, with their cards, and write their sha256 to a registry.

    They go from the folder of a run to the one from which `aaelib.models.load` reads them by name.
    Raises ValueError, and copies nothing, if a file is above 16 MB.
    """
    files = sorted(run.glob("[!.]*.npz"))
    for file in files:
        if (size := file.stat().st_size) > MAX_WEIGHTS_BYTES:
            raise ValueError(
                f"{file} has {size / 1e6:.1f} MB; at most {MAX_WEIGHTS_BYTES / 1e6:.0f} MB are "
                "stored: use a smaller recipe"
            )
    lines = []
    for file in files:
        for each in (file, file.with_suffix(".md")):
            with replacing(stored / each.name) as temporary:
                shutil.copyfile(each, temporary)
        lines.append(f"{file.name} {pooch.file_hash(str(file))}\n")
    if lines:
        with replacing(stored / "registry.txt") as temporary:
            temporary.write_text("".join(lines))


def _check_same_sources(run, source, executed, stored):
    """Raise ValueError at the first cell in which two notebooks differ."""
    advice = f"{executed} was not executed from {stored} as it is now: execute it again"
    for i, (ran, cell) in enumerate(zip(run.cells, source.cells, strict=False)):
        if (ran.cell_type, ran.source) != (cell.cell_type, cell.source):
            raise ValueError(
                f"cell {i} differs: executed {ran.source[:60]!r}, stored {cell.source[:60]!r}; "
                f"{advice}"
            )
    if len(run.cells) != len(source.cells):
        raise ValueError(f"{len(run.cells)} cells executed, {len(source.cells)} stored; {advice}")


def _check_pictures(outputs, executed):
    """Raise ValueError for a live figure that viewers without JavaScript would not see."""
    for output in outputs:
        data = output.get("data", {})
        if _PLOTLY in data and "image/png" not in data:
            raise ValueError(
                f"{executed}: figure {data.get('text/plain', '')!r} has no static picture; install "
                "Chrome or Chromium and execute it again, in a profile with `pictures: true`"
            )


def _without_progress(outputs):
    """Outputs without TensorFlow's logs and tqdm's progress bars, drawn as text or as widgets."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            lines = filter(str.strip, re.split(r"[\r\n]+", output.text))
            lines = [line for line in lines if not (_PROGRESS.search(line) or _LOG.match(line))]
            if lines:
                kept.append(type(output)(output, text="\n".join(lines) + "\n"))
            continue
        data = output.get("data", {})
        if not (_WIDGET in data and _PROGRESS.search(data.get("text/plain", ""))):
            kept.append(output)
    return kept


def _without_widget(output):
    """Replace a widget, which is dead without its kernel, by a picture or a note, in place."""
    if _WIDGET in output.get("data", {}):
        rest = {kind: data for kind, data in output.data.items() if kind.startswith("image/")}
        output.data = rest or {"text/plain": "An interactive widget: run this cell to use it."}
    return output
