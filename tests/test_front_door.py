"""The pinned environment, make, the README's commands, the notebooks, the package, its layers."""

import ast
import os
import pkgutil
import re
import subprocess
import sys
import time
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import jupytext
import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_cli import run as run_command

from aaelib.apps import cli
from aaelib.study import site

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
FOLDERS_WITH_TEXT = ("aaelib", "benchmarks", "data/sockets", "docs", "notebooks", "tests", ".ci")
# Spelt so that this file does not find itself.
MACHINE_PATHS = [f"/{folder}/" for folder in ("work", "root")] + ["../" + "shared"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def code_of(name):
    """Fenced blocks and inline code of a Markdown file, a snippet each."""
    blocks = re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", read(name), re.DOTALL)
    return [block or inline for block, inline in blocks]


def locked():
    """Name of each package in requirements.lock -> the lines of its pin."""
    pins = re.split(r"\n(?=[a-zA-Z0-9])", re.sub(r"(?m)^#.*\n", "", read("requirements.lock")))
    return {canonicalize_name(pin.split("==")[0]): pin for pin in pins}


def make(*arguments, cwd=ROOT, **variables):
    """Run make without the settings of the make that may run these tests."""
    ours = ("MAKE", "MFLAGS", "AAELIB_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return subprocess.run(
        ["make", *arguments], cwd=cwd, env=environment | variables, capture_output=True, text=True
    )


# The pinned environment

PROJECT = tomllib.loads(read("pyproject.toml"))["project"]


def test_every_dependency_is_pinned_with_hashes_at_a_version_it_accepts():
    pins = locked()
    for name, pin in pins.items():
        first, *hashes = pin.splitlines()
        assert re.match(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+ ", first), name
        assert hashes, name
        assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", line) for line in hashes), name
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        pin = pins[canonicalize_name(requirement.name)]
        version = re.search(r"==([\w.!+]+)", pin).group(1)
        assert requirement.specifier.contains(version, prereleases=True), line


def test_conda_installs_the_same_lock_and_the_citation_is_of_this_version():
    dependencies = yaml.safe_load(read("environment.yml"))["dependencies"]
    assert {"pip": ["-r requirements.lock"]} in dependencies
    assert "python=3.11" in dependencies
    citation = yaml.safe_load(read("CITATION.cff"))
    assert [citation[key] == PROJECT[key] for key in ("version", "license")] == [True, True]
    assert citation["preferred-citation"]["doi"] == "10.1016/j.displa.2022.102190"


# Make


def test_make_alone_lists_every_target():
    listed = set(re.findall(r"(?m)^make ([a-z-]+) ", make().stdout))
    phony = re.search(r"(?m)^\.PHONY: (.*)$", read("Makefile")).group(1).split()
    assert listed == set(phony) - {"FORCE"}
    for target in listed:
        assert make("-n", target, "PYTHON=python").returncode == 0, target


STAND_IN = """#!/bin/sh
# Stands in for python: notes when a notebook begins and ends, and executes it once.
case $3 in
notebook)
    echo "$4 begins with $AAELIB_DATA" >> log
    mkdir -p results/$6/notebooks
    sleep 0.3
    test "$4" != "$FAIL" || exit 1
    test -e results/$6/notebooks/$4.ipynb || touch results/$6/notebooks/$4.ipynb
    echo "$4 ends" >> log;;
site) echo site >> log; touch results/$5/index.html;;
esac
"""


class Study:
    """A folder with our Makefile, three notebooks and a stand-in for python."""

    def __init__(self, root):
        self.root = root
        for folder in ("notebooks/profiles", "aaelib/study", "venv/bin"):
            (root / folder).mkdir(parents=True)
        for name in ("01_a.py", "02_b.py", "profiles/default.yaml"):
            (root / "notebooks" / name).touch()
        (root / "aaelib/study/site.py").touch()
        (root / "notebooks/03_c.py").write_text("# ---\n# jupyter:\n#   reads: 01_a 02_b\n")
        (root / "Makefile").write_text(read("Makefile"))
        (root / "venv/bin/python").write_text(STAND_IN)
        (root / "venv/bin/python").chmod(0o755)

    def reproduce(self, *arguments, **variables):
        """What make says, and the lines of the log."""
        (self.root / "log").write_text("")
        done = make("reproduce", "VENV=venv", *arguments, cwd=self.root, **variables)
        return done, (self.root / "log").read_text().splitlines()


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_a_notebook_with_a_profile_of_its_own_runs_there_alone_with_what_it_reads(study):
    text = "# ---\n# jupyter:\n#   profile: own\n#   reads: 01_a\n"
    (study.root / "notebooks/04_d.py").write_text(text)
    assert not any(line.startswith("04_d") for line in study.reproduce()[1])
    _, log = study.reproduce("PROFILE=own")
    assert [line[:6] for line in log] == ["01_a b", "01_a e", "04_d b", "04_d e", "site"]


def test_notebooks_wait_for_those_they_read_and_the_site_is_written_when_one_was_executed(study):
    done, log = study.reproduce(FAIL="02_b")
    assert done.returncode != 0
    assert not any(line.startswith("03_c") for line in log)
    done, log = study.reproduce()
    assert done.returncode == 0, done.stderr
    assert sorted(line[:11] for line in log[:2]) == ["01_a begins", "02_b begins"]
    assert log[4:] == ["03_c begins with ", "03_c ends", "site"]
    assert study.reproduce()[1][-1] == "03_c ends"
    time.sleep(0.05)  # longer than a tick of the clock that files are stamped with
    (study.root / "results/default/notebooks/02_b.ipynb").unlink()
    assert study.reproduce()[1][-1] == "site"


@pytest.mark.parametrize("folder", ["elsewhere", "my sockets"])
def test_a_folder_may_be_named_from_here(study, folder):
    (study.root / folder).mkdir()
    for arguments, variables in (((f"AAELIB_DATA={folder}",), {}), ((), {"AAELIB_DATA": folder})):
        log = study.reproduce(*arguments, **variables)[1]
        assert f"01_a begins with {study.root / folder}" in log


@pytest.mark.parametrize(
    ("python", "uv", "message"),
    [
        ("false", "", "Python 3.11, 3.12 or 3.13 is needed, but PYTHON is 'false'"),
        ("no-such-python", "uv", "is needed, but PYTHON is 'no-such-python'"),
        ("", "", "none is on PATH: install one, or uv"),
    ],
)
def test_what_is_missing_for_an_environment_is_named(study, python, uv, message):
    (study.root / "requirements.lock").touch()
    done = make("env", f"PYTHON={python}", f"UV={uv}", cwd=study.root)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (study.root / ".venv").exists()


# The notebooks


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_has_one_cell_of_parameters(script):
    tags = [cell.metadata.get("tags", []) for cell in jupytext.read(script).cells]
    assert sum("parameters" in each for each in tags) == 1


# The README, and the pages that it leads to


PAGES = ["README.md", *sorted(f"docs/howto/{p.name}" for p in (ROOT / "docs/howto").iterdir())]
CODE = [code for page in PAGES for code in code_of(page)]


def test_the_make_targets_that_are_named_exist():
    targets = {target for code in CODE for target in re.findall(r"\bmake ([a-z-]+)", code)}
    assert {"reproduce", "test"} <= targets
    assert targets - set(re.findall(r"(?m)^([a-z-]+):", read("Makefile"))) == set()


def test_the_commands_and_options_that_are_named_exist():
    commands = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in typer.main.get_command(cli.app).commands.items()
    }
    named = [call for code in CODE for call in re.findall(r"(?m)^aaelib (\w.*)", code)]
    assert len(named) > 6
    for call in named:
        name, *arguments = call.split("#")[0].split()
        options = {argument for argument in arguments if argument.startswith("--")}
        assert options <= commands[name], call
    # The last column of the table that translates the original's options.
    rows = read("docs/howto/original.md").splitlines()
    cells = [row.split("|")[-2] for row in rows if row.endswith("|")]
    options = {option for cell in cells for option in re.findall(r"`(--[a-z-]+)", cell)}
    assert "--weights-from" in options
    assert options <= set.union(*commands.values())


@pytest.mark.parametrize("name", [*PAGES, "data/README.md"])
def test_names_of_aaelib_that_are_named_exist(name):
    for code in code_of(name):
        for each in re.findall(r"\baaelib(?:\.[a-zA-Z]\w*)+", code):
            pkgutil.resolve_name(each)


@pytest.mark.parametrize("name", [*PAGES, "data/weights/pretrained-paper.md"])
def test_what_the_python_of_a_page_imports_and_names_and_what_it_links_to_is_there(name):
    for block in re.findall(r"```python\n(.*?)```", read(name), re.DOTALL):
        nodes, imported = list(ast.walk(ast.parse(block))), {}
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), imported)
        for node in nodes:
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) in imported:
                getattr(imported[node.value.id], node.attr)
    links = re.findall(r"\]\((?![a-z]+:)([^)#\s]+)", read(name))
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []


