"""Serve part of a notebook as a page on this machine only."""

import os
import sys

import jupytext
import nbformat

from ..shapes.writing import replacing


def write_tagged(script, tag, path):
    """Write the cells of a `.py` notebook that have a tag as an `.ipynb` notebook of its own."""
    notebook = jupytext.read(script)
    notebook.cells = [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]
    with replacing(path) as temporary:
        nbformat.write(notebook, temporary)


def command(notebook, share, port, browser):
    """
    Arguments and environment with which Voila serves an `.ipynb` notebook.

    `share` is the folder with the page's template, in ``voila/templates``, and Voila's settings,
    in ``voila.json``: 127.0.0.1 only, a token, kernels that end when their page is left, and room
    for a limb's scan.
    """
    arguments = [sys.executable, "-m", "voila", str(notebook), f"--port={port}"]
    arguments += [f"--Voila.config_file_paths={share}", f"--Voila.open_browser={browser}"]
    # The kernel "python3" is this Python's, whatever else is called so.
    paths = [str(share), os.path.join(sys.prefix, "share", "jupyter")]
    paths += filter(None, [os.environ.get("JUPYTER_PATH")])
    return arguments, os.environ | {"JUPYTER_PATH": os.pathsep.join(paths)}


def serve(notebook, share, port, browser):
    """Serve a notebook in place of this process, so that what ends it ends the server."""
    arguments, environment = command(notebook, share, port, browser)
    os.execve(arguments[0], arguments, environment)
