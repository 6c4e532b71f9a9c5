"""Time things in turn, in one process, and find the memory that each needs, in one of its own."""

import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of each round, and of the first call, which compiles what is compiled."""

    seconds: np.ndarray
    first: float = np.nan

    @property
    def median(self):
        return float(np.median(self.seconds))

    @property
    def spread(self):
        """Half the distance between the quartiles."""
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low) / 2


def in_turn(functions, rounds=7, patience=30.0):
    """
    Time functions one after the other, round after round, so that all see the same machine.

    Parameters
    ----------
    functions : sequence of callable
        Each is called once before, which is timed but not counted.
    rounds : int
        Fewer, but at least three, when they take longer than `patience` seconds.
    patience : float

    Returns
    -------
    list of Timing
    """
    first = [_seconds(function) for function in functions]
    seconds = [[] for _ in functions]
    start = time.perf_counter()
    for i in range(rounds):
        for function, taken in zip(functions, seconds, strict=True):
            taken.append(_seconds(function))
        if i >= 2 and time.perf_counter() - start > patience:
            break
    return [Timing(np.array(taken), once) for taken, once in zip(seconds, first, strict=True)]


def _seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(slow, fast):
    """Median, smallest and largest ratio of two timings, round by round."""
    each = slow.seconds / fast.seconds
    return float(np.median(each)), float(each.min()), float(each.max())


def peak_memory(*arguments):
    """Gigabytes at most in use by a process of its own, ``python -m benchmarks peak ARGUMENTS``."""
    command = [sys.executable, "-m", "benchmarks", "peak", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def free_ports(count):
    """Ports of this machine that nothing listens on."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def own_peak_memory():
    """Gigabytes at most in use by this process so far."""
    try:
        # Linux's ru_maxrss is no less than that of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


@cache
def machine():
    """
    What this machine's processor does at best: operations and bytes a second.

    Returns
    -------
    dict
        "flops", single precision, of a large matrix product; "bytes", read and written by the
        sum of an array that fits in no cache and a number.
    """
    import tensorflow as tf

    a = tf.random.normal((2048, 2048))
    long = tf.random.normal((64 * 2**20,))
    product = min(in_turn([tf.function(lambda: tf.matmul(a, a))], 15)[0].seconds)
    total = min(in_turn([tf.function(lambda: long + 1.0)], 15)[0].seconds)
    return {"flops": 2 * 2048**3 / product, "bytes": 2 * 4 * 64 * 2**20 / total}


def roofline(flops=0.0, transferred=0.0):
    """Least seconds for so many operations and bytes (Williams et al. 2009)."""
    best = machine()
    return max(flops / best["flops"], transferred / best["bytes"])
