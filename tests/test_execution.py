"""Notebooks are executed when what they are made from has changed, and only then."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import jupytext
import nbformat
import pytest
from ipykernel.kernelspec import get_kernel_dict
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from nbformat.v4 import new_code_cell, new_notebook, new_output
from test_report import PARAMETERS, read, text_of, write

from aaelib.models import code, runs
from aaelib.shapes import places
from aaelib.study import execution

ROOT = Path(__file__).resolve().parents[1]
NAMES = [script.stem for script in sorted((ROOT / "notebooks").glob("[0-9]*.py"))]
ALL = {name[:2] for name in NAMES}

# What counts ------------------------------------------------------------------------------------

SCRIPT = """# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: reads,-kernelspec,-jupytext.text_representation
{header}# ---

# %% [markdown]
# A title

# %%
{code}
"""


class Study:
    """Three notebooks, of which the second reads what the first writes, and those that ran."""

    def __init__(self, root):
        self.root, self.ran = root, []
        self.notebook("01_first", "from aaelib.shapes import load_sockets")
        self.notebook("02_second", "from aaelib.apps import explorer", "#   reads: 01_first\n")
        self.notebook("03_third", "import os; os.environ.get('AAELIB_SHAPES')")
        for name in ("smoke", "default"):
            self.write(f"notebooks/profiles/{name}.yaml", "seed: 0")
        self.write("requirements.lock", "numpy==2")
        self.write("data/sockets/TT.npz", "bundled")
        self.write("elsewhere/SocketSSM/TT/a.npy", "a cloud")

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def notebook(self, name, code, header=""):
        self.write(f"notebooks/{name}.py", SCRIPT.format(header=header, code=code))

    def edit(self, name, old, new):
        self.write(name, (self.root / name).read_text().replace(old, new))

    def execute(self, script, executed, profile):
        executed.write_text(profile)
        self.ran.append(script.stem)

    def reproduce(self, profile="default"):
        """Run all notebooks; return the numbers of those that were executed."""
        self.ran.clear()
        for name in ("01_first", "02_second", "03_third"):
            execution.run(name, profile, lambda line: None)
        return [name[:2] for name in self.ran]


@pytest.fixture
def study(tmp_path, monkeypatch):
    made = Study(tmp_path)
    for name in ("NOTEBOOKS", "RESULTS", "DATA"):
        monkeypatch.setattr(execution, name, tmp_path / name.lower())
    monkeypatch.setattr(execution, "BUNDLE", tmp_path)
    monkeypatch.setattr(places, "DOWNLOADS", tmp_path / "data")
    monkeypatch.setattr(execution, "execute", made.execute)
    monkeypatch.delenv("AAELIB_DATA", raising=False)
    monkeypatch.delenv("AAELIB_SHAPES", raising=False)
    return made


@pytest.mark.parametrize(
    ("edited", "old", "new", "again"),
    [
        # A title that readers see changes no result of the notebooks that read this one's.
        ("notebooks/01_first.py", "A title", "Another", ["01"]),
        ("notebooks/01_first.py", "load_sockets", "load_sockets as load", ["01", "02"]),
        ("notebooks/03_third.py", "import os", "import os, sys", ["03"]),
        ("notebooks/profiles/default.yaml", "0", "1", ["01", "02", "03"]),
        ("notebooks/profiles/default.yaml", "0", "0  # of the data", []),
        ("notebooks/profiles/smoke.yaml", "0", "1", []),
        ("requirements.lock", "2", "3", ["01", "02", "03"]),
        ("data/sockets/TT.npz", "bundled", "changed", ["01", "02"]),
    ],
)
def test_an_edit_repeats_what_depends_on_it(study, edited, old, new, again):
    assert study.reproduce() == ["01", "02", "03"]
    study.edit(edited, old, new)
    assert study.reproduce() == again
    # Touched files do not count.
    for file in (*ROOT.glob("aaelib/study/*.py"), *study.root.rglob("*.*")):
        os.utime(file)
    assert study.reproduce() == []


def test_other_shapes_repeat_what_reads_them(study, monkeypatch):
    study.reproduce()
    monkeypatch.setenv("AAELIB_DATA", str(study.root / "elsewhere"))
    assert study.reproduce() == ["01", "02"]
    # Of the same size and under the same name.
    study.edit("elsewhere/SocketSSM/TT/a.npy", "a cloud", "A cloud")
    assert study.reproduce() == ["01", "02"]
    monkeypatch.setenv("AAELIB_SHAPES", str(study.root / "elsewhere"))
    assert study.reproduce() == ["03"]
    monkeypatch.delenv("AAELIB_DATA")
    assert study.reproduce() == ["01", "02"]
    study.write("data/SocketSSM/TT/b.npy", "downloaded")
    assert study.reproduce() == ["01", "02"]
    # The same shapes in another folder, whose name results show; one of them is linked.
    study.write("linked/b.obj", "v 0 0 0\n" * 50_000 + "v 1 2 3\n")
    shutil.copytree(study.root / "elsewhere", study.root / "copies" / "elsewhere")
    monkeypatch.setenv("AAELIB_SHAPES", str(study.root / "copies" / "elsewhere"))
    assert study.reproduce() == ["03"]
    os.symlink(study.root / "linked", study.root / "copies" / "elsewhere" / "bowl")
    assert study.reproduce() == ["03"]
    # A vertex late in a large mesh counts, though size and time are as they were.
    file = study.root / "linked/b.obj"
    before = file.stat()
    study.edit("linked/b.obj", "v 1 2 3", "v 1 2 9")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert study.reproduce() == ["03"]


@pytest.mark.parametrize("variable", ["AAELIB_DATA", "AAELIB_SHAPES"])
def test_a_folder_that_is_not_there_is_named(study, monkeypatch, variable):
    monkeypatch.setenv(variable, "nowhere")
    with pytest.raises(FileNotFoundError, match=f"{variable} is 'nowhere', which is no folder"):
        study.reproduce()


def test_a_run_records_its_commit(study):
    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=b", *arguments]
        return subprocess.run(command, cwd=study.root, check=True, capture_output=True, text=True)

    assert execution.commit().startswith("aaelib ")
    study.write(".gitignore", "results/")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message=all")
    commit = git("rev-parse", "HEAD").stdout.strip()
    assert execution.commit() == commit
    study.edit("notebooks/01_first.py", "A title", "A title again")
    study.reproduce()
    record = json.loads((study.root / "results/default/notebooks/01_first.json").read_text())
    assert record["commit"] == f"{commit}-dirty"


def test_a_folder_that_cannot_be_written_is_named(study, monkeypatch):
    refused = mock.Mock(side_effect=OSError(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OSError, match=r"results go to .*results/default/notebooks, which can't be"):
        study.reproduce()


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Digests of the code of each notebook and of training, after an edit of a module."""
    shutil.copytree(ROOT / "aaelib", tmp_path / "aaelib")
    monkeypatch.setattr(code, "_PACKAGE", tmp_path / "aaelib")

    def digests(module, old="", new=""):
        file = tmp_path / "aaelib" / module
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
        scripts = [ROOT / "notebooks" / f"{name}.py" for name in NAMES]
        used = {s.stem[:2]: code.digest_of(*execution._imported(s.read_text())) for s in scripts}
        return used | {"training": code.digest_of(*runs._CODE)}

    return digests


