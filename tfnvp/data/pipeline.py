"""From arrays to batches."""

import itertools
import math

import numpy as np
import tensorflow as tf

from tfnvp.data.dequantization import dequantize
from tfnvp.data.records import RecordStream


def training_dataset(rows, levels, batch_size, seed=None, flip=False):
    """Batches of data, shuffled anew in every epoch, quantized data dequantized anew.

    Args:
      rows: array `[n, *event_shape]`: whole numbers from 0 to `levels - 1`, or real numbers. Or a
        `tfnvp.data.RecordStream` of such rows, whose order follows from seed and epoch.
      levels: int, number of grey levels; None for real numbers.
      batch_size: int; the last, smaller batch of an epoch is kept.
      seed: int for shuffling; noise and flips follow TensorFlow's global seed.
      flip: mirror images left to right with probability one half.

    Returns:
      `tf.data.Dataset` of float32 `[batch, *event_shape]`.

    >>> import numpy as np
    >>> batches = training_dataset(np.zeros((10, 8, 8), "uint8"), 17, batch_size=4)
    >>> [len(batch) for batch in batches]
    [4, 4, 2]
    """
    if isinstance(rows, RecordStream):
        dataset = _stream(rows, batch_size, seed)
    else:
        dataset = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=seed)
        dataset = dataset.batch(batch_size)
    if flip:
        dataset = dataset.map(tf.image.random_flip_left_right, tf.data.AUTOTUNE)
    if levels is not None:
        dataset = dataset.map(lambda batch: dequantize(batch, levels), tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _stream(stream, batch_size, seed):
    """Batches of a stream, in another order in every pass; workers share out each batch."""
    seed = np.random.randint(2**31) if seed is None else seed % 2**31
    passes = itertools.count()
    dataset = tf.data.Dataset.from_generator(
        lambda: [next(passes)], output_signature=tf.TensorSpec((), tf.int32)
    )
    dataset = dataset.flat_map(lambda epoch: stream.batches(batch_size, tf.stack([seed, epoch])))
    steps = math.ceil(len(stream) / batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    # By files, some workers would have more steps than others.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options)
