"""Independent parts of the study side by side, in a process on each core."""

import io
import os
import warnings
from contextlib import redirect_stderr

import tensorflow as tf
from joblib import Parallel, cpu_count, delayed, parallel_config
from tqdm.auto import tqdm

from ..shapes.folders import end_with


def side_by_side(function, tasks, seconds, what):
    """
    Call a function for each of some tasks, in as many processes as there are cores.

    Each process computes on one thread: a training step gains little from a second one, and results
    do not depend on how many cores there are. With a GPU, one core or one task, or where
    ``TF_CONFIG`` names several hosts, all is done here, one after another.

    Parameters
    ----------
    function : function
        One that can be pickled, as its arguments and results.
    tasks : sequence of tuple
        Arguments of a call.
    seconds : sequence of float
        About how long each takes, for the progress bar.
    what : str
        The bar's title.

    Returns
    -------
    list
        Results, in the order of the tasks.
    """
    n, found = n_processes(len(tasks)), {}
    calls = (delayed(_call if n > 1 else _here)(i, function, task) for i, task in enumerate(tasks))
    # The bar counts time, as one task can take ten times as long as another.
    bar = "{l_bar}{bar}| {elapsed} gone, {remaining} left"
    with (
        parallel_config("loky", inner_max_num_threads=1),
        tqdm(total=max(sum(seconds), 1e-9), desc=what, bar_format=bar) as progress,
    ):
        for i, result, messages in Parallel(n, return_as="generator_unordered")(calls):
            found[i] = result
            progress.update(seconds[i])
            for message in messages:
                warnings.warn(message, stacklevel=2)
    return [found[i] for i in range(len(tasks))]


def n_processes(n_tasks):
    """How many tasks are done at once."""
    one = "TF_CONFIG" in os.environ or tf.config.list_physical_devices("GPU")
    return 1 if one else max(1, min(cpu_count(), n_tasks))


def _here(i, function, task):
    return i, function(*task), []


def _call(i, function, task):
    """Call a function in a process of its own: on one thread, with no bars, warnings returned."""
    end_with(os.getppid())
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with redirect_stderr(io.StringIO()), warnings.catch_warnings(record=True) as seen:
        return i, function(*task), [str(each.message) for each in seen]