@pytest.mark.parametrize(
    ("module", "old", "new", "again"),
    [
        ("apps/limbs.py", "", "\nx = 1\n", {"05", "07", "08"}),
        ("apps/cli.py", "", "\nx = 1\n", set()),
        ("study/figures.py", "", "\nx = 1\n", ALL),
        ("study/tables.py", "", "\nx = 1\n", ALL - {"02"}),  # cards have tables
        ("study/execution.py", "", "\nx = 1\n", set()),
        ("models/training.py", "", "\nx = 1\n", ALL | {"training"}),
        ("models/training.py", "", "\n# A comment.\n", set()),
        ("models/training.py", '"""', '"""More. ', set()),
        # Texts of a card and of an evaluation's page.
        ("study/templates/card_sockets.md.j2", "", "\nMore.\n", {"03", "04", "05", "06", "08"}),
        ("study/templates/evaluation.html.j2", "", "\nMore.\n", {"07"}),
    ],
)
def test_a_change_of_code_repeats_the_notebooks_that_use_it(edited, module, old, new, again):
    before = edited(module)
    after = edited(module, old, new)
    assert {name for name in before if before[name] != after[name]} == again


# Pairs ------------------------------------------------------------------------------------------


class Pair:
    """A script and its .ipynb, which has an output, and agrees with it."""

    def __init__(self, root):
        self.script, self.stored = root / "01_a.py", root / "01_a.ipynb"
        self.script.write_text(SCRIPT.format(header="#   reads: 00_z\n", code="a = 1\na"))
        execution.create(self.script)
        notebook = read(self.stored)
        notebook.cells[1].outputs = [new_output("execute_result", {"text/plain": "1"})]
        nbformat.write(notebook, self.stored)

    def edit(self, file, old="a = 1", new="a = 2"):
        file.write_text(file.read_text().replace(old, new))

    def codes(self):
        return [jupytext.read(f).cells[1].source for f in (self.script, self.stored)]


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


