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
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from tqdm import tqdm

from aaelib.models import training  # noqa: F401: imported once, here: the runs are forks
from aaelib.shapes.resampling import resample_tree

from . import kills

CALLS = "write", "pwrite64", "fsync", "rename", "openat"
ERRORS = "ENOSPC", "EIO"
_PATIENCE = 300  # seconds, after which a run hangs


@dataclass(frozen=True)
class Job:
    """
    A run whose writes fail.

    Parameters
    ----------
    name : str
    run : callable
        Of a folder and a seed; another seed gives other outputs.
    outputs : str
        Pattern of the files in the folder that count.
    """

    name: str
    run: callable
    outputs: str

    def contents(self, folder):
        """Contents of the outputs, None of one that cannot be read."""
        found = {}
        for file in sorted(folder.glob(self.outputs)):
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


JOBS = {
    "train": Job("training, 2 epochs", _train, "run.*[!e]"),
    "resample": Job("resampling, 4 meshes", _resample, "clouds/*/*.npy"),
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
    log, said = folder.with_suffix(".calls"), folder.with_suffix(".log")
    go, gone = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(gone)
        os.read(go, 1)  # until it is traced
        _run(job, folder, seed, said)
    os.close(go)
    inject = ["-e", "inject={0}:error={2}:when={1}".format(*fault)] if fault else []
    command = ["strace", "-f", "-o", log, "-e", f"trace={','.join(CALLS)}", *inject]
    with subprocess.Popen([*command, "-p", str(process)], stderr=subprocess.PIPE) as strace:
        if b"attached" not in (words := strace.stderr.readline()):
            os.kill(process, signal.SIGKILL)
            raise RuntimeError(f"strace may not look at other processes here: {words.decode()}")
        os.close(gone)
        signal.alarm(_PATIENCE)
        status = os.waitpid(process, 0)[1]
        signal.alarm(0)
    return status, log.read_text(errors="replace").splitlines()


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


def faults_of(calls):
    """Every call that a run's first thread made, with its number: (call, number) pairs."""
    first = calls[0].split()[0]
    mine = (line.split()[1] for line in calls if line.startswith(f"{first} "))
    names = (found[0] for line in mine if (found := re.match(r"\w+(?=\()", line)))
    made = collections.Counter(name for name in names if name in CALLS)
    return [(name, number) for name in CALLS for number in range(1, made[name] + 1)]


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
        Is made, and removed.
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
    if failed and (start(job, folder, 0)[0] or job.contents(folder) != wanted):
        wrong.append("the second run did not end well")
    if not wrong:
        shutil.rmtree(folder)
    return failed, wrong


def run(counts, seed):
    """
    Let calls of each job fail.

    Parameters
    ----------
    counts : dict of int
        How many faults of a job in `JOBS`, drawn from all; None for every one.
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
    signal.signal(signal.SIGALRM, _hangs)
    with tempfile.TemporaryDirectory() as work:
        for key, count in counts.items():
            job, folder = JOBS[key], Path(work, key)
            for name, of in (("old", 1), ("new", 0)):
                (folder / name).mkdir(parents=True)
                status, _ = start(job, folder / name, of)
                if status:
                    raise RuntimeError((folder / f"{name}.log").read_text())
            shutil.copytree(folder / "old", folder / "counted")
            possible = faults_of(start(job, folder / "counted", 0)[1])
            chosen = rng.permutation(len(possible))[:count]
            failed = 0
            for index in tqdm(chosen, job.name, leave=False):
                fault = (*possible[index], str(rng.choice(ERRORS)))
                trial = attempt(job, folder / "old", folder / "new", folder / f"t{index}", fault)
                failed += trial[0]
                if trial[1]:
                    wrong[(key, *fault)] = trial[1]
            bad = sum(fault[0] == key for fault in wrong)
            rows.append(f"| {job.name} | {len(possible)} | {len(chosen)} | {failed} | {bad} |")
    return "\n".join([_HEAD, *rows, "", _NOTE.format(seed=seed)]) + "\n", wrong


def _hangs(*_):
    raise TimeoutError(f"a run hangs: it did not end in {_PATIENCE} s")


_HEAD = """# Writes that failed

| run | calls | faults | ended with an error | lost or mixed something |
|:--|--:|--:|--:|--:|"""
_NOTE = """One call a run, drawn from all of them (seed {seed}), fails with ENOSPC or EIO: `write`,
`pwrite64`, `fsync`, `rename` or `openat`, by `strace`. Each run begins with outputs of another seed in
place. Afterwards each output has to be the old one or the new one, bit for bit, all new where the run
ended without an error; and a second run has to come to the new ones."""
