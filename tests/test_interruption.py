"""What a run comes to that is killed, finds no room to write, or is not alone."""

import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, contextmanager

import h5py
import numpy as np
import psutil
import pytest
from nbformat.v4 import new_code_cell
from test_files import held, largest_file
from test_report import write
from test_training import EPOCHS, after_call, assert_same, kill, train

from aaelib.models import runs, training
from aaelib.shapes.writing import locked
from aaelib.study import execution
from benchmarks import kills

# Killed -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    whole, killed = kills.training(tmp_path / "whole"), kills.training(tmp_path / "killed")
    moments = np.random.default_rng(0).uniform(0, kills.EPOCHS, 3)
    found = kills.interrupted(killed, moments, kills.uninterrupted(whole))
    assert len({done for done, _ in found} - {0}) > 1
    different, count = kills.differences(whole.results, killed.results, whole.compared)
    # Model, history and card; and, as they last were, state, that epoch's model and the best one.
    assert count == 6
    assert different == []


def test_a_bit_is_a_difference_and_the_time_of_writing_is_none(tmp_path):
    name = "model.keras"
    for folder, value in {"one": 0.1, "same": 0.1, "other": np.nextafter(0.1, 1)}.items():
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / "weights", "w") as file:
            file["optimizer/vars/1"] = np.array([value, np.nan])
        with zipfile.ZipFile(tmp_path / folder / name, "w") as archive:
            archive.writestr("metadata.json", f"written to {folder}")
            archive.write(tmp_path / "weights", "model.weights.h5")
    for folder, different in {"same": [], "other": [name], "none": [name]}.items():
        found = kills.differences(tmp_path / "one", tmp_path / folder, [name])
        assert found == (different, 1)