@pytest.mark.parametrize("edited", ["script", "stored"])
@pytest.mark.parametrize("newer", ["script", "stored"])
def test_the_edited_one_of_a_pair_counts(pair, edited, newer):
    header = pair.script.read_text().split("# %%")[0]
    pair.edit(getattr(pair, edited))
    os.utime(getattr(pair, newer), (2e9, 2e9))
    execution.synchronize(pair.script)
    assert pair.codes() == ["a = 2\na"] * 2
    assert pair.script.read_text().split("# %%")[0] == header
    assert read(pair.stored).metadata.kernelspec.name == "python3"
    assert read(pair.stored).cells[1].outputs[0].data == {"text/plain": "1"}
    before = [pair.script.read_bytes(), pair.stored.read_bytes()]
    execution.synchronize(pair.script)
    assert [pair.script.read_bytes(), pair.stored.read_bytes()] == before


def test_a_pair_of_which_both_were_edited_is_refused(pair):
    pair.edit(pair.script)
    pair.edit(pair.stored, "a = 1", "a = 3")
    with pytest.raises(ValueError, match=r"01_a\.py and 01_a\.ipynb were both edited: undo"):
        execution.synchronize(pair.script)
    assert pair.codes() == ["a = 2\na", "a = 3\na"]
    pair.edit(pair.stored, "a = 3", "a = 2")
    execution.synchronize(pair.script)


def test_an_edited_notebook_is_what_runs(study):
    study.reproduce()
    execution.create(study.root / "notebooks/03_third.py")
    study.edit("notebooks/03_third.ipynb", "import os;", "import os, sys;")
    assert study.reproduce() == ["03"]
    assert "import os, sys;" in (study.root / "notebooks/03_third.py").read_text()


# JupyterLab -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab's manager of files in a copy of the checkout, configured as `make env` does."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", root)
    config = ROOT / "notebooks/jupyter_server_config.json"
    made_by = build_sync_jupytext_contents_manager_class(LargeFileManager)
    settings = json.loads(config.read_text())["ContentsManager"]
    return made_by(root_dir=str(root), **settings)


