"""Make a site of executed notebooks that needs no network, and store what they show."""

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pooch

from ..shapes.places import NOTEBOOKS, ROOT
from ..shapes.writing import locked, write_whole
from .templating import TEMPLATES, render

DOCS = ROOT / "docs"
MAX_STORED_BYTES = 4_000_000

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"

# Bars as tqdm draws them, with and without a total.
_PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[\d")

# What a study says below a table or a figure: name, caption, and of which data it is.
_DATA = re.compile(r"\*([^*\n]+ · profile \w+ · \d+ splits?)[^*\n]*\*")
_CAPTION = re.compile(
    r"(?P<table>(?:^\|.*\n)+)?\n?^\*\*(?P<name>\w+)\.\*\* (?P<caption>.*)", re.MULTILINE
)


def build(results):
    """
    Write the site of a run into its folder, and return its front page.

    The pages are the notebooks that the run has executed, the stored ones where it has not, and
    what is in ``docs/``. They open from a disk, and ask no host for anything.

    Parameters
    ----------
    results : str or Path
        ``results/<profile>``: the site goes to its folder ``site``, and ``index.html`` leads there.

    Raises
    ------
    RuntimeError
        If Sphinx can't write the pages; the message is Sphinx's.
    """
    from .figures import share_plotly

    results = Path(results).resolve()
    work, site = results / ".site", results / "site"
    with locked(site):
        shutil.rmtree(work, ignore_errors=True)
        source = work / "source"
        folders = {DOCS: "", NOTEBOOKS / "images": "notebooks/images"}
        folders |= {ROOT / "benchmarks": "benchmarks", results / "tables": "_static/tables"}
        ignored = shutil.ignore_patterns("_build", "__pycache__")
        for folder, place in folders.items():
            if folder.exists():
                shutil.copytree(folder, source / place, ignore=ignored, dirs_exist_ok=True)
        shutil.copy(TEMPLATES / "page.js", source / "_static")
        share_plotly(source / "_static")
        pages = []
        for stored in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
            executed = results / "notebooks" / stored.name
            pages.append(Page(executed if executed.exists() else stored, source))
        front = render("index.md.j2", pages=pages)
        (source / "index.md").write_text(front, encoding="utf-8")
        # Standard error also has what TensorFlow logs when the API reference imports it.
        warnings = work / "warnings.txt"
        sphinx = [sys.executable, "-m", "sphinx", "-q", "-d", work / "doctrees", "-w", warnings]
        done = subprocess.run([*sphinx, source, work / "html"], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"no site of {results}: {done.stderr}")
        print(warnings.read_text(), end="", file=sys.stderr)
        shutil.rmtree(site, ignore_errors=True)
        os.replace(work / "html", site)
        shutil.rmtree(work)
    lead = '<meta http-equiv="refresh" content="0; url=site/index.html">\n'
    write_whole(results / "index.html", lead)
    return site / "index.html"


class Page:
    """
    A notebook as Sphinx reads it, written into the folder `source`, its pictures beside it.

    Attributes
    ----------
    title, name, conclusion : str
        Its first heading, its address without suffix, and what it concludes, a list.
    data : list of str
        Which shapes, profile and splits its tables and figures are of.
    figures, tables : dict of str -> str
        Name -> caption.
    live, pictures : dict of str -> str
        Name -> HTML of a figure, and the path of its picture.
    """

    def __init__(self, path, source):
        import nbformat

        self.name, self._static = f"notebooks/{path.stem}", source / "_static"
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.pop("widgets", None)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for cell in code:
            cell.outputs = _shown(cell.outputs)
        texts = [o.data["text/markdown"] for c in code for o in c.outputs if _is_text(o)]
        first = notebook.cells[0]
        self.title = first.source.partition("\n")[0].strip("# ") or path.stem
        self.conclusion = next((text for text in texts if text.startswith("- ")), "")
        self.data = sorted({found[1] for text in texts if (found := _DATA.search(text))})
        self.figures, self.tables, self.live, self.pictures = {}, {}, {}, {}
        for found in filter(None, map(_CAPTION.search, texts)):
            kind = self.tables if found["table"] else self.figures
            kind[found["name"]] = _DATA.sub("", found["caption"]).strip()
        for cell in code:
            tags = set(cell.metadata.get("tags", []))
            is_setup = tags & {"parameters", "injected-parameters"}
            cell.metadata.tags = ["remove-cell" if is_setup else "hide-input"]
            for output in cell.outputs:
                self._show(output, cell.id)
            anchor = nbformat.v4.new_markdown_cell(f'<a id="cell-{cell.id}"></a>')
            notebook.cells.insert(notebook.cells.index(cell), anchor)
        data = "<br>".join(self.data)
        first.source = re.sub(r"(\A# .*)", rf'\1\n\n<p class="data">{data}</p>', first.source)
        nbformat.write(notebook, source / f"{self.name}.ipynb")

    def _show(self, output, cell):
        """Turn an output into what the page shows, in place."""
        data = output.get("data", {})
        if PLOTLY in data or "image/png" in data:
            name = re.sub(r"\W+", "_", data.get("text/plain", "")) or f"figure_{len(self.live)}"
            output.data = {"text/html": self._figure(name, data, cell)}
        elif _is_text(output):
            output.data = {"text/markdown": self._text(data["text/markdown"])}

    def _figure(self, name, data, cell):
        """HTML of a figure, whose picture becomes a file, with a link to the cell that made it."""
        if "image/png" in data:
            picture = self._static / "figures" / f"{name}.png"
            picture.parent.mkdir(exist_ok=True)
            picture.write_bytes(b64decode(data["image/png"]))
            self.pictures[name] = f"_static/figures/{name}.png"
        figure = json.dumps(data[PLOTLY]) if PLOTLY in data else None
        about = {"caption": self.figures.get(name, ""), "picture": self.pictures.get(name)}
        link = f"{self.name}.html#cell-{cell}"
        self.live[name] = render("figure.html.j2", name=name, figure=figure, cell=link, **about)
        here = self.live[name].replace('src="_static', 'src="../_static')
        return here.replace(f'href="{self.name}.html', 'href="')

    def _text(self, text):
        """Markdown of an output: a table gets its caption, and data are named once a page."""
        text = _DATA.sub("" if len(self.data) == 1 else r"*\1*", text)
        found = _CAPTION.search(text)
        if not found or not found["table"]:
            # A heading in an output would be one of the page.
            return re.sub(r"^#+ (.*)$", r"**\1**", text, flags=re.MULTILINE)
        name, caption = found["name"], found["caption"].strip()
        if (self._static / "tables" / f"{name}.csv").exists():
            caption += f' <a href="../_static/tables/{name}.csv">CSV</a>'
        return f":::{{table}} **{name}.** {caption}\n:name: {name}\n\n{found['table']}:::\n"


def _is_text(output):
    return "text/markdown" in output.get("data", {})


def store(executed, stored):
    """
    Copy the outputs of an executed notebook into the ``.ipynb`` that it was executed from.

    What papermill added (a cell, metadata, times), progress bars and live widgets are left out.

    Raises
    ------
    ValueError
        If the notebooks differ in a cell's source, a figure has no static picture, or the result is
        above 4 MB. `stored` is left as it was.
    """
    import nbformat

    source = nbformat.read(stored, as_version=4)
    run = nbformat.read(executed, as_version=4)
    run.cells = [c for c in run.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    sources = [[(cell.cell_type, cell.source) for cell in each.cells] for each in (run, source)]
    if sources[0] != sources[1]:
        raise ValueError(
            f"{executed} was not executed from {stored} as it is now: execute it again"
        )
    for cell, ran in zip(source.cells, run.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = ran.execution_count
            cell.outputs = _shown(ran.outputs)
            shown = [output.get("data", {}) for output in cell.outputs]
            if any(PLOTLY in data and "image/png" not in data for data in shown):
                raise ValueError(
                    f"{executed}: a figure of {cell.source[:60]!r} has no static picture; install "
                    "Chrome or Chromium and execute it again, in a profile with `pictures: true`"
                )
    text = (nbformat.writes(source) + "\n").encode()
    if len(text) > MAX_STORED_BYTES:
        raise ValueError(
            f"{stored} would have {len(text) / 1e6:.1f} MB with its outputs; at most "
            f"{MAX_STORED_BYTES / 1e6:.0f} MB are stored: let its figures show less data"
        )
    write_whole(stored, text)


def update_readme(readme, results):
    """
    Bring what the README shows of a run up to date: included texts, and pictures of figures.

    Texts are those of `include`; ``notebooks/images/NAME.png`` is the picture of the figure NAME on
    the run's site. Raises FileNotFoundError if the run lacks a text or a picture, naming it.
    """
    readme = Path(readme)
    for image in re.findall(r"\]\((notebooks/images/\S+\.png)\)", readme.read_text("utf-8")):
        picture = Path(results) / "site" / "_static" / "figures" / Path(image).name
        if not picture.exists():
            raise FileNotFoundError(
                f"{readme} shows {image}, but there is no {picture}: write the site where there is "
                "Chrome or Chromium to draw pictures"
            )
        write_whole(readme.parent / image, picture.read_bytes())
    include(readme, results)


def include(readme, folder, word="include"):
    """
    Put texts between the ``<!-- include PATH -->`` and ``<!-- end -->`` of a Markdown file.

    PATH is relative to `folder`; a number after it is how many lines of the text to take. Another
    `word` than "include" stands for another folder. Nothing is changed if a text is missing
    (FileNotFoundError).
    """
    readme, folder = Path(readme), Path(folder)

    def included(match):
        lines = (folder / match["path"]).read_text(encoding="utf-8").strip().splitlines()
        text = "\n".join(lines[: int(match["lines"] or len(lines))])
        return f"{match['start']}\n{text}\n{match['end']}"

    pattern = (
        rf"(?P<start><!-- {word} (?P<path>\S+)(?: (?P<lines>\d+))? -->).*?(?P<end><!-- end -->)"
    )
    text = re.sub(pattern, included, readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    write_whole(readme, text)


def store_weights(run, stored):
    """
    Copy the models to take away, with their cards, and write their sha256 to a registry.

    They go from the folder of a run to the one from which `aaelib.models.load` reads them by name.
    Not those whose card says "academic use only": they learnt from ModelNet.
    """
    for file in sorted(run.glob("[!.]*.npz")):
        card = file.with_suffix(".md")
        if card.exists() and "academic use only" in card.read_text(encoding="utf-8"):
            continue
        for each in filter(Path.exists, (file, card)):
            write_whole(stored / each.name, each.read_bytes())
    sums = [f"{f.name} {pooch.file_hash(str(f))}\n" for f in sorted(stored.glob("[!.]*.npz"))]
    write_whole(stored / "registry.txt", "".join(sums))


def _shown(outputs):
    """
    Outputs for readers: without progress bars, and without what Python and TensorFlow log.

    A widget, which is dead without its kernel, becomes a picture or a note.
    """
    kept = []
    for output in outputs:
        data = output.get("data", {})
        if output.get("name") == "stderr" or _PROGRESS.search(data.get("text/plain", "")):
            continue
        if WIDGET in data:
            rest = {kind: each for kind, each in data.items() if kind.startswith("image/")}
            output.data = rest or {"text/plain": "An interactive widget: run this cell to use it."}
        kept.append(output)
    return kept
