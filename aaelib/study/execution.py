"""Execute the study's notebooks, each when what it is made from has changed."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import joblib
import yaml

from ..models.code import digest, digest_of, statements
from ..shapes.folders import digest_of_file, name_of, walk
from ..shapes.places import BUNDLE, DATA, NOTEBOOKS, RESULTS, ROOT, published_folders
from ..shapes.writing import locked, replacing, write_whole


def _own_shapes():
    folder = os.environ.get("AAELIB_SHAPES")
    if folder and not Path(folder).is_dir():
        raise FileNotFoundError(f"AAELIB_SHAPES is {folder!r}, which is no folder")
    return [Path(folder)] if folder else []


# Shapes that are read by a notebook in whose code the name occurs.
_SHAPES = {
    "load_sockets": lambda: published_folders("SocketSSM") or [DATA / "sockets"],
    "load_corpus": lambda: published_folders("ModelNet40*", "ModelNet10*"),
    "AAELIB_SHAPES": _own_shapes,
}


def run(name, profile, say=print):
    """
    Execute a notebook of the study under a profile, unless its executed copy is up to date.

    ``results/<profile>/notebooks/<name>.json`` records what the executed copy was made from, and
    the commit.

    Parameters
    ----------
    name, profile : str
        Such as "01_augmentation" and "smoke".
    say : callable
        Is told why the notebook is executed.
    """
    executed = RESULTS / profile / "notebooks" / f"{name}.ipynb"
    script = NOTEBOOKS / f"{name}.py"
    synchronize(script)
    before, now = _record(executed).get("made_from", {}), made_from(script, executed.parent)
    if executed.exists() and before == now:
        return
    try:
        executed.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"results go to {executed.parent}, which can't be written ({error.strerror}): copy "
            f"{ROOT} to a folder of your own, and run it there"
        ) from error
    changed = [what for what in sorted({*before, *now}) if before.get(what) != now.get(what)]
    say(f"{name}: {', '.join(changed) if before else 'not executed yet'}")
    execute(script, executed, profile)
    record = json.dumps({"commit": commit(), "made_from": now}, indent=1)
    write_whole(executed.with_suffix(".json"), record)


def made_from(script, folder):
    """
    Digests of all that an executed notebook depends on, by what they are of.

    Parameters
    ----------
    script : Path
        A jupytext script, whose header names in `reads` the notebooks whose results it reads.
    folder : Path
        Of the executed notebooks of a profile.
    """
    header, text = _header_and_cells(script)
    code = statements(text)
    profile = NOTEBOOKS / "profiles" / f"{folder.parent.name}.yaml"
    lock = BUNDLE / "requirements.lock"
    found = {
        "its text": digest(text),
        "its code": digest(code),
        "aaelib": digest_of(*_imported(code)),
        "the profile": digest(json.dumps(yaml.safe_load(profile.read_text()))),
        "the packages": digest(lock.read_text() if lock.exists() else version("aaelib")),
    }
    for word, folders in _SHAPES.items():
        if word in code:
            # Notebooks show the name of a user's folder: under another name they run again.
            found[f"shapes of {word}"] = digest(os.environ.get(word, ""), _content(folders()))
    for read in " ".join(re.findall(r"(?m)^#  *reads: (.*)$", header)).split():
        upstream = _record(folder / f"{read}.ipynb").get("made_from", {})
        # What only its readers see of a notebook changes no result.
        found[read] = digest(json.dumps(upstream | {"its text": None}, sort_keys=True))
    return found


def profile_of(script):
    """The one profile that a notebook runs in, by its header; None for most, which run in all."""
    found = re.search(r"(?m)^#  *profile: (.*)$", script.read_text(encoding="utf-8"))
    return found and found[1]


def _record(executed):
    try:
        return json.loads(executed.with_suffix(".json").read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _header_and_cells(script):
    """The text of a jupytext script up to its first cell, and from there on."""
    text = script.read_text(encoding="utf-8")
    start = re.search(r"(?m)^# %%", text).start()
    return text[:start], text[start:]


def _imported(code):
    """Names that code imports from aaelib."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [package + name.name for name in node.names]
            yield from (name for name in names if name.startswith("aaelib."))


def _content(folders):
    """Digest of the names and the content of all files in folders."""
    content = [
        (str(name_of(folder) / file.relative_to(folder)), digest_of_file(file))
        for folder in folders
        for file in sorted(filter(Path.is_file, walk(folder)))
    ]
    return joblib.hash(content)


def commit():
    """The commit of the checkout, with "-dirty" after it if files differ; or aaelib's version."""
    if (BUNDLE / ".git").exists():
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        with suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=True)
            return done.stdout.strip()
    return f"aaelib {version('aaelib')}"


