"""Notebooks are executed when what they are made from has changed, and only then."""

import os
import signal
import subprocess
import sys
import time

import pytest
from nbformat.v4 import new_code_cell
from test_report import PARAMETERS, read, text_of, write

from aaelib.study import execution


def test_a_notebook_is_executed_under_its_profile_in_the_projects_root(tmp_path):
    source = write(tmp_path / "01.ipynb", new_code_cell("import os; print(profile, os.getcwd())"))
    output = tmp_path / "run" / "01.ipynb"
    execution.execute(source, output, "smoke")
    assert text_of(read(output)).split() == ["smoke", str(execution.ROOT)]
    assert os.listdir(output.parent) == ["01.ipynb"]


def test_a_jupytext_script_is_executed_as_its_notebook(tmp_path):
    script = tmp_path / "01.py"
    script.write_text(f'# %% tags=["parameters"]\n{PARAMETERS}\n\n# %%\nprint(profile)\n')
    execution.execute(script, tmp_path / "01.ipynb", "smoke")
    assert text_of(read(tmp_path / "01.ipynb")) == "smoke\n"


def test_a_notebook_that_fails_leaves_no_finished_output(tmp_path):
    source = write(tmp_path / "01.ipynb", new_code_cell("print(1)"), new_code_cell("[][7]"))
    output = tmp_path / "run" / "01.ipynb"
    with pytest.raises(RuntimeError, match="IndexError: list index out of range"):
        execution.execute(source, output, "smoke")
    assert os.listdir(output.parent) == ["01.failed.ipynb"]
    assert text_of(read(output.with_name("01.failed.ipynb"))) == "1\n"


def test_a_failed_run_keeps_the_last_good_one_and_a_good_run_clears_the_failed_one(tmp_path):
    output = tmp_path / "run" / "01.ipynb"
    failed = output.with_name("01.failed.ipynb")
    good = write(tmp_path / "good.ipynb", new_code_cell("print('good')"))
    bad = write(tmp_path / "bad.ipynb", new_code_cell("import os; os._exit(1)"))
    execution.execute(good, output, "smoke")
    with pytest.raises(RuntimeError, match="Kernel died"):
        execution.execute(bad, output, "smoke")
    assert failed.exists()
    assert text_of(read(output)) == "good\n"
    execution.execute(good, output, "smoke")
    assert not failed.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_a_run_that_is_terminated_leaves_no_kernel_and_no_finished_output(tmp_path):
    started = tmp_path / "pid"
    wait = (
        f"import os, time; open({str(started)!r}, 'w').write(f'{{os.getpid()}}.'); time.sleep(60)"
    )
    source = write(tmp_path / "01.ipynb", new_code_cell("print(1)"), new_code_cell(wait))
    output = tmp_path / "run" / "01.ipynb"
    call = f"execution.execute({str(source)!r}, {str(output)!r}, 'smoke')"
    code = f"from aaelib.study import execution; {call}"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not (started.exists() and started.read_text().endswith(".")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()[:-1]), 0)
    assert os.listdir(output.parent) == ["01.failed.ipynb"]
