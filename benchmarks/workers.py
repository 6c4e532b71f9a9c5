"""
Training steps that one and two processes share, and what a model of their traffic says of more.

``python -m benchmarks workers`` starts the processes on this machine, each on a core of its own, so
that a second one brings a second core. ``python -m benchmarks.workers RECIPE BATCH STEPS`` is what
each of them runs.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import tables
from .measure import free_ports
from .rows import model, sockets

ROOT = Path(__file__).resolve().parents[1]
BATCH = 32
RECIPE = "compact"
_WARM = 5  # steps that compile and fill caches, not counted

# Nominal figures: what an application gets of the network, bytes a second, and what a message of
# a few bytes takes, seconds.
NETWORKS = {
    "1 Gbit Ethernet": (0.11e9, 100e-6),
    "10 Gbit Ethernet": (1.1e9, 50e-6),
    "100 Gbit, RDMA": (11e9, 5e-6),
}
COUNTS = (2, 4, 8, 16, 32)


# The model ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traffic:
    """
    What replicas have to add up in one training step.

    Parameters
    ----------
    parts : dict
        Optimizer -> (bytes of its gradients, its tensors, its updates in a step).
    """

    parts: dict

    @property
    def bytes(self):
        return sum(size * updates for size, _, updates in self.parts.values())

    @property
    def tensors(self):
        return sum(tensors * updates for _, tensors, updates in self.parts.values())

    def seconds(self, n, bandwidth, latency):
        """
        Time in which `n` workers add up their gradients in a ring.

        .. math:: \\frac{2 (n - 1)}{n} \\frac{B}{W} + 2 (n - 1) T \\lambda

        (Patarasuk and Yuan 2009): each of the T tensors, B bytes in all, goes round in n parts
        twice, to be added up and to be told. Messages of different tensors do not overlap here.

        Parameters
        ----------
        n : int
        bandwidth : float
            Bytes a second that a worker sends and receives at once.
        latency : float
            Seconds of a message that is empty.
        """
        rounds = 2 * (n - 1)
        return rounds / n * self.bytes / bandwidth + rounds * self.tensors * latency


def traffic(name):
    """Traffic of a recipe."""
    aae = model(name)
    players = {
        "autoencoder": (aae.autoencoder_optimizer, 1),
        "discriminator": (aae.discriminator_optimizer, aae.recipe.critic_steps),
        "generator": (aae.generator_optimizer, 1),
    }
    parts = {}
    for player, (optimizer, updates) in players.items():
        sizes = [4 * int(np.prod(shape)) for shape in optimizer_shapes(optimizer)]
        parts[player] = (sum(sizes), len(sizes), updates)
    return Traffic(parts)


def optimizer_shapes(optimizer):
    """Shapes of the variables that an Adam optimizer updates: those of its first moments."""
    return [v.shape for v in optimizer.variables if v.path.endswith("_momentum")]


# Measuring ------------------------------------------------------------------------------------


def timed(n_workers, batch, steps):
    """
    Start workers that share batches, each on a core of its own.

    Parameters
    ----------
    n_workers, batch, steps : int
        The batch is that of all workers together.

    Returns
    -------
    dict
        As `work` gives it, of the first worker.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < n_workers:
        raise RuntimeError(f"{n_workers} workers need as many cores; there are {len(cores)}")
    command = [sys.executable, "-m", "benchmarks.workers", RECIPE, str(batch), str(steps)]
    workers = []
    for config, core in zip(clusters(n_workers), cores[:n_workers], strict=True):
        workers.append(started(command, config))
        # Before it loads TensorFlow, which makes as many threads as there are cores for it.
        os.sched_setaffinity(workers[-1].pid, {core})
    return outputs(workers)[0]


def clusters(n_workers):
    """The `TF_CONFIG` of each worker of a cluster on this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(n_workers)]}
    return [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(n_workers)]


def started(command, config, **variables):
    """A worker's process, with pipes, and variables of its environment."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT), **variables}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, env=environment, **pipes)


