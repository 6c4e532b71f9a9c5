"""The package works wherever it is installed, with all that it needs."""

import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import copy_checkout

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="where an environment has its python is POSIX's"),
]


class Environment:
    """A checkout, and an environment that has all packages but aaelib."""

    def __init__(self, root):
        self.checkout, self.elsewhere = copy_checkout(root / "checkout"), root / "elsewhere"
        self.elsewhere.mkdir()
        venv.create(root / "venv", with_pip=True)
        self.bin = root / "venv" / "bin"
        packages = next(self.bin.parent.glob("lib/*/site-packages"))
        for old in packages.glob("setuptools*"):  # of Python 3.11's own, too old
            shutil.rmtree(old)
        for ours in Path(sysconfig.get_path("purelib")).iterdir():
            if "aaelib" not in ours.name and not (packages / ours.name).exists():
                (packages / ours.name).symlink_to(ours)

    def run(self, *command, cwd=None):
        ours = ("PYTHON", "AAELIB", "MAKE")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        environment["PATH"] = f"{self.bin}{os.pathsep}{environment['PATH']}"
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        said = {"capture_output": True, "text": True}
        done = subprocess.run(command, cwd=cwd or self.elsewhere, env=environment, **said)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment in which the checkout was installed, and then removed."""
    made = Environment(tmp_path_factory.mktemp("installed"))
    install = ["python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    made.run(*install, ".", cwd=made.checkout)
    shutil.rmtree(made.checkout)
    return made


USE = """
import aaelib
from aaelib.study import Study
assert "site-packages" in aaelib.__file__, aaelib.__file__
print(aaelib.models.load("sockets").sample(2, seed=0).shape)
print(aaelib.models.load("pretrained").recipe.name)
print(aaelib.shapes.load_sockets(limit=2).source)
print(Study("smoke", "mine").folder)
"""


def test_an_installed_package_has_weights_sockets_and_profiles(installed):
    printed = installed.run("python", "-c", USE).splitlines()
    assert printed[0] == "(2, 2048, 3)"
    assert printed[1] == "compact"
    assert printed[2].startswith("bundled shape model")
    assert printed[3] == str(installed.elsewhere / "results" / "smoke")


def test_an_installed_package_has_its_registries_and_its_page(installed):
    code = "from aaelib.shapes.places import DATA, NOTEBOOKS; print(DATA, NOTEBOOKS)"
    data, notebooks = map(Path, installed.run("python", "-c", code).split())
    for place in ("data", "notebooks"):
        ours = subprocess.run(["git", "ls-files", place], cwd=ROOT, capture_output=True, text=True)
        for file in map(Path, ours.stdout.split()):
            if file.suffix not in (".ipynb", ".png"):
                there = (data if place == "data" else notebooks) / file.relative_to(place)
                assert there.read_bytes() == (ROOT / file).read_bytes(), file


def test_commands_and_notebooks_of_an_installed_package_work(installed):
    installed.run("aaelib", "generate", "sockets", "2", "new")
    assert len(list((installed.elsewhere / "new").rglob("*.npy"))) == 2
    installed.run("aaelib", "notebook", "02_modelnet_pretraining", "--profile", "smoke")
    results = installed.elsewhere / "results" / "smoke"
    assert (results / "notebooks" / "02_modelnet_pretraining.ipynb").exists()
    assert (results / "tables" / "T3_pretraining.csv").exists()


IMPORTED = "import aaelib; print(aaelib.__file__)"


def test_binder_finds_aaelib_in_the_folder_of_the_notebooks(environment):
    environment.run("./postBuild", cwd=environment.checkout)
    found = environment.run("python", "-c", IMPORTED, cwd=environment.checkout / "notebooks")
    assert found.strip() == str(environment.checkout / "aaelib" / "__init__.py")


@pytest.mark.parametrize("uv", [True, False])
def test_make_adds_aaelib_to_an_environment_that_lacks_it(environment, uv):
    if uv and not shutil.which("uv"):
        pytest.skip("no uv on PATH")
    make = ["make", "env", f"VENV={environment.bin.parent}", *([] if uv else ["UV="])]
    environment.run(*make, cwd=environment.checkout)
    assert environment.run("python", "-c", IMPORTED).startswith(str(environment.checkout))
    config = environment.bin.parent / "etc/jupyter/jupyter_server_config.json"
    assert "aaelib.apps.lab.without_kernel" in config.read_text()
