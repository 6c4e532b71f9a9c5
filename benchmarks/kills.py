"""
Kill runs at random moments, and compare what they come to with a run that nobody killed.

Training of a small network, and ``make reproduce PROFILE=smoke`` in a copy of the checkout. They
are killed with SIGKILL, all processes of a run but the notebooks' kernels, which have to notice.
``python -m benchmarks.kills FOLDER`` is the training that is killed.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import psutil
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
EPOCHS, STEPS = 12, 4
_PATIENCE = 600  # seconds, after which a run hangs


# The runs -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """
    A command that is killed, and started again.

    Parameters
    ----------
    name : str
    command : list of str
    folder : Path
        Where it runs, and where its log goes.
    results : Path
        The folder that it writes.
    steps : int
        What there is to do.
    done : callable
        How many steps are done, while it runs and after it was killed.
    warm_up : int
        How many of the first steps' time it takes to begin again.
    compared : list of str
        What of the results has to be the same: files and folders.
    """

    name: str
    command: list
    folder: Path
    results: Path
    steps: int
    done: callable
    warm_up: int
    compared: list

    def start(self):
        """Start it, or start it again, with a process group of its own."""
        ours = ("MAKE", "MFLAGS", "AAELIB_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        environment |= {"PYTHONPATH": str(self.folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with open(self._log, "w") as log:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, process):
        """Wait for its end, which must be a good one."""
        if process.wait(_PATIENCE):
            raise RuntimeError(f"{self.name} failed:\n{self.log()}")

    def log(self):
        """The end of what it said."""
        return self._log.read_text()[-3000:]

    @property
    def _log(self):
        return self.results.with_suffix(".log")


def training(results):
    """Training of a small network into a folder, which is made."""
    results.mkdir(parents=True)

    def done():
        state = results / "run.resume" / "state.json"
        try:
            return len(json.loads(state.read_text())["history"])
        except FileNotFoundError:
            return EPOCHS if (results / "run.keras").exists() else 0

    command = [sys.executable, "-m", "benchmarks.kills", str(results)]
    compared = ["run.keras", "run.csv", "run.json", "last"]
    return Run(f"training, {EPOCHS} epochs", command, ROOT, results, EPOCHS, done, 1, compared)


def reproduction(checkout):
    """The smoke profile's study in a copy of the checkout, which is made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    results = checkout / "results" / "smoke"
    results.mkdir(parents=True, exist_ok=True)
    notebooks = sorted((checkout / "notebooks").glob("[0-9]*.py"))

    def done():
        return sum((results / "notebooks" / f"{n.stem}.ipynb").exists() for n in notebooks)

    command = ["make", "reproduce", "PROFILE=smoke", f"VENV={sys.prefix}"]
    # Pages and figures bear random names, executed notebooks the time.
    compared = ["tables", "conclusions", "models", "weights", "sockets.npz"]
    name = f"`{' '.join(command[:3])}`"
    return Run(name, command, checkout, results, len(notebooks), done, 0, compared)


def train(results, epochs=EPOCHS, seed=0):
    """Train the small network, and keep the last state that the run could have gone on from."""
    from aaelib.models import recipes, training
    from aaelib.models.runs import State
    from aaelib.models.starts import Start
    from aaelib.shapes.folders import Shapes

    recipe = recipes.recipe(
        "compact",
        n_points=64,
        code_size=4,
        encoder=(16, 32),
        decoder=(32,),
        discriminator=(16,),
        encoder_points=32,
        refinement_steps=3,
        finetuning_steps=3,
    )
    clouds = np.random.default_rng(0).normal(size=(24, 64, 3)).astype(np.float32) * [20, 20, 60]
    shapes = Shapes(clouds, np.arange(24).astype(str), np.full(24, "TT"), "random")
    parts = {"training": np.arange(16), "validation": np.arange(16, 24)}
    settings = training.Settings(epochs, STEPS, 8, 0, seed=seed, jitter=0.01, rotate=True)
    finish = State.finish

    def keep_and_finish(state, *others):
        shutil.copytree(state.folder, results / "last", dirs_exist_ok=True)
        return finish(state, *others)

    State.finish = keep_and_finish
    path = results / "run.keras"
    training.train(shapes, parts, recipe, Start(scale=100.0), settings, path)


# Kills ----------------------------------------------------------------------------------------


def uninterrupted(run):
    """
    Let a run end.

    Returns
    -------
    (steps,) array
        Seconds of each step; of the first one from the start of the process on.
    """
    process, ends = run.start(), [time.monotonic()]
    while process.poll() is None:
        while len(ends) <= run.done():
            ends.append(time.monotonic())
        time.sleep(0.02)
    run.finish(process)
    ends += [time.monotonic()] * (run.steps + 1 - len(ends))
    return np.diff(ends)


