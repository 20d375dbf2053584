"""From arrays to batches."""

import tensorflow as tf

from tfnvp.data.dequantization import dequantize


def training_dataset(pixels, levels, batch_size, seed=None):
    """Batches of quantized data, shuffled and dequantized anew in every epoch.

    Args:
      pixels: array `[n, *event_shape]` of whole numbers from 0 to `levels - 1`.
      levels: int, number of grey levels.
      batch_size: int; the last, smaller batch of an epoch is kept.
      seed: int for shuffling; the noise follows TensorFlow's global seed.

    Returns:
      `tf.data.Dataset` of float32 `[batch, *event_shape]`.
    """
    dataset = tf.data.Dataset.from_tensor_slices(pixels)
    dataset = dataset.shuffle(len(pixels), seed=seed).batch(batch_size)
    dataset = dataset.map(lambda batch: dequantize(batch, levels), tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE)
