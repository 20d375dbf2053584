"""Arrays in batches, by a data set whose epochs start and end quickly."""

import math

import numpy as np
import tensorflow as tf

# Reads that run at the same time, and batches that are prefetched.
PREPARED = 2

# Numbers that one read takes; of small batches it takes several.
_READ_AT_ONCE = 2**16


def batched_arrays(arrays, batch_size, seed=None, finish=None):
    """Batches of arrays, in their order or shuffled anew in every epoch.

    TensorFlow sets up a data set anew in every epoch, which can take longer than the epoch of a
    small flow. So NumPy orders the rows, one `unbatch` replaces a nested data set, and one function
    reads several batches and finishes them.

    Args:
      arrays: array `[n, ...]`, or tuple or dictionary of such, with the same `n`.
      batch_size: int; the last, smaller batch of an epoch is kept.
      seed: function that returns the seed of an epoch, a pair of ints, when the epoch begins.
        Default: rows stay in their order.
      finish: function of `(batch, key)`, with a random key `[2]` for each read, that returns the
        rows of a batch as the data set yields them. Default: the batch.

    Returns:
      `tf.data.Dataset`.

    Raises:
      ValueError: if `batch_size` is not a positive int.
    """
    check_batch_size(batch_size)
    # Rows and their order stay in the memory of the host, also where there is a GPU.
    with tf.device("CPU:0"):
        arrays = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    leaves = tf.nest.flatten(arrays)
    n = len(leaves[0])
    size = min(batch_size, n)
    numbers = size * sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    size *= max(1, min(_READ_AT_ONCE // max(1, numbers), math.ceil(n / size)))
    reads = math.ceil(n / size)

    def order():
        generator = np.random.default_rng(None if seed is None else seed())
        places = np.zeros(reads * size, "int32")
        places[:n] = np.arange(n) if seed is None else generator.permutation(n)
        sizes = np.minimum(size, n - size * np.arange(reads, dtype="int32"))
        keys = generator.integers(2**31, size=(reads, 2), dtype="int32")
        return places.reshape(reads, size), sizes, keys

    def epoch(_):
        places, sizes, keys = tf.numpy_function(order, (), (tf.int32,) * 3)
        return (
            tf.ensure_shape(places, (reads, size)),
            tf.ensure_shape(sizes, (reads,)),
            tf.ensure_shape(keys, (reads, 2)),
        )

    def read(places, size, key):
        batch = tf.nest.map_structure(lambda rows: tf.gather(rows, places[:size]), arrays)
        return batch if finish is None else finish(batch, key)

    split = tf.data.Dataset.range(1).map(epoch).unbatch()
    batches = split.map(read, num_parallel_calls=PREPARED).rebatch(batch_size)
    return prepared(batches, math.ceil(n / batch_size))


def check_batch_size(batch_size):
    """Raises `ValueError` unless `batch_size` is a positive int."""
    is_int = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
    if not is_int or batch_size < 1:
        raise ValueError(f"`batch_size` must be a positive int. Received: {batch_size!r}")


def prepared(batches, count):
    """Sets the number of batches, prefetches some, and turns autotuning off."""
    batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    # Workers share out each batch: by files, some would have more steps than others.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # Measured on two cores: while tf.data tuned itself, steps took now and then twice their time.
    # And after an epoch that began with a compilation, its thread slept for as long as that took
    # before it let the next epoch begin.
    options.autotune.enabled = False
    return batches.prefetch(PREPARED).with_options(options)
