"""One seed makes a result, and nothing else does: no process, no thread, no order of a set."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from analytic import family
from conftest import TINY
from joblib import hash as digest
from test_training import train

from aaelib.metrics import generative, reconstruction
from aaelib.models import autoencoder, batches, recipes, training
from aaelib.shapes import corpus
from aaelib.shapes.shape_model import ShapeModel

SEED = 3
RECIPE = recipes.recipe("compact", TINY, n_points=64, encoder_points=32)


def drawn_batches():
    """Of everything that batches draw: real clouds, shape models, angles, noise."""
    real = np.stack([surface.sample(64, seed=i) for i, surface in enumerate(family(6))])
    models, more = [ShapeModel.fit(family(), 2)], {"jitter": 0.01, "rotate": True, "seed": SEED}
    settings = training.Settings(batch_size=8, shape_models=models, share=0.5, **more)
    return [batch.numpy() for batch in batches.batches(real, 150.0, settings)(0, 3)]


def results(folder):
    """
    What a seed makes, from first weights to a table: name -> digest.

    With other threads those of training may add up in another order, and be others: they are last.
    """
    aae = autoencoder.AdversarialAutoencoder(RECIPE, scale=150.0, seed=SEED)
    weights = digest(aae.get_weights())
    shape_model = ShapeModel.fit(family(), 2)
    drawn = shape_model.sample(8, seed=SEED)
    points = np.stack([surface.sample(64, seed=SEED) for surface in drawn])
    samples = aae.sample(6, seed=SEED)
    cells = generative.generative_metrics(samples / 300, points / 300)
    cells["chamfer"] = reconstruction.reconstruction_chamfer(points, aae.reconstruct(points))
    run = train(Path(folder) / "run.keras", SEED, points[:, :32])
    return {
        "weights": weights,
        "batches": digest(drawn_batches()),
        "surfaces": digest([surface.vertices for surface in drawn]),
        "clouds": digest([points, corpus.generate(1, 64, SEED)[0]]),
        "samples": digest(samples),
        "table": digest(cells),
        "trained weights": digest(run.model.get_weights()),
        "trained history": digest([run.history.to_numpy(), run.best_epoch]),
    }


def in_a_process(folder, **environment):
    """`results` of a process of its own."""
    code = "import json, sys, test_determinism as t; print(json.dumps(t.results(sys.argv[1])))"
    environment = os.environ | environment | {"PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, str(folder)]
    said = subprocess.check_output(command, env=environment, text=True)
    return json.loads(said.splitlines()[-1])


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return in_a_process(tmp_path_factory.mktemp("once"), PYTHONHASHSEED="1")


# One seed, one result


@pytest.mark.slow
def test_two_processes_with_one_seed_give_the_same_to_the_bit(once, tmp_path):
    # Sets and dictionaries of strings are in another order.
    assert in_a_process(tmp_path, PYTHONHASHSEED="2") == once


@pytest.mark.slow
def test_all_but_training_is_the_same_on_one_thread(once, tmp_path):
    libraries = ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM", "OPENBLAS_NUM")
    single = in_a_process(tmp_path, **{f"{library}_THREADS": "1" for library in libraries})
    different = [name for name in once if single[name] != once[name]]
    assert all(name.startswith("trained") for name in different), different


# Workers


@pytest.mark.parametrize("n_workers", [1, 4])
def test_batches_do_not_depend_on_how_many_are_made_at_once(monkeypatch, n_workers):
    expected = drawn_batches()
    made_by, map_ = [], tf.data.Dataset.map

    def with_workers(self, function, num_parallel_calls=None, **options):
        made_by.append(n_workers)
        return map_(self, function, num_parallel_calls=n_workers, **options)

    monkeypatch.setattr(tf.data.Dataset, "map", with_workers)
    np.testing.assert_array_equal(drawn_batches(), expected)
    assert made_by
