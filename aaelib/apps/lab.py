"""What JupyterLab saves of the study's notebooks."""

from pathlib import Path

import nbformat


def without_kernel(model, path, contents_manager, **_):
    """
    Leave out of a notebook of the study what its kernel adds.

    A hook that Jupyter calls before it saves (``notebooks/jupyter_server_config.json``). Python's
    version and the state of widgets go. A cell whose text stays keeps the output that is stored:
    stored outputs are of one run, and `make store` writes them. Other notebooks are saved as they
    are.
    """
    if model["type"] != "notebook" or "pair" not in model["content"]["metadata"]:
        return
    for name in ("language_info", "widgets"):
        model["content"]["metadata"].pop(name, None)
    file = Path(contents_manager.root_dir, path.strip("/"))
    if not file.exists():
        return
    stored = {cell.id: cell for cell in nbformat.read(file, as_version=4).cells}
    for cell in model["content"]["cells"]:
        before = stored.get(cell.get("id"))
        if cell["cell_type"] == "code" and before and before.source == cell["source"]:
            cell |= {"outputs": before.outputs, "execution_count": before.execution_count}
