"""Training that replicas share: on devices of one host, and in processes that find each other."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import worker

from aaelib.models import devices, files
from benchmarks import workers

SEEDS = range(4)
LOSSES = ["chamfer", "discriminator_loss", "val_chamfer", "val_discriminator_loss", "val_jsd"]
PATIENCE = 240  # s, after which a worker hangs


def start(*arguments, config=None):
    """Start `worker.py`, which the test ends if it does not by itself."""
    command = [sys.executable, worker.__file__, *arguments]
    # One thread: two processes on few cores.
    return workers.started(command, config or {}, TF_NUM_INTRAOP_THREADS="1")


def start_two(folder, of_the_second=()):
    """Start two workers of one cluster on this machine."""
    first, second = workers.clusters(2)
    return [start(folder, config=first), start(folder, *of_the_second, config=second)]


def outcomes(*processes):
    """What processes printed that all ended well."""
    return workers.outputs(processes, patience=PATIENCE)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Losses of one process on one device, (n_seeds, n_epochs, n_losses)."""
    folder = tmp_path_factory.mktemp("alone")
    return np.stack([losses(worker.train(folder / f"{seed}.keras", seed)) for seed in SEEDS])


def losses(run):
    return pd.DataFrame(run["history"])[LOSSES].to_numpy()


# One host


def test_a_host_of_one_device_gets_batches_as_they_are():
    batches = tf.data.Dataset.from_tensors(tf.zeros((4, 8, 3)))
    assert devices.is_chief()
    assert devices.shared(batches) is batches


def test_a_model_that_devices_trained_is_one_like_others(tmp_path):
    """It loads without them, and goes on training; one processor pretends to be two devices."""
    (outcome,) = outcomes(start(tmp_path, "--devices", 2))
    assert outcome["replicas"] == 2
    aae = files.load(tmp_path / "run.keras")
    before = aae.reconstruct(worker.CLOUDS)
    batches = tf.data.Dataset.from_tensors(tf.constant(worker.CLOUDS[:4] / 100, tf.float32))
    aae.fit(batches, verbose=0)
    assert np.abs(aae.reconstruct(worker.CLOUDS) - before).max() > 0.01


def test_a_batch_that_replicas_cannot_share_evenly_is_refused(monkeypatch):
    monkeypatch.setattr(devices, "strategy", lambda: SimpleNamespace(num_replicas_in_sync=3))
    with pytest.raises(ValueError, match="3 replicas cannot share batches of 4 evenly"):
        devices.shared(tf.data.Dataset.from_tensors(tf.zeros((4, 8, 3))))


# Several hosts


@pytest.fixture
def tf_config(monkeypatch):
    """Set TF_CONFIG for this process, where nothing has asked for a strategy yet."""
    monkeypatch.setattr(devices, "strategy", devices.strategy.__wrapped__)
    return lambda text: monkeypatch.setenv("TF_CONFIG", text)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"cluster": 1}',
        '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
    ],
)
def test_a_cluster_that_is_not_understood_is_refused_with_an_example(tf_config, text):
    tf_config(text)
    with pytest.raises(ValueError, match=r"TF_CONFIG is .*host0:2222"):
        devices.strategy()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Two processes that train together."""
    folder = tmp_path_factory.mktemp("together")
    return folder, outcomes(*start_two(folder))


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_end_with_the_same_weights(alone, together):
    """Losses within four standard deviations, over seeds, of the mean of one process."""
    one, other = together[1]
    assert one["replicas"] == 2
    assert one["run"] == other["run"]
    off = np.abs(losses(one["run"]) - alone.mean(axis=0))
    # Four seeds tell a variance badly, so that of each loss is averaged over epochs.
    spread = np.sqrt(alone.var(axis=0, ddof=1).mean(axis=0))
    assert (off < 4 * spread).all(), off / spread


@pytest.mark.slow
def test_only_the_chief_writes(together):
    folder, (chief, other) = together
    assert any("os.rename" in change and ".csv" in change for change in chief["changed"])
    assert other["changed"] == []
    assert not list(folder.glob("*.resume"))


@pytest.mark.slow
def test_processes_that_were_given_other_data_are_refused(together):
    for outcome in together[1]:
        assert "start all of them with the same code, recipe, data" in outcome["refused"]


@pytest.mark.slow
def test_a_process_that_is_killed_stops_the_other_and_both_started_again_end_as_if_not(
    together, tmp_path
):
    in_the_third_epoch = 2 * worker.STEPS + 2
    processes = start_two(tmp_path, of_the_second=("--killed-at", in_the_third_epoch))
    (_, told), _ = workers.texts(processes, patience=PATIENCE)
    assert processes[1].returncode == -9
    assert processes[0].returncode not in (0, -9), "the other noticed by itself"
    assert "start all workers again" in told
    state = json.loads((tmp_path / "run.resume" / "state.json").read_text())
    assert len(state["history"]) == 2

    uninterrupted = together[1]
    again = outcomes(*start_two(tmp_path))
    assert again[0]["run"] == again[1]["run"]
    one, other = losses(again[0]["run"]), losses(uninterrupted[0]["run"])
    np.testing.assert_array_equal(one[:2], losses(state))  # kept
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)
    assert not (tmp_path / "run.resume").exists()
