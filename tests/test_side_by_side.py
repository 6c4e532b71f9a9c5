"""Work side by side in processes: order, threads, warnings, errors."""

import os
import warnings

import pytest
import tensorflow as tf

from aaelib.study import side_by_side as module
from aaelib.study.side_by_side import side_by_side


def told(number):
    if number == 3:
        raise ValueError("three is too many")
    if number == 1:
        warnings.warn("one is few", stacklevel=2)
    return number, os.getpid(), tf.config.threading.get_intra_op_parallelism_threads()


def test_results_are_in_order_each_computed_on_one_thread_in_another_process(monkeypatch, capfd):
    monkeypatch.setattr(module, "cpu_count", lambda: 2)
    tasks = [(number,) for number in (2, 1, 0)]
    with pytest.warns(UserWarning, match="one is few"):
        found = side_by_side(told, tasks, [1.0, 0.0, 1.0], "telling")
    assert [number for number, _, _ in found] == [2, 1, 0]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {1}
    assert "telling" in capfd.readouterr().err


def test_an_error_is_raised_here(monkeypatch):
    monkeypatch.setattr(module, "cpu_count", lambda: 2)
    with pytest.raises(ValueError, match="three is too many"):
        side_by_side(told, [(0,), (3,)], [1.0, 1.0], "telling")


@pytest.mark.parametrize("devices", ["GPU", "hosts", "one core"])
def test_what_has_a_device_or_hosts_of_its_own_stays_in_this_process(devices, monkeypatch):
    monkeypatch.setattr(module, "cpu_count", lambda: 1 if devices == "one core" else 2)
    if devices == "GPU":
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    if devices == "hosts":
        monkeypatch.setenv("TF_CONFIG", "{}")
    found = side_by_side(told, [(0,), (2,)], [0.0, 0.0], "telling")
    assert {process for _, process, _ in found} == {os.getpid()}
