"""
Let single writes of a run fail, and see that nothing is lost.

`strace` lets the n-th call of each thread fail as it does on a disk that is full or broken: in
Python, and in the libraries that write for it (HDF5, TensorFlow). Afterwards each output has to be
the old one or the new one, all of them the new ones where the run says that it ended well, and the
run, started again, has to come to the new ones (Pillai et al. 2014; SQLite's tests of I/O errors).
"""

import collections
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from tqdm import tqdm

from aaelib.models import training  # noqa: F401 - imported once: the runs are forks
from aaelib.shapes.resampling import resample_tree

from . import kills

CALLS = "write", "pwrite64", "fsync", "rename", "openat"
ERRORS = "ENOSPC", "EIO"
_PATIENCE = 120  # seconds, after which a run hangs and is killed


@dataclass(frozen=True)
class Job:
    """
    A run whose writes fail.

    Parameters
    ----------
    name : str
    run : callable
        Of a folder and a seed; another seed gives other outputs.
    outputs : tuple of str
        Patterns of the files in the folder that count.
    """

    name: str
    run: callable
    outputs: tuple

    def contents(self, folder):
        """Contents of the outputs, None of one that cannot be read."""
        found = {}
        for file in (file for pattern in self.outputs for file in folder.glob(pattern)):
            try:
                found[str(file.relative_to(folder))] = kills.content(file)
            except Exception:  # whatever a half-written file makes a reader raise
                found[str(file.relative_to(folder))] = None
        return found


def _train(folder, seed):
    kills.train(folder, epochs=2, seed=seed)


def _resample(folder, seed):
    for index in range(4):
        mesh = folder / "meshes" / f"class-{index % 2}" / f"{index}.stl"
        mesh.parent.mkdir(parents=True, exist_ok=True)
        if not mesh.exists():
            trimesh.creation.icosphere(radius=1 + index).export(mesh)
    report = resample_tree(folder / "meshes", folder / "clouds", n_points=64, seed=seed, workers=1)
    if report.refused:
        raise OSError(f"refused: {report.refused}")


def _reproduce(folder, seed):
    """Run the first notebook; with another seed forget that it has run."""
    job, executed = kills.reproduction(folder), "results/smoke/notebooks/01_augmentation.ipynb"
    subprocess.run(["make", executed, *job.command[2:]], cwd=folder, check=True)
    if seed:
        (folder / executed).unlink()


_RESULTS = tuple(f"results/smoke/{part}/*" for part in ("tables", "conclusions", "models"))
JOBS = {
    "train": Job("training, 2 epochs", _train, ("run.keras", "run.csv", "run.json")),
    "resample": Job("resampling, 4 meshes", _resample, ("clouds/*/*.npy",)),
    "reproduce": Job("`make reproduce PROFILE=smoke`, notebook 01", _reproduce, _RESULTS),
}


def start(job, folder, seed, fault=None):
    """
    Run a job in a process of its own, in which a call may fail.

    Parameters
    ----------
    job : Job
    folder : Path
    seed : int
    fault : (str, int, str), optional
        Call, its number in each thread, error. Without one, calls are only noted.

    Returns
    -------
    status : int
        0 for a good end.
    calls : list of str
        What strace noted, a line for each call of `CALLS`.
    """
    log, (process, go) = folder.with_suffix(".calls"), _forked(job, folder, seed)
    inject = ["-e", "inject={0}:error={2}:when={1}".format(*fault)] if fault else []
    command = ["strace", "-f", "-o", log, "-e", f"trace={','.join(CALLS)}", *inject]
    with subprocess.Popen([*command, "-p", str(process)], stderr=subprocess.PIPE) as strace:
        if b"attached" not in (words := strace.stderr.readline()):
            os.kill(process, signal.SIGKILL)
            raise RuntimeError(f"strace may not look at other processes here: {words.decode()}")
        os.close(go)
        status = _status(process)
    return status, log.read_text(errors="replace").splitlines()


def start_again(job, folder):
    """Run a job without strace, which takes half of the time; its status."""
    process, go = _forked(job, folder, 0)
    os.close(go)
    return _status(process)


