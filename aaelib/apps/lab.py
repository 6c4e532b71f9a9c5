"""What JupyterLab saves of the study's notebooks."""


def without_kernel(model, **_):
    """
    Leave out of a notebook what its kernel adds: Python's version and the state of widgets.

    A hook that Jupyter calls before it saves (``notebooks/jupyter_server_config.d``). Other
    notebooks are saved as they are.
    """
    if model["type"] == "notebook" and "pair" in model["content"]["metadata"]:
        for name in ("language_info", "widgets"):
            model["content"]["metadata"].pop(name, None)