@pytest.fixture
def finished(whole, tmp_path):
    """Path of a copy of the finished run."""
    shutil.copytree(whole.path.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run.keras"


@pytest.mark.filterwarnings("ignore:.*was of an unfinished run with other settings")
def test_a_run_killed_at_its_last_write_is_not_the_one_before(whole, finished, fits):
    killed = pytest.raises(KeyboardInterrupt)
    with after_call(runs.pd.DataFrame, "to_csv", 1, kill), killed:
        train(finished, seed=1)
    # The old card is still there, and does not count: the model is the new one.
    assert json.loads(finished.with_suffix(".json").read_text()) == whole.card
    assert runs.card_of(finished) == {}
    assert_same(train(finished), whole)
    assert fits == [0, 0]


def test_a_model_that_cannot_be_moved_into_place_leaves_the_card_of_the_one_before(
    whole, finished, monkeypatch
):
    def failing(source, target, replace=os.replace):
        if target == finished:
            raise OSError(errno.EIO, "the disk is broken", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match=r"not written, .* the disk is broken.*run\.keras"):
        train(finished, seed=1)
    assert runs.card_of(finished) == whole.card


def test_the_state_of_a_run_with_other_settings_is_kept_aside(tmp_path):
    folder, aside = tmp_path / "run.resume", tmp_path / "run.resume-before"
    for fingerprint, history in (("older", [1]), ("before", [1, 2])):
        folder.mkdir()
        state = {"fingerprint": fingerprint, "history": history}
        (folder / "state.json").write_text(json.dumps(state))
        runs.put_aside(folder, fingerprint)
        assert runs.State(folder, fingerprint).epoch == len(history)
        with pytest.warns(UserWarning, match="run.resume-before"):
            runs.put_aside(folder, "now")
        assert runs.State(folder, "now").epoch == 0
    # What was put aside before is kept beside it.
    assert runs.State(aside, "older").epoch == 1
    assert runs.State(aside.with_name("run.resume-before1"), "before").epoch == 2


@pytest.mark.parametrize("text", ["not json", "[]", "{}"])
def test_a_state_that_is_none_is_named(tmp_path, text):
    (tmp_path / "run.resume").mkdir()
    (tmp_path / "run.resume" / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"state\.json is no state of a run"):
        runs.put_aside(tmp_path / "run.resume", "now")


# Notebooks


def sleeping_notebook(folder):
    """A notebook whose kernel tells its number and sleeps, unless there is a file `go`."""
    wait = (
        "import os, time\nfrom pathlib import Path\n"
        f"folder = Path({str(folder)!r})\n"
        "(folder / 'pid').write_text(f'{os.getpid()}.')\n"
        "time.sleep(0 if (folder / 'go').exists() else 600)"
    )
    return write(folder / "01.ipynb", new_code_cell(wait))


def executing(folder):
    """A process that executes the sleeping notebook, and its kernel."""
    source, output = sleeping_notebook(folder), folder / "run" / "01.ipynb"
    # Where a shell started the tests in the background, Ctrl-C is ignored, also by what they start.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from aaelib.study import execution\n"
        f"execution.execute({str(source)!r}, {str(output)!r}, 'smoke')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not ((folder / "pid").exists() and (folder / "pid").read_text().endswith(".")):
        assert process.poll() is None
        time.sleep(0.1)
    return process, psutil.Process(int((folder / "pid").read_text()[:-1]))


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_notebook_that_is_stopped_leaves_no_kernel_and_can_be_executed_again(tmp_path, name):
    process, kernel = executing(tmp_path)
    process.send_signal(signal.Signals[name])
    code = process.wait(timeout=60)
    assert code == 128 + signal.SIGTERM if name == "SIGTERM" else code != 0
    psutil.wait_procs([kernel], timeout=20)
    assert not kernel.is_running() or kernel.status() == psutil.STATUS_ZOMBIE
    output = tmp_path / "run" / "01.ipynb"
    assert not output.exists()
    (tmp_path / "go").touch()
    execution.execute(tmp_path / "01.ipynb", output, "smoke")
    # A process that is killed cannot remove its temporary file, which is hidden.
    assert [file.name for file in output.parent.glob("[!.]*")] == ["01.ipynb"]


# No room ------------------------------------------------------------------------------------------


@contextmanager
def no_room_after(name, n_calls):
    """No file has room any more once a function of `training` was called so many times."""
    with ExitStack() as stack:
        stack.enter_context(
            after_call(training, name, n_calls, lambda: stack.enter_context(largest_file(1000)))
        )
        yield


def test_an_epoch_without_room_is_named_and_done_again_when_there_is_some(whole, tmp_path, fits):
    path = tmp_path / "run.keras"
    refused = pytest.raises(OSError, match=r"not written, .* there is room .*/epoch-2\.keras")
    with no_room_after("prior_jsd", 3), refused:
        train(path)
    assert os.listdir(tmp_path) == ["run.resume"]
    left = os.listdir(tmp_path / "run.resume")
    assert not [name for name in left if name[0] == "." or "epoch-2" in name]
    assert_same(train(path), whole)
    assert fits == [0, 2]


def test_a_model_without_room_leaves_the_finished_one_that_was_there(whole, finished, fits):
    refused = pytest.raises(OSError, match=r"not written, .* there is room .*/final\.keras")
    with no_room_after("finetune_decoder", 1), refused:
        train(finished, seed=1)
    assert_same(train(finished), whole)
    other = train(finished, seed=1)
    assert not other.history.equals(whole.history)
    assert (len(other.history), other.model.seed) == (EPOCHS, 1)
    assert fits == [0]  # all epochs had been kept


# Not alone ----------------------------------------------------------------------------------------


def test_the_second_of_two_is_told_of_the_first(tmp_path, monkeypatch, fits):
    for module in (training, execution):  # who comes second does not wait
        monkeypatch.setattr(module, "locked", functools.partial(locked, patience=0))
    path, source, output = (
        tmp_path / "run.keras",
        sleeping_notebook(tmp_path),
        tmp_path / "02.ipynb",
    )
    with held(path), pytest.raises(RuntimeError, match=r"run\.keras is in use by another process"):
        train(path)
    with held(output), pytest.raises(RuntimeError, match=r"02\.ipynb is in use by another"):
        execution.execute(source, output, "smoke")
    assert not fits
    assert not path.exists()
    assert not output.exists()