# The package


def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_what_is_imported_is_asked_for():
    asked = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    imported = set()
    for file in (ROOT / "aaelib").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    brought_by = packages_distributions()
    for name in imported - sys.stdlib_module_names - {"aaelib"}:
        assert asked & {canonicalize_name(each) for each in brought_by[name]}, name


def test_importing_is_cheap():
    heavy = "{'tensorflow', 'sphinx', 'papermill', 'plotly'}"
    for module in ("aaelib", "aaelib.apps.cli", "aaelib.study.site", "aaelib.study.verification"):
        check = f"import sys, {module}; sys.exit(bool({heavy} & set(sys.modules)))"
        assert python(check).returncode == 0, module


LINT_IMPORTS = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"


def test_imports_point_one_way():
    done = python(LINT_IMPORTS)
    assert done.returncode == 0, done.stdout


def test_no_file_names_a_path_of_one_machine():
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in FOLDERS_WITH_TEXT:
        files += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = [
        (path.relative_to(ROOT).as_posix(), machine_path)
        for path in files
        if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
        for machine_path in MACHINE_PATHS
        if machine_path in path.read_text(encoding="utf-8", errors="ignore")
    ]
    assert named == []


# The command line


@pytest.mark.parametrize(
    ("profile", "ran", "stored"),
    [
        ("default", ["01_a", "02_b.failed", "99_gone"], ["01_a", "README", "default"]),
        ("own", ["01_a", "04_d"], ["04_d", "own"]),
    ],
)
def test_finished_notebooks_of_a_profile_are_stored(study, monkeypatch, profile, ran, stored):
    notebooks, run = study.root / "notebooks", study.root / "results" / profile / "notebooks"
    (notebooks / "profiles/own.yaml").touch()
    (notebooks / "04_d.py").write_text("# jupyter:\n#   profile: own\n")
    run.mkdir(parents=True)
    for name in ran:
        (run / f"{name}.ipynb").touch()
    found = []
    monkeypatch.setattr(cli, "NOTEBOOKS", notebooks)
    monkeypatch.setattr(cli, "RESULTS", study.root / "results")
    monkeypatch.setattr(site, "store", lambda executed, notebook: found.append(notebook.stem))
    monkeypatch.setattr(site, "update_readme", lambda *_: found.append("README"))
    monkeypatch.setattr(cli, "reference", found.append)
    assert run_command("store", "--profile", profile)[0] == 0
    assert found == stored
