"""From arrays to batches that follow from a seed and the number of the epoch alone."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from tfnvp.data.dequantization import dequantize


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
      rows: array `[n, *event_shape]`: whole numbers from 0 to `levels - 1`, or real numbers.
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
      ValueError: if there are no rows, or `batch_size` is not a positive int.

    >>> import numpy as np
    >>> batches = training_dataset(np.zeros((10, 8, 8), "uint8"), 17, batch_size=4)
    >>> [len(batch) for batch in batches]
    [4, 4, 2]
    """
    if len(rows) == 0:
        raise ValueError(f"`rows` must not be empty. Received shape: {np.shape(rows)}")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be a positive int. Received: {batch_size!r}")
    seed = np.random.randint(2**31) if seed is None else seed % 2**31
    passes = itertools.count()
    # Rows and their order stay in the memory of the host, also where there is a GPU.
    with tf.device("CPU:0"):
        rows = tf.convert_to_tensor(rows)
    dataset = tf.data.Dataset.from_generator(
        lambda: [next(passes) if epoch is None else epoch.number],
        output_signature=tf.TensorSpec((), tf.int32),
    )
    dataset = dataset.flat_map(lambda number: _order(len(rows), seed, number)).batch(batch_size)
    dataset = dataset.map(
        lambda keys, places: _batch(tf.gather(rows, places), levels, flip, keys[0], places[0]),
        tf.data.AUTOTUNE,
    )
    steps = math.ceil(len(rows) / batch_size)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)


def _order(count, seed, epoch):
    """The places of all rows in the order of an epoch, each with the epoch's random key."""
    key = tf.stack([seed, epoch])
    order = tf.random.experimental.stateless_shuffle(tf.range(count), key)
    return tf.data.Dataset.from_tensor_slices((tf.tile(key[tf.newaxis], (count, 1)), order))


def _batch(rows, levels, flip, key, first):
    # No two batches of an epoch begin with the same row.
    for_noise, for_flips = tf.unstack(tf.random.split(tf.random.fold_in(key, first), alg="philox"))
    if flip:
        rows = tf.image.stateless_random_flip_left_right(rows, for_flips)
    return rows if levels is None else dequantize(rows, levels, seed=for_noise)
