"""Serve part of a notebook as a page on this machine only."""

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.web import HTTPError
from traitlets import Set

from ..shapes.places import NOTEBOOKS

# Without the grammars of addresses, which take a second to read and which nobody here checks.
_VOILA = "import sys; sys.modules['rfc3987_syntax'] = None; from voila.app import main; main()"
MOST_PAGES = 4  # at once: a kernel of the explorer takes 0.35 GB


def _interrupted(*_):
    """Interrupt this process once: another Ctrl-C would leave kernels behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


class FewKernels(AsyncMappingKernelManager):
    """
    At most `MOST_PAGES` kernels (``voila.json``); a visitor beyond them reads why.

    Kernels whose page is gone make room for new ones.
    """

    _starting = asyncio.Lock()  # so that none starts between count and start
    _visited = Set()  # whose page was there: one that loads is not connected yet

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        signal.signal(signal.SIGINT, _interrupted)

    def notify_connect(self, kernel_id):
        super().notify_connect(kernel_id)
        self._visited.add(kernel_id)

    async def start_kernel(self, **kwargs):
        async with self._starting:
            if len(self) >= MOST_PAGES:
                for kernel_id, pages in [*self._kernel_connections.items()]:
                    if kernel_id in self._visited and not pages:
                        await self.shutdown_kernel(kernel_id, now=True)
            if len(self) >= MOST_PAGES:
                words = "pages are open, the most there may be: close one, wait a minute, try again"
                raise HTTPError(503, reason=f"{MOST_PAGES} {words}")
            return await super().start_kernel(**kwargs)


def write_tagged(script, tag, path):
    """Write the cells of a `.py` notebook that have a tag as an `.ipynb` notebook of its own."""
    notebook = jupytext.read(script)
    notebook.cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    nbformat.write(notebook, path)


def command(notebook, port, browser):
    """
    Arguments and environment with which Voila serves an `.ipynb` notebook.

    ``notebooks/share`` has the page's template, in ``voila/templates``, and Voila's settings, in
    ``voila.json``: 127.0.0.1 only, a token, few kernels, which end when their page is left, and
    room for a limb's scan.
    """
    share = NOTEBOOKS / "share"
    arguments = [sys.executable, "-c", _VOILA, str(notebook), f"--port={port}"]
    arguments += [f"--Voila.config_file_paths={share}", f"--Voila.open_browser={browser}"]
    # The kernel "python3" is this Python's, whatever else is called so.
    paths = [str(share), os.path.join(sys.prefix, "share", "jupyter")]
    paths += filter(None, [os.environ.get("JUPYTER_PATH")])
    return arguments, os.environ | {"JUPYTER_PATH": os.pathsep.join(paths)}


def explore(port, browser):
    """Serve the explorer of notebook 05 in place of this process: what ends it ends the server."""
    page = Path(tempfile.mkdtemp()) / "explorer.ipynb"  # a checkout may be read-only
    write_tagged(NOTEBOOKS / "05_latent_exploration.py", "explorer", page)
    arguments, environment = command(page, port, browser)
    os.execve(arguments[0], arguments, environment)