def interrupted(run, moments, seconds):
    """
    Kill a run again and again, then let it end.

    Parameters
    ----------
    run : Run
    moments : sequence of float
        In [0, steps): 3.5 is half way through the fourth step.
    seconds : (steps,) array
        Of each step, as `uninterrupted` gives them.

    Returns
    -------
    list of (int, float)
        For each kill the steps that were done, and the seconds until no process was left.
    """
    kills = []
    for moment in tqdm(sorted(moments), desc=run.name, leave=False, file=sys.stderr):
        begun = run.done()
        process = run.start()
        _wait(process, lambda step=int(moment): run.done() >= step, _PATIENCE)
        step = min(run.done(), run.steps - 1)
        expected = seconds[step] + (sum(seconds[: run.warm_up]) if 0 < step <= begun else 0)
        # When the step ends sooner than it did, that is the moment.
        _wait(process, lambda step=step: run.done() > step, moment % 1 * expected)
        if process.poll() is not None:
            raise RuntimeError(f"{run.name} ended before it could be killed:\n{run.log()}")
        kills.append((run.done(), _kill(process)))
    run.finish(run.start())
    return kills


def _wait(process, condition, seconds):
    end = time.monotonic() + seconds
    while process.poll() is None and not condition() and time.monotonic() < end:
        time.sleep(0.01)


def _kill(process):
    """Kill a process group; return the seconds until its other descendants have ended as well."""
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    killed = time.monotonic()
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    if alive := [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        raise RuntimeError(f"30 seconds after the kill these still run: {alive}")
    return time.monotonic() - killed


# What comes out -------------------------------------------------------------------------------


def differences(one, other, names):
    """
    Files that two folders do not have in common, bit for bit.

    Of models (`.keras`, `.npz`) it is the arrays that count, every weight and every variable of the
    optimizers: the files also tell when they were written.

    Parameters
    ----------
    one, other : Path
    names : list of str
        Files and folders in them.

    Returns
    -------
    different : list of str
        Relative paths.
    count : int
        Of all files.
    """
    contents = [_contents(folder, names) for folder in (one, other)]
    all_files = sorted({*contents[0], *contents[1]})
    different = [file for file in all_files if contents[0].get(file) != contents[1].get(file)]
    return different, len(all_files)


def _contents(folder, names):
    found = [file for name in names for file in (folder / name, *(folder / name).rglob("*"))]
    return {str(file.relative_to(folder)): content(file) for file in found if file.is_file()}


def content(file):
    """Contents of a file, of models the arrays: the files also tell when they were written."""
    if file.suffix == ".keras":
        with zipfile.ZipFile(file) as archive:
            return _arrays_of_h5(archive.read("model.weights.h5"))
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as saved:
            return {name: _bits(saved[name]) for name in saved}
    return file.read_bytes()


def _arrays_of_h5(content):
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = _bits(item[()])

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(note)
    return found


def _bits(array):
    array = np.asarray(array)
    return array.shape, array.dtype.str, array.tobytes()


# The table ------------------------------------------------------------------------------------


def run(n_training, n_reproductions, seed):
    """
    Kill training and the study at random moments, each in one run.

    Parameters
    ----------
    n_training, n_reproductions : int
        Kills; 0 leaves the run out.
    seed : int

    Returns
    -------
    str
        A Markdown table.
    """
    rng = np.random.default_rng(seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for make, n, unit in (
            (training, n_training, "epochs"),
            (reproduction, n_reproductions, "notebooks"),
        ):
            if n:
                where = Path(folder) / make.__name__
                rows.append(_row(make(where / "whole"), make(where / "killed"), n, unit, rng))
    return "\n".join([_HEAD, *rows, "", _NOTE.format(seed=seed)]) + "\n"


def _row(whole, killed, n, unit, rng):
    kills = interrupted(killed, rng.uniform(0, whole.steps, n), uninterrupted(whole))
    different, count = differences(whole.results, killed.results, whole.compared)
    done = ", ".join(str(done) for done, _ in kills)
    longest = max(seconds for _, seconds in kills)
    return (
        f"| {whole.name} | {len(kills)} | {done} {unit} | {longest:.1f} | "
        f"{', '.join(different) or 'none'} of {count} |"
    )


_HEAD = """# Runs that were killed

| run | kills | done by then | until no process was left, s | files that differ |
|:--|--:|:--|--:|:--|"""
_NOTE = """At random moments (seed {seed}), all processes at once with SIGKILL but for the kernels
of notebooks, which end by themselves; then started again, to the end. Compared are, bit for bit,
all tables, what was concluded, histories, cards, shapes and models: every weight, every variable of
the optimizers, in training also those of the last epoch."""


if __name__ == "__main__":
    train(Path(sys.argv[1]))