def texts(workers, patience=900):
    """What workers print, to both pipes, within some seconds; none of them is left running."""
    try:
        return [worker.communicate(timeout=patience) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()


def outputs(workers, **options):
    """The last line that each worker prints, which is JSON; all of them must end well."""
    printed = texts(workers, **options)
    for worker, (_, errors) in zip(workers, printed, strict=True):
        if worker.returncode:
            raise RuntimeError(f"{' '.join(worker.args)} failed:\n{errors[-3000:]}")
    return [json.loads(output.splitlines()[-1]) for output, _ in printed]


def work(name, batch, steps):
    """
    What a worker measures: steps of a recipe, and sums over all workers by themselves.

    Returns
    -------
    dict
        "steps", seconds of each; where there are several workers, "empty" and "full", seconds in
        which they add up one number, and "bytes" bytes.
    """
    from aaelib.models import devices

    devices.strategy()
    import keras
    import tensorflow as tf

    from aaelib.models import autoencoder, recipes, training

    ends = []
    clock = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    with devices.strategy().scope():
        aae = autoencoder.AdversarialAutoencoder(recipes.recipe(name))
        aae.compile(*training.optimizers_of(aae.recipe, _WARM + steps))
    batches = tf.data.Dataset.from_tensors(tf.constant(sockets(batch))).repeat()
    aae.fit(devices.shared(batches), steps_per_epoch=_WARM + steps, callbacks=[clock], verbose=0)
    measured = {"steps": np.diff(ends[_WARM - 1 :]).tolist()}
    if devices.strategy().num_replicas_in_sync > 1:
        size = traffic(name).bytes // 4
        measured |= {"empty": _sum_time(1), "full": _sum_time(size), "bytes": 4 * size}
    return measured


def _sum_time(size):
    """Seconds in which workers add up so many numbers each, the median of some rounds."""
    import tensorflow as tf

    from aaelib.models import devices

    @tf.function
    def add(numbers):
        replica = tf.distribute.get_replica_context()
        # It is added up where the operation is that gives it; an argument has none.
        return replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(numbers))

    numbers, seconds = tf.zeros(size), []
    for _ in range(12):
        start = time.perf_counter()
        devices.strategy().run(add, args=(numbers,))
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[2:]))


# The table ------------------------------------------------------------------------------------


def run(steps, processor):
    """
    Measure and predict.

    Parameters
    ----------
    steps : int
        How many are timed.
    processor : str
        Its name, for the caption.

    Returns
    -------
    str
        Markdown.
    """
    needed = traffic(RECIPE)
    cells = [(1, BATCH // 2), (1, BATCH), (2, BATCH), (2, 2 * BATCH)]
    measured = {cell: timed(*cell, steps) for cell in cells}
    two = measured[2, BATCH]
    here = two["bytes"] / (two["full"] - two["empty"]), two["empty"] / 2
    medians = {cell: float(np.median(each["steps"])) for cell, each in measured.items()}
    predicted = {
        (n, batch): medians[1, batch // n] + needed.seconds(n, *here) for n, batch in cells if n > 1
    }
    parts = [
        f"**Measured**, recipe {RECIPE!r}, 2048 points, {steps} steps, each worker a process on a "
        "core of its own:",
        tables.markdown([_row(*cell, measured, medians, predicted) for cell in cells]),
        "**What workers add up** in a step:",
        tables.markdown([_part(player, *part) for player, part in needed.parts.items()]),
        f"**Predicted**, {BATCH} clouds a worker and step: the time of a step, and how much of it "
        "is not spent waiting for the network:",
        tables.markdown(_predictions(needed, medians[1, BATCH])),
        _caption(needed, *here, processor),
    ]
    return "\n\n".join(parts) + "\n"


def _row(n, batch, measured, medians, predicted):
    low, high = np.percentile(measured[n, batch]["steps"], [25, 75])
    seconds = medians[n, batch]
    expected = predicted.get((n, batch))
    return {
        "workers": n,
        "clouds a step, of all": batch,
        "time of a step": tables.duration(seconds, (high - low) / 2),
        "predicted": "" if expected is None else tables.duration(expected),
        "clouds a second": f"{batch / seconds:.0f}",
        f"against one worker with {BATCH}": f"x {batch / BATCH * medians[1, BATCH] / seconds:.2f}",
    }


def _part(player, size, tensors, updates):
    return {
        "optimizer": player,
        "gradients": f"{size / 1e6:.2f} MB",
        "tensors": tensors,
        "updates a step": updates,
        "a step": f"{size * updates / 1e6:.2f} MB",
    }


def _predictions(needed, alone):
    lines = []
    for network, figures in NETWORKS.items():
        totals = {n: alone + needed.seconds(n, *figures) for n in COUNTS}
        lines.append(
            {"network": network}
            | {
                f"{n} workers": f"{tables.duration(total)}, {alone / total:.0%}"
                for n, total in totals.items()
            }
        )
    return lines


def _caption(needed, bandwidth, latency, processor):
    nominal = "; ".join(
        f"{network} {w / 1e9:g} GB/s and {s * 1e6:g} µs" for network, (w, s) in NETWORKS.items()
    )
    return (
        "Medians of steps, ± half the distance between the quartiles. Predicted is the time of one "
        "worker with as many clouds as each has, as measured here, and that of a ring all-reduce "
        f"(Patarasuk and Yuan 2009), 2 (n - 1) / n x {needed.bytes / 1e6:.1f} MB / bandwidth + 2 "
        f"(n - 1) x {needed.tensors} tensors x latency. Between the two processes here, over "
        f"127.0.0.1, sums by themselves show {bandwidth / 1e9:.2g} GB/s and {latency * 1e6:.0f} "
        f"µs; of the networks, nominally, {nominal}. Assumed: all workers are as fast as this "
        "core, nothing is computed while gradients are on the way, no tensors are sent together, "
        "every link is free, and what else is exchanged (sums of the batch normalization, codes) "
        f"is negligible. *{processor}, {len(os.sched_getaffinity(0))} cores*"
    )


if __name__ == "__main__":
    print(json.dumps(work(sys.argv[1], *map(int, sys.argv[2:]))))