def _forked(job, folder, seed):
    """Fork a process that runs a job as soon as the pipe that is returned with it is closed."""
    go, gone = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(gone)
        os.read(go, 1)
        _run(job, folder, seed, folder.with_suffix(".log"))
    os.close(go)
    return process, gone


def _status(process):
    end = time.monotonic() + _PATIENCE
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    return ended[1]


def _run(job, folder, seed, said):
    """Run a job in this process, which ends with it."""
    status = 1
    try:
        with said.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        job.run(folder, seed)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def most_calls(calls):
    """Call -> how often the thread that makes most of them does."""
    made = collections.Counter(re.findall(r"^(\d+) +(\w+)\(", "\n".join(calls), re.MULTILINE))
    return {
        call: max((n for (_, name), n in made.items() if name == call), default=0) for call in CALLS
    }


def attempt(job, old, new, folder, fault):
    """
    Let a call fail, look at the outputs, and start again.

    Parameters
    ----------
    job : Job
    old : Path
        Folder with the outputs of another seed, with which the run begins.
    new : Path
        Folder with what the run has to come to.
    folder : Path
        Where it runs; is made, and removed.
    fault : (str, int, str)

    Returns
    -------
    failed : bool
        Whether the run noticed and ended with an error.
    wrong : list of str
        What is neither old nor new, or not new although the run, or the second run, ended well.
    """
    shutil.copytree(old, folder)
    before, wanted = job.contents(old), job.contents(new)
    failed = start(job, folder, 0, fault)[0] != 0
    found = job.contents(folder)
    wrong = [
        f"{file} is neither the old one nor the new one"
        for file in sorted({*before, *wanted, *found})
        if found.get(file) not in (before.get(file), wanted.get(file))
    ]
    if not failed and found != wanted:
        wrong.append("it ended well without what it should have written")
    if failed and (start_again(job, folder) or job.contents(folder) != wanted):
        wrong.append("the second run did not end well")
    shutil.rmtree(folder)
    return failed, wrong


def run(counts, seed):
    """
    Let calls of each job fail.

    Parameters
    ----------
    counts : dict of int
        How many faults of a job in `JOBS`: of a call in `CALLS`, its number and an error by chance.
    seed : int
        Of the draw.

    Returns
    -------
    table : str
        Markdown.
    wrong : dict
        Fault -> what was wrong after it.
    """
    rng, rows, wrong = np.random.default_rng(seed), [], {}
    # Bars share a lock between processes, which one that ends amid a failed write keeps.
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    with tempfile.TemporaryDirectory() as work:
        for key, count in counts.items():
            job, folder = JOBS[key], Path(work, key, "run")
            old, new = folder.with_name("old"), folder.with_name("new")
            folder.mkdir(parents=True)
            _well(job, folder, 1)
            shutil.copytree(folder, old)
            made = most_calls(_well(job, folder, 0))
            folder.rename(new)
            failed = 0
            for call in tqdm(rng.choice([c for c in CALLS if made[c]], count), job.name):
                fault = call, int(rng.integers(made[call])) + 1, str(rng.choice(ERRORS))
                noticed, found = attempt(job, old, new, folder, fault)
                failed += noticed
                if found:
                    wrong[(key, *fault)] = found
            bad = sum(fault[0] == key for fault in wrong)
            rows.append(f"| {job.name} | {sum(made.values())} | {count} | {failed} | {bad} |")
    return "\n".join([_HEAD, *rows, "", _NOTE.format(seed=seed)]) + "\n", wrong


def _well(job, folder, seed):
    """Calls of a run that has to end well."""
    status, calls = start(job, folder, seed)
    if status:
        raise RuntimeError(folder.with_suffix(".log").read_text())
    return calls


_HEAD = """## Writes that failed

| run | calls | faults | ended with an error | lost or mixed something |
|:--|--:|--:|--:|--:|"""
_NOTE = """The n-th call of each thread, one kind of call a run (`write`, `pwrite64`, `fsync`,
`rename` or `openat`; seed {seed}), fails with ENOSPC or EIO, by `strace`. Each run begins with the
outputs of an earlier one. Afterwards each output has to be the old one or the new one, bit for bit,
all of them new where the run ended without an error; and a second run must come to the new ones."""
