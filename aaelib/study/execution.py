"""Execute the study's notebooks."""

import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from ..shapes.writing import locked, replacing

ROOT = Path(__file__).resolve().parents[2]


def execute(notebook, output, profile):
    """
    Execute a notebook (``.ipynb`` or its jupytext pair) with papermill, in the project's root.

    The executed notebook appears only when its last cell has run. A run that failed or was stopped
    leaves the cells it had done beside it, as ``<name>.failed.ipynb``. The kernel ends with this
    process, even if that is killed: it looks for its parent every second.

    Parameters
    ----------
    notebook, output : str or Path
        The notebook, which has a cell tagged "parameters", and where its executed copy goes.
    profile : str
        Value of the parameter `profile`.

    Raises
    ------
    RuntimeError
        If a cell raises (its traceback is in the message), if the kernel dies (mostly for lack of
        memory), or if another process executes a notebook into the same folder.
    OSError
        If the executed notebook can't be written, as on a full disk.
    """
    import jupytext
    import papermill
    from nbclient.exceptions import DeadKernelError

    output = Path(output).resolve()
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    source = jupytext.read(notebook)
    with locked(output.parent), replacing(output) as temporary, _cleaned_up_on_sigterm():
        try:
            papermill.execute_notebook(
                source,
                temporary,
                parameters={"profile": profile},
                kernel_name="python3",
                language="python",
                cwd=ROOT,
                # ipykernel warns at every start that local sockets are not encrypted.
                extra_arguments=["--log-level=ERROR"],
            )
        except (papermill.PapermillExecutionError, DeadKernelError) as error:
            os.replace(temporary, failed)
            raise RuntimeError(
                f"{notebook} failed: {error}\nIts cells up to there are in {failed}"
            ) from None
        except OSError:
            raise  # the notebook itself may be half written
        except BaseException:
            if temporary.exists():
                os.replace(temporary, failed)
            raise
    failed.unlink(missing_ok=True)


@contextmanager
def _cleaned_up_on_sigterm():
    """Let SIGTERM unwind the stack, so that the kernel is shut down and files are put away."""
    previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
