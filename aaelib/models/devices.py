"""Training on several devices or hosts: which there are, and what each of them has to do."""

import functools
import os
from contextlib import contextmanager, nullcontext

import numpy as np
import tensorflow as tf

# Who may be named in TF_CONFIG: all of them train, and the first is the chief.
_ROLES = ("chief", "worker")
_EXAMPLE = (
    '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)


# Which there are ------------------------------------------------------------------------------


@functools.cache
def strategy():
    """
    How the work of a training step is shared out, as the environment says.

    ==============================================  ==========================================
    environment                                     strategy
    ==============================================  ==========================================
    ``TF_CONFIG`` names two or more workers         `tf.distribute.MultiWorkerMirroredStrategy`
    two or more GPUs, or logical CPUs if set up so  `tf.distribute.MirroredStrategy`
    anything else                                   None: one device does it all
    ==============================================  ==========================================

    Where ``TF_CONFIG`` names workers, this waits for all of them, and it must be called before
    TensorFlow computes anything else: first thing in a program. Later calls give the same.

    Returns
    -------
    tf.distribute.Strategy or None

    Raises
    ------
    ValueError
        If ``TF_CONFIG`` is not what TensorFlow's documentation says.
    RuntimeError
        If it names workers, but TensorFlow has computed something already.
    """
    if n_workers() > 1:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise RuntimeError(
                "TF_CONFIG names several workers, but TensorFlow has begun to compute alone; call "
                "aaelib.models.devices.strategy() first thing, right after the imports"
            ) from error
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return None


def scope():
    """What models and optimizers that are to be trained have to be made in, for ``with``."""
    return strategy().scope() if strategy() else nullcontext()


def n_workers():
    """How many processes train together; 1 without ``TF_CONFIG``."""
    return max(1, len(_workers()[0]))


def is_chief():
    """Whether this process is the one of them that writes files."""
    everybody, own = _workers()
    return not everybody or own == everybody[0]


@functools.cache
def _workers():
    """All workers of ``TF_CONFIG`` as (role, number), the chief first, and the own one."""
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    try:
        jobs = resolver.cluster_spec().as_dict()
        own = resolver.task_type, resolver.task_id
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(_not_understood("it cannot be read")) from error
    if unknown := sorted(set(jobs) - set(_ROLES)):
        raise ValueError(_not_understood(f"it has the roles {unknown}, accepted are {_ROLES}"))
    everybody = [(role, i) for role in _ROLES for i in range(len(jobs.get(role, ())))]
    if everybody and own not in everybody:
        raise ValueError(_not_understood(f"its task {own} is none of {everybody}"))
    return everybody, own


def _not_understood(why):
    return f"TF_CONFIG is {os.environ.get('TF_CONFIG')!r}: {why}; an example is {_EXAMPLE}"


# Between workers, outside of a step -----------------------------------------------------------


def from_chief(arrays):
    """
    Arrays as the chief has them.

    Parameters
    ----------
    arrays : list of numpy.ndarray
        Of the same shapes and types on all workers.

    Returns
    -------
    list of numpy.ndarray
        With one worker what was given.
    """
    if n_workers() == 1 or not arrays:
        return arrays
    received = strategy().run(_of_the_first, args=tuple(map(tf.constant, arrays)))
    return [_local(array).numpy() for array in received]


def chiefs(number):
    """An integer as the chief has it."""
    return int(from_chief([np.int32(number)])[0])


def agreed(digest, what):
    """
    Make sure that all workers are about the same.

    Parameters
    ----------
    digest : str
        Hexadecimal, as long on all workers.
    what : str
        What it is a digest of, for the message.

    Returns
    -------
    str
        `digest`.

    Raises
    ------
    ValueError
        On all workers, if they differ.
    """
    if n_workers() > 1:
        own = np.frombuffer(bytes.fromhex(digest), np.uint8).astype(np.int32)
        every = strategy().run(_gathered, args=(tf.constant(own)[None],))
        if (differ := (_local(every).numpy() != own).any(axis=1)).any():
            raise ValueError(
                f"{what}: {differ.sum()} of {len(differ)} replicas have another digest than this "
                "one; start all workers with the same code, recipe, data and folder"
            )
    return digest


def wait():
    """Wait until all workers are here."""
    agreed("00", "waiting")


@tf.function
def _of_the_first(*tensors):
    replica = tf.distribute.get_replica_context()
    # There is no broadcast: what all but the first leave at zero is added up.
    first = tf.equal(replica.replica_id_in_sync_group, 0)
    own = [tf.where(first, tensor, tf.zeros_like(tensor)) for tensor in tensors]
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, own)


