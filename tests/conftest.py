"""Folders of small shapes, and tiny models of them that are trained once for all tests."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from analytic import CAPSULE_MODES, CAPSULES, sockets

from aaelib.models import autoencoder, exported, files, in_numpy, recipes, transfer
from aaelib.shapes.shape_model import ShapeModel

TINY = {
    "n_points": 128,
    "code_size": 4,
    "encoder": (8,),
    "decoder": (8,),
    "discriminator": (8,),
    "encoder_points": None,
    "refinement_steps": 2,
    "finetuning_steps": 2,
}
BRIEF = {"epochs": 2, "steps_per_epoch": 2, "batch_size": 4, "seed": 0}
SHARES = (0.5, 0.2, 0.3)
N_POINTS, SCALE, PRIOR_STD = 2048, 150.0, 0.2  # of `capsules`


def copy_checkout(root):
    """Copy the checkout without git, an environment, results and downloads."""
    left = (
        ".git",
        ".venv",
        "results",
        "SocketSSM",
        "ModelNet*",
        "*.zip",
        "*.egg-info",
        "__pycache__",
    )
    here = Path(__file__).resolve().parents[1]
    return Path(shutil.copytree(here, root, ignore=shutil.ignore_patterns(*left)))


def zipped(members):
    """A zip archive of these members, as bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def coordinates(trace):
    """Points (n, 3) of a trace of Plotly."""
    return np.column_stack([trace.x, trace.y, trace.z])


def write_clouds(folder, clouds):
    """Write clouds by their names; return the folder."""
    for name, points in clouds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", points.astype(np.float32))
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A data folder with the bundled default and nothing downloaded."""
    from aaelib.shapes import downloads, places, sources

    bundled, folder = sources.DATA, tmp_path / "data"
    shutil.copytree(bundled / "sockets", folder / "sockets")
    shutil.copy(bundled / "SocketSSM-registry.txt", folder)
    monkeypatch.setattr(sources, "DATA", folder)
    for module in (places, downloads):
        monkeypatch.setattr(module, "DOWNLOADS", folder)
    monkeypatch.delenv("AAELIB_DATA", raising=False)
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of pages."""
    from benchmarks.page import chromium

    with chromium() as launched:
        yield launched


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A run of `test_training.train` that nothing happened to."""
    from test_training import train

    return train(tmp_path_factory.mktemp("whole") / "run.keras")


@pytest.fixture
def fits(monkeypatch):
    """The first epoch of each `fit` from now on, a list that grows."""
    from aaelib.models.autoencoder import AdversarialAutoencoder

    first_epochs, fit = [], AdversarialAutoencoder.fit

    def noted(*args, initial_epoch=0, **kwargs):
        first_epochs.append(initial_epoch)
        return fit(*args, initial_epoch=initial_epoch, **kwargs)

    monkeypatch.setattr(AdversarialAutoencoder, "fit", noted)
    return first_epochs


@pytest.fixture(scope="session")
def eggs(tmp_path_factory):
    """A folder of balls that are stretched at random, eight in each of two classes."""
    rng = np.random.default_rng(0)
    names = [f"{kind}/{kind}_{i}" for kind in ("egg", "ball") for i in range(8)]
    clouds = {name: rng.normal(size=(128, 3)) * rng.uniform(10, 30, 3) for name in names}
    return write_clouds(tmp_path_factory.mktemp("shapes of my own") / "bälle", clouds)


@pytest.fixture(scope="session")
def cups(tmp_path_factory):
    """A folder of analytic sockets, eight of each kind."""
    clouds = {
        f"{kind}/{kind}_{i}": surface.sample(128, seed=i)
        for kind, seed in (("TT", 0), ("TF", 1))
        for i, surface in enumerate(sockets(8, seed))
    }
    return write_clouds(tmp_path_factory.mktemp("shapes") / "cups", clouds)


@pytest.fixture(scope="session")
def train_tiny():
    """`own_shapes.train` with a tiny recipe and few steps, but for what is given."""
    from aaelib.apps import own_shapes

    def train(folder, path, source="compact", changes=(), start=(), settings=(), **others):
        recipe, settings = (source, TINY | dict(changes)), BRIEF | dict(settings)
        options = {"shares": SHARES, "share": 0.0} | others
        return own_shapes.train(folder, path, recipe, dict(start), settings, **options)

    return train


@pytest.fixture(scope="session")
def train_cups(train_tiny):
    """The same for sockets, with shape models."""

    def train(folder, path, **others):
        changes = {"finetuning_steps": 0}
        settings = {"changes": changes, "shares": (0.5, 0.25, 0.25), "share": 0.5}
        return train_tiny(folder, path, **settings | others)

    return train


@pytest.fixture(scope="session")
def egg_model(eggs, train_tiny, tmp_path_factory):
    """The file of a model of eggs."""
    return train_tiny(eggs, tmp_path_factory.mktemp("models") / "eggs.keras").path


@pytest.fixture(scope="session")
def cup_model(cups, train_cups, tmp_path_factory):
    """The file of a model of sockets, which started as shape models."""
    return train_cups(cups, tmp_path_factory.mktemp("models") / "cups.keras").path


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with a tiny model as files of either kind."""
    folder = tmp_path_factory.mktemp("saved")
    model = autoencoder.AdversarialAutoencoder(recipes.recipe("compact", TINY))
    model.compile()
    model.save(folder / "model.keras")
    exported.export_weights(model, folder / "model.npz")
    return folder


@pytest.fixture(scope="session")
def unit_model(eggs, train_tiny, tmp_path_factory):
    """The file of a model of shapes without sizes."""
    path = tmp_path_factory.mktemp("models") / "unit.keras"
    return train_tiny(eggs, path, changes={"normalization": "unit-sphere"}).path


@pytest.fixture(scope="session")
def shipped():
    """The model of sockets that comes with the package."""
    return files.load("sockets")


@pytest.fixture(scope="session")
def numpy_model():
    """The same without TensorFlow."""
    return in_numpy.load("sockets")


@pytest.fixture(scope="session")
def capsules():
    """A model that is a linear one with two modes: a capsule's length and radius."""
    layers = dict.fromkeys(("encoder", "decoder", "discriminator"), (8,))
    settings = {"n_points": N_POINTS, "code_size": 2, "prior_std": PRIOR_STD, "linear_models": 1}
    recipe = recipes.recipe("compact", encoder_points=None, **layers, **settings)
    model = autoencoder.AdversarialAutoencoder(recipe, scale=SCALE, seed=0)
    linear = ShapeModel(CAPSULES, np.stack(CAPSULE_MODES), np.array([1.0, 0.0]), 3)
    mean, modes = (each[0] / SCALE for each in linear.point_basis(N_POINTS, n_patterns=1))
    transfer.start_decoder_at_models(model, [(mean - mean.mean(axis=0), modes)], [1.0])
    return model
