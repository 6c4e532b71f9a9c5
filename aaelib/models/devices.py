"""Training on several devices or hosts: the one place that chooses TensorFlow's strategy."""

import functools
import os
from contextlib import contextmanager

import tensorflow as tf

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@functools.cache
def strategy():
    """
    Choose how a training step is distributed, from the environment.

    `MultiWorkerMirroredStrategy` where ``TF_CONFIG`` names two or more workers; it waits for all of
    them and must be made right after the imports, before TensorFlow computes anything.
    `MirroredStrategy` where there are several GPUs (or several logical CPUs). TensorFlow's default
    for a single device. Models and optimizers that are to be trained are made in its scope.

    Raises
    ------
    ValueError
        If ``TF_CONFIG`` is not as TensorFlow's documentation describes it.
    RuntimeError
        If ``TF_CONFIG`` names workers and TensorFlow has computed something already.
    """
    try:
        cluster = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec()
        if sum(map(cluster.num_tasks, cluster.jobs)) > 1:
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"TF_CONFIG is {os.environ['TF_CONFIG']!r}; workers are named as in {_EXAMPLE}"
        ) from error
    names = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(names) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in names])
    return tf.distribute.get_strategy()


def shared(batches):
    """
    Training batches of which each replica gets its share of the rows, step by step.

    Keras would give whole batches to one host or the other, so that a run that goes on after a kill
    would see other batches, or run out of them.

    Raises
    ------
    ValueError
        If replicas cannot share a batch evenly.
    """
    size, n_replicas = batches.element_spec.shape[0], strategy().num_replicas_in_sync
    if size % n_replicas:
        raise ValueError(
            f"{n_replicas} replicas cannot share batches of {size} evenly; choose a batch size "
            "that is a multiple of it, or fewer devices (CUDA_VISIBLE_DEVICES)"
        )
    return _dealt(batches.unbatch().batch(size // n_replicas)) if n_replicas > 1 else batches


def repeated(batches):
    """Endless batches that each replica gets in full: a small one may have too few rows for all."""
    n_replicas = strategy().num_replicas_in_sync
    copies = batches.flat_map(lambda each: tf.data.Dataset.from_tensors(each).repeat(n_replicas))
    return _dealt(copies)


def _dealt(parts):
    """Deal parts of batches out to replicas, again and again, one for each replica and step."""

    def of_host(context):
        # Without end: hosts would otherwise ask each other before each step whether one is left.
        return parts.shard(context.num_input_pipelines, context.input_pipeline_id).repeat()

    return strategy().distribute_datasets_from_function(of_host)


def is_chief():
    """Whether this process writes the files: the first of the workers."""
    return strategy().extended.should_checkpoint


def agree(number, what):
    """
    Wait for all workers, and check that they have the same number.

    Raises
    ------
    ValueError
        On every worker, if one has another number.
    """
    numbers = strategy().run(_constant, args=(tf.constant(number),))
    if float(strategy().reduce("MEAN", numbers, None)) != number:
        raise ValueError(
            f"{what} differs between the workers; start all of them with the same code, recipe, "
            "data and folder"
        )


@tf.function
def _constant(number):
    # In float64, sums of a few 32-bit numbers are exact.
    return tf.cast(tf.identity(number), tf.float64)


@contextmanager
def lost_workers_explained():
    """Raise a ConnectionError that says what to do when another worker is gone."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if not isinstance(strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            raise
        raise ConnectionError(
            "another worker is gone or was started anew; start all workers again with the same "
            "TF_CONFIG: training goes on after the last epoch that was finished"
        ) from error
