"""Random draws of training steps."""

import zlib

import tensorflow as tf


class Draws:
    """
    Random numbers that depend on a seed, a step, a purpose and a replica only.

    So a run that was cut off and resumed draws what it would have drawn. `step` is a variable.
    """

    def __init__(self, seed, step):
        self.seed, self.step = seed, step

    def normal(self, shape, purpose, std=1.0):
        """Draw from N(0, std^2)."""
        return tf.random.stateless_normal(shape, self._key(purpose), stddev=std)

    def uniform(self, shape, purpose):
        """Draw from [0, 1)."""
        return tf.random.stateless_uniform(shape, self._key(purpose))

    def part(self, clouds, count, purpose):
        """Draw `count` points of each cloud; all of them if `count` is None or too large."""
        n_points = clouds.shape[1]
        if not count or count >= n_points:
            return clouds
        shuffle = tf.random.experimental.stateless_shuffle
        return tf.gather(clouds, shuffle(tf.range(n_points), self._key(purpose))[:count], axis=1)

    def _key(self, purpose):
        label = tf.constant(zlib.crc32(purpose.encode()) // 2 ^ self.seed, tf.int32)
        key = tf.stack([label, tf.cast(self.step, tf.int32)])
        replica = tf.distribute.get_replica_context()  # None outside of a step
        if replica and replica.num_replicas_in_sync > 1:
            key = tf.random.experimental.stateless_fold_in(key, replica.replica_id_in_sync_group)
        return key
