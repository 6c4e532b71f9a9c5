"""Serve part of a notebook as a page on this machine only."""

import os
import sys

import jupytext
import nbformat

from ..shapes.writing import replacing

# An extension of JupyterLab that Voila has no place for; the page would log an error.
_DENIED = "jupyterlab-jupytext"


def write_tagged(script, tag, path):
    """Write the cells of a `.py` notebook that have a tag as an `.ipynb` notebook of its own."""
    notebook = jupytext.read(script)
    notebook.cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    if not notebook.cells:
        raise ValueError(f"{script}: no cell has the tag {tag!r}")
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)


def command(notebook, share, port, browser):
    """
    Arguments and environment with which Voila serves an `.ipynb` notebook on 127.0.0.1.

    `share` is the folder with the page's template, in ``voila/templates/explorer``.
    """
    arguments = [sys.executable, "-m", "voila", str(notebook), "--template=explorer"]
    arguments += ["--Voila.ip=127.0.0.1", f"--port={port}"]
    arguments += [f"--VoilaConfiguration.extension_denylist={_DENIED}"]
    arguments += ["--show_tracebacks=True"]  # who serves it is who sees it
    arguments += [] if browser else ["--no-browser"]
    paths = [str(share), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    return arguments, os.environ | {"JUPYTER_PATH": os.pathsep.join(paths)}


def serve(notebook, share, port, browser):
    """
    Serve a notebook as `command` says.

    This process is replaced, so that what interrupts or ends it ends the server.
    """
    arguments, environment = command(notebook, share, port, browser)
    print(f"The page: http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    os.execve(arguments[0], arguments, environment)
