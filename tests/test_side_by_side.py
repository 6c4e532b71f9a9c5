"""Work side by side in processes: order, threads, warnings, errors."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest
import tensorflow as tf

from aaelib.study import side_by_side as module
from aaelib.study.side_by_side import side_by_side


def told(number):
    if number == 3:
        raise ValueError("three is too many")
    if number == 1:
        warnings.warn("one is few", stacklevel=2)
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    return number, os.getpid(), (threads, os.environ.get("OMP_NUM_THREADS"))


def test_results_are_in_order_each_computed_on_one_thread_in_another_process(monkeypatch, capfd):
    monkeypatch.setattr(module, "cpu_count", lambda: 2)
    # By itself joblib would share eight cores between two processes.
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *_, **__: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    tasks = [(number,) for number in (2, 1, 0)]
    with pytest.warns(UserWarning, match="one is few"):
        found = side_by_side(told, tasks, [1.0, 0.0, 1.0], "telling")
    assert [number for number, _, _ in found] == [2, 1, 0]
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {(1, "1")}
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


def slow(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path):
    call = "import sys, test_side_by_side as t; tasks = [(sys.argv[1],)] * 2; "
    call += "t.side_by_side(t.slow, tasks, [1, 1], 'sleeping')"
    environment = os.environ | {"LOKY_MAX_CPU_COUNT": "2"}
    process = subprocess.Popen(
        [sys.executable, "-c", call, tmp_path], cwd=Path(__file__).parent, env=environment
    )
    for _ in range(600):
        if len(started := [*tmp_path.iterdir()]) == 2:
            break
        time.sleep(0.1)
    workers = [psutil.Process(int(file.name)) for file in started]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=10)[1] == []