# Pairs ----------------------------------------------------------------------------------------


def synchronize(script):
    """
    Give a script and the ``.ipynb`` beside it the cells of whichever was edited.

    The ``.ipynb``, whose outputs stay, has in its metadata what both were when they last agreed.
    Without that, the newer one counts.

    Raises
    ------
    ValueError
        If both were edited, and not in the same way.
    """
    stored = script.with_suffix(".ipynb")
    if not stored.exists():
        return
    notebook = json.loads(stored.read_text(encoding="utf-8"))
    agreed, now = notebook["metadata"].get("pair"), _pair(script, notebook)
    if agreed is None:
        is_newer = stored.stat().st_mtime > script.stat().st_mtime
        agreed = [now[0], None] if is_newer else [None, now[1]]
    if now == agreed:
        return
    import jupytext
    import nbformat
    from jupytext.combine import combine_inputs_with_outputs

    ours, theirs = jupytext.read(script), nbformat.read(stored, as_version=4)
    if _cells(ours) != _cells(theirs):
        if now[0] == agreed[0]:
            written = nbformat.from_dict(theirs | {"metadata": ours.metadata})
            write_whole(script, jupytext.writes(written, fmt="py:percent"))
        elif now[1] == agreed[1]:
            theirs = combine_inputs_with_outputs(ours, theirs)
        else:
            raise ValueError(
                f"{script} and {stored.name} were both edited: undo the changes of one, as with "
                "`git checkout`, then run again"
            )
    theirs.metadata["pair"] = _pair(script, theirs)
    write_whole(stored, nbformat.writes(theirs) + "\n")


def create(script):
    """Write the ``.ipynb`` of a script that has none."""
    import jupytext

    notebook = jupytext.read(script)
    name = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["kernelspec"] = name
    notebook.metadata["pair"] = _pair(script, notebook)
    with replacing(script.with_suffix(".ipynb")) as temporary:
        jupytext.write(notebook, temporary)


def _pair(script, notebook):
    """Digests of the cells of a script and of a notebook."""
    return [digest(_header_and_cells(script)[1]), digest(json.dumps(_cells(notebook)))]


def _cells(notebook):
    """Type, source and tags of the cells of a notebook, whether nbformat has read it or not."""
    return [
        (cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in notebook["cells"]
    ]


# Executing ------------------------------------------------------------------------------------


# Nobody sees the widgets of a notebook that papermill executes: bars go to the terminal.
_BARS = (
    "import functools, sys, tqdm.auto;"
    "tqdm.auto.tqdm = functools.partial(tqdm.std.tqdm, file=sys.__stderr__)"
)


def execute(notebook, output, profile):
    """
    Execute a notebook (``.ipynb`` or its jupytext pair) with papermill, in the project's root.

    The executed notebook appears only when its last cell has run. A run that failed or was stopped
    leaves the cells it had done beside it, as ``<name>.failed.ipynb``. The kernel ends with this
    process, even if that is killed: it looks for its parent every second. It is of this Python,
    whatever the name "python3" stands for elsewhere.

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
        memory), or if another process executes the same notebook.
    OSError
        If the executed notebook can't be written, as on a full disk.
    """
    import jupytext
    import papermill
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError

    class ThisPython(AsyncKernelManager):
        kernel_spec = KernelSpec(**get_kernel_dict())

    # ipykernel warns at every start that local sockets are not encrypted. TensorFlow logs at
    # import, whatever its level of logging: that goes to the terminal.
    options = ["--log-level=ERROR", "--IPKernelApp.capture_fd_output=False"]
    options.append(f"--IPKernelApp.exec_lines={_BARS}")
    kernel = {"kernel_name": "python3", "language": "python", "extra_arguments": options}
    kernel["kernel_manager_class"] = ThisPython
    output = Path(output).resolve()
    failed = output.with_name(f"{output.stem}.failed.ipynb")
    source = jupytext.read(notebook)
    with locked(output), replacing(output) as temporary, _cleaned_up_on_sigterm():
        try:
            parameters = {"profile": profile}
            papermill.execute_notebook(
                source, temporary, parameters, cwd=ROOT, stderr_file=sys.stderr, **kernel
            )
        except OSError:
            raise  # the notebook itself may be half written
        except BaseException as error:
            if temporary.exists():
                os.replace(temporary, failed)
            if not isinstance(error, papermill.PapermillExecutionError | DeadKernelError):
                raise
            message = f"{notebook} failed: {error}\nIts cells up to there are in {failed}"
            raise RuntimeError(message) from None
    failed.unlink(missing_ok=True)


@contextmanager
def _cleaned_up_on_sigterm():
    """Let SIGTERM unwind the stack, so that the kernel is shut down and files are put away."""
    previous = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
