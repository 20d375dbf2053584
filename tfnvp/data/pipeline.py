"""From arrays to batches that follow from a seed and the number of the epoch alone."""

import functools
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from tfnvp.data.records import RecordStream
from tfnvp.fitting.batches import PREPARED, batched_arrays, check_batch_size, without_tuning
from tfnvp.quantization import check_levels, dequantize


class Epoch(keras.callbacks.Callback):
    """Tells `training_dataset` which epoch it is; a Keras callback.

    With it a training that is resumed at some epoch sees the rows in the same order, with the same
    noise, as one that was never stopped.

    >>> import numpy as np, tfnvp
    >>> epoch = tfnvp.data.Epoch()
    >>> batches = training_dataset(np.eye(8), None, batch_size=4, seed=0, epoch=epoch)
    >>> flow = tfnvp.RealNVP(8, couplings=2, hidden_units=(8,))
    >>> flow.compile()
    >>> _ = flow.fit(batches, epochs=2, callbacks=[epoch], verbose=0)
    >>> epoch.number
    1
    """

    def __init__(self):
        super().__init__()
        self.number = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.number = epoch


def training_dataset(rows, levels, batch_size, seed=None, flip=False, epoch=None):
    """Batches of data, shuffled anew in every epoch, quantized data dequantized anew.

    Order, flips and noise are functions of the seed and the epoch, and of nothing else.

    Args:
      rows: array `[n, *event_shape]`: whole numbers from 0 to `levels - 1`, or real numbers. Or a
        `tfnvp.data.RecordStream` of such rows, whose order follows from seed and epoch.
      levels: int, number of grey levels; None for real numbers.
      batch_size: int; the last, smaller batch of an epoch is kept, and where there are fewer
        rows than this they make one batch.
      seed: int. Default: one from NumPy's global generator, so `keras.utils.set_random_seed`
        reproduces.
      flip: mirror images left to right with probability one half.
      epoch: `Epoch`, which must also be among the callbacks of `fit`. Default: the passes over
        the data set are counted.

    Returns:
      `tf.data.Dataset` of float32 `[batch, *event_shape]`.

    Raises:
      ValueError: if there are no rows, an array holds other numbers than `levels` grey levels, or
        `batch_size` is not a positive int.

    >>> import numpy as np
    >>> batches = training_dataset(np.zeros((10, 8, 8), "uint8"), 17, batch_size=4)
    >>> [len(batch) for batch in batches]
    [4, 4, 2]
    """
    if len(rows) == 0:
        raise ValueError(f"`rows` must not be empty. Received shape: {np.shape(rows)}")
    check_batch_size(batch_size)
    if levels is not None and isinstance(rows, np.ndarray):
        check_levels(rows, levels, "rows")
    seed = np.random.randint(2**31) if seed is None else seed % 2**31
    passes = itertools.count()
    number = passes.__next__ if epoch is None else lambda: epoch.number
    if not isinstance(rows, RecordStream):
        finish = None if levels is None and not flip else functools.partial(_augment, levels, flip)
        return batched_arrays(rows, batch_size, lambda: (seed, number()), finish)

    def of_stream(_):
        key = tf.numpy_function(lambda: np.array([seed, number()], "int32"), (), tf.int32)
        key = tf.ensure_shape(key, (2,))
        numbered = rows.batches(batch_size, key).enumerate()
        return numbered.map(lambda i, batch: (batch, tf.random.fold_in(key, tf.cast(i, tf.int32))))

    batches = tf.data.Dataset.range(1).flat_map(of_stream)
    batches = batches.map(functools.partial(_augment, levels, flip), num_parallel_calls=PREPARED)
    return without_tuning(batches, math.ceil(len(rows) / batch_size))


def _augment(levels, flip, rows, key):
    for_noise, for_flips = tf.unstack(tf.random.split(key))
    if flip:
        rows = tf.image.stateless_random_flip_left_right(rows, for_flips)
    return rows if levels is None else dequantize(rows, levels, seed=for_noise)