@tf.function
def _gathered(tensor):
    # It is gathered where the operation is that gives the tensor; an argument has none.
    return tf.distribute.get_replica_context().all_gather(tf.identity(tensor), axis=0)


def _local(value):
    """One of the replicas' values, where all are equal."""
    return strategy().experimental_local_results(value)[0]


@contextmanager
def losses_told():
    """
    Say what to do when another worker is gone.

    Raises
    ------
    ConnectionError
        In place of what TensorFlow raises when workers cannot reach each other.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if n_workers() == 1:
            raise
        raise ConnectionError(
            "another worker is gone or was started anew; start all workers again with the same "
            "TF_CONFIG: training goes on after the last epoch that was finished"
        ) from error


# Input ----------------------------------------------------------------------------------------


def shared_out(batches):
    """
    Training batches of which each replica gets its rows.

    Every worker makes the whole batch, which is a function of seed and step, and keeps the rows of
    its own replicas: they are those of one process.

    Parameters
    ----------
    batches : tf.data.Dataset
        Of (batch_size, ...) tensors, of known shape.

    Returns
    -------
    tf.data.Dataset or tf.distribute.DistributedDataset
        For `keras.Model.fit`, with a number of steps; with one replica what was given.

    Raises
    ------
    ValueError
        If the rows cannot be shared out evenly.
    """
    if not strategy():
        return batches
    replicas, size = strategy().num_replicas_in_sync, batches.element_spec.shape[0]
    if not size or size % replicas:
        raise ValueError(
            f"batches of {size} cannot be shared out evenly among {replicas} replicas; choose a "
            "batch size that is a multiple of it, or fewer devices (CUDA_VISIBLE_DEVICES)"
        )
    rows = size // replicas

    def of_worker(context):
        local = replicas // context.num_input_pipelines
        first = rows * local * context.input_pipeline_id

        def parts(batch):
            own = batch[first : first + rows * local]
            shape = (local, rows, *batch.shape[1:])
            return tf.data.Dataset.from_tensor_slices(tf.reshape(own, shape))

        return _endless(batches.flat_map(parts))

    return strategy().distribute_datasets_from_function(of_worker)


def shown_to_all(batches):
    """
    Validation batches of which each replica gets all rows.

    So that the last one may have any number of rows, and values are those of one process.

    Parameters
    ----------
    batches : tf.data.Dataset

    Returns
    -------
    tf.data.Dataset or tf.distribute.DistributedDataset
        As `shared_out` gives.
    """
    if not strategy():
        return batches

    def of_worker(context):
        local = context.num_replicas_in_sync // context.num_input_pipelines
        return _endless(
            batches.flat_map(lambda batch: tf.data.Dataset.from_tensors(batch).repeat(local))
        )

    return strategy().distribute_datasets_from_function(of_worker)


def _endless(batches):
    # Workers would otherwise ask each other before every step whether there is one more.
    return batches.repeat().prefetch(2)


# In a step: what a replica is of all ----------------------------------------------------------


def n_replicas():
    """Over how many replicas the step is spread out that this is called in; 1 outside of one."""
    replica = tf.distribute.get_replica_context()
    return replica.num_replicas_in_sync if replica else 1


def own_rows(draw, shape):
    """
    This replica's rows of what is drawn at random for the whole batch.

    Parameters
    ----------
    draw : callable
        Of a shape; the same on all replicas.
    shape : (k,) int tensor or sequence
        Of this replica's rows.

    Returns
    -------
    tf.Tensor
        With one replica `draw(shape)`.
    """
    if n_replicas() == 1:
        return draw(shape)
    first = tf.distribute.get_replica_context().replica_id_in_sync_group * shape[0]
    every = draw(tf.stack([n_replicas() * shape[0], *tf.unstack(shape[1:])]))
    return every[first : first + shape[0]]


def all_rows(tensor):
    """The rows of all replicas, in order, on each of them; with one replica `tensor`."""
    if n_replicas() == 1:
        return tensor
    return tf.distribute.get_replica_context().all_gather(tensor, axis=0)


def averaged(gradients):
    """
    Gradients so scaled that what an optimizer makes of all replicas', their sum, is the mean.

    Parameters
    ----------
    gradients : list of tf.Tensor or None

    Returns
    -------
    list of tf.Tensor or None
    """
    if n_replicas() == 1:
        return gradients
    return [None if gradient is None else gradient / n_replicas() for gradient in gradients]