@pytest.mark.parametrize("name", NAMES)
def test_a_save_of_an_unchanged_notebook_changes_no_file(lab, name):
    notebook = lab.get(f"notebooks/{name}.ipynb")
    # As JupyterLab does once a kernel runs.
    notebook["content"]["metadata"]["language_info"] = {"name": "python", "version": "3.11.99"}
    kernel = get_kernel_dict()
    notebook["content"]["metadata"]["kernelspec"] = {"name": "python3"} | {
        key: kernel[key] for key in ("display_name", "language")
    }
    notebook["content"]["metadata"]["widgets"] = {"state": {}}
    lab.save(notebook, f"notebooks/{name}.ipynb")
    for suffix in (".py", ".ipynb"):
        saved = Path(lab.root_dir, "notebooks", name + suffix).read_text(encoding="utf-8")
        assert saved == (ROOT / "notebooks" / (name + suffix)).read_text(encoding="utf-8")


def test_a_new_notebook_gets_no_twin_and_is_saved_as_it_is(lab):
    content = new_notebook(
        cells=[new_code_cell("1")], metadata={"language_info": {"name": "python"}}
    )
    lab.save({"type": "notebook", "format": "json", "content": content}, "notebooks/mine.ipynb")
    assert not Path(lab.root_dir, "notebooks/mine.py").exists()
    assert read(Path(lab.root_dir, "notebooks/mine.ipynb")).metadata.language_info.name == "python"


# Executing ---------------------------------------------------------------------------------------


def test_who_runs_a_notebook_sees_how_long_it_takes_and_its_bars(tmp_path, capfd):
    code = (
        "import sys\nfrom tqdm.auto import tqdm\nprint('about 5 min', file=sys.stderr)\n"
        "for _ in tqdm(range(3), desc='runs'): pass"
    )
    notebook = write(tmp_path / "01.ipynb", new_code_cell(code))
    execution.execute(notebook, tmp_path / "run" / "01.ipynb", "smoke")
    shown = capfd.readouterr().err
    assert "about 5 min" in shown
    assert "runs: 100%" in shown
    cells = read(tmp_path / "run" / "01.ipynb").cells
    outputs = [each for cell in cells for each in cell.get("outputs", [])]
    assert not any("runs" in str(each) for each in outputs)


def test_a_script_runs_in_the_root_under_its_profile_by_this_python(tmp_path, monkeypatch):
    # Whatever else is called python3.
    spec = {"argv": ["false"], "display_name": "Another", "language": "python"}
    folder = tmp_path / "jupyter/kernels/python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    script, output = tmp_path / "01.py", tmp_path / "run" / "01.ipynb"
    # As TensorFlow logs.
    code = "import os, sys\nos.write(2, b'I0000')\nprint(profile, os.getcwd(), sys.executable)"
    script.write_text(f'# %% tags=["parameters"]\n{PARAMETERS}\n\n# %%\n{code}\n')
    execution.execute(script, output, "smoke")
    assert text_of(read(output)).split() == ["smoke", str(execution.ROOT), sys.executable]
    shown = [each for cell in read(output).cells for each in cell.get("outputs", [])]
    assert [each.name for each in shown] == ["stdout"]
    assert os.listdir(output.parent) == ["01.ipynb"]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[][7]", "IndexError: list index out of range"),
        ("import os; os._exit(1)", "Kernel died"),
    ],
)
def test_a_failed_run_keeps_the_good_one_and_a_good_one_clears_it(tmp_path, cell, message):
    output = tmp_path / "run" / "01.ipynb"
    failed = output.with_name("01.failed.ipynb")
    good = write(tmp_path / "good.ipynb", new_code_cell("print('good')"))
    bad = write(tmp_path / "bad.ipynb", new_code_cell("print(1)"), new_code_cell(cell))
    with pytest.raises(RuntimeError, match=message):
        execution.execute(bad, output, "smoke")
    assert os.listdir(output.parent) == ["01.failed.ipynb"]
    assert text_of(read(failed)) == "1\n"
    execution.execute(good, output, "smoke")
    assert not failed.exists()
    with pytest.raises(RuntimeError, match=message):
        execution.execute(bad, output, "smoke")
    assert text_of(read(output)) == "good\n"
