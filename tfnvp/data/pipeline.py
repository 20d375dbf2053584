"""From arrays to batches."""

import tensorflow as tf

from tfnvp.data.dequantization import dequantize


def training_dataset(rows, levels, batch_size, seed=None, flip=False):
    """Batches of data, shuffled anew in every epoch, quantized data dequantized anew.

    Args:
      rows: array `[n, *event_shape]`: whole numbers from 0 to `levels - 1`, or real numbers.
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
    dataset = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed=seed)
    if flip:
        dataset = dataset.map(tf.image.random_flip_left_right, tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size)
    if levels is not None:
        dataset = dataset.map(lambda batch: dequantize(batch, levels), tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)
