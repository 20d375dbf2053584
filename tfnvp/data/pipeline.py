"""From arrays to batches that follow from a seed and the number of the epoch alone."""

import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from tfnvp.data.dequantization import dequantize
from tfnvp.data.records import RecordStream

# Batches that are made at the same time, and that lie ready.
_PREPARED = 2

# Numbers that are read at once, several batches of them where batches are small.
_READ_AT_ONCE = 2**16


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
    number = passes.__next__ if epoch is None else lambda: epoch.number
    split = _split_stream if isinstance(rows, RecordStream) else _split_array
    batches, read = split(rows, batch_size, lambda: (seed, number()))
    dataset = batches.map(
        lambda batch, key: _augment(read(batch), levels, flip, key), num_parallel_calls=_PREPARED
    )
    steps = math.ceil(len(rows) / batch_size)
    dataset = dataset.rebatch(batch_size).apply(tf.data.experimental.assert_cardinality(steps))
    options = tf.data.Options()
    # Workers share out each batch: by files, some would have more steps than others.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # Measured on two cores: while tf.data tuned itself, steps took now and then twice their time.
    options.autotune.enabled = False
    return dataset.prefetch(_PREPARED).with_options(options)


def _split_array(rows, batch_size, seed):
    """Where the rows to read together are, with a random key; and a function that reads them.

    What a data set computes in TensorFlow is set up anew in every epoch, which can take longer than
    the epoch of a small flow. So NumPy orders an epoch, one `unbatch` cuts it, instead of a nested
    data set, and batches are read, several at once, by the function that also makes their noise.
    """
    # Rows and their order stay in the memory of the host, also where there is a GPU.
    with tf.device("CPU:0"):
        rows = tf.convert_to_tensor(rows)
    n, batch_size = len(rows), min(batch_size, len(rows))
    batches_at_once = max(1, _READ_AT_ONCE // (batch_size * math.prod(rows.shape[1:])))
    size = min(batches_at_once, math.ceil(n / batch_size)) * batch_size
    reads = math.ceil(n / size)

    def order():
        generator = np.random.default_rng(seed())
        places = np.zeros(reads * size, "int32")
        places[:n] = generator.permutation(n)
        sizes = np.minimum(size, n - size * np.arange(reads, dtype="int32"))
        keys = generator.integers(2**31, size=(reads, 2), dtype="int32")
        return places.reshape(reads, size), sizes, keys

    def batches(_):
        places, sizes, keys = tf.numpy_function(order, (), (tf.int32,) * 3)
        places = tf.ensure_shape(places, (reads, size))
        return (places, tf.ensure_shape(sizes, (reads,))), tf.ensure_shape(keys, (reads, 2))

    split = tf.data.Dataset.range(1).map(batches).unbatch()
    return split, lambda batch: tf.gather(rows, batch[0][: batch[1]])


def _split_stream(stream, batch_size, seed):
    """The batches of a stream, each with a random key; and the identity, as they are read."""

    def batches(_):
        key = tf.numpy_function(lambda: np.array(seed(), "int32"), (), tf.int32)
        key = tf.ensure_shape(key, (2,))
        numbered = stream.batches(batch_size, key).enumerate()
        return numbered.map(lambda i, batch: (batch, tf.random.fold_in(key, tf.cast(i, tf.int32))))

    return tf.data.Dataset.range(1).flat_map(batches), lambda batch: batch


def _augment(rows, levels, flip, key):
    if levels is None and not flip:
        return rows
    for_noise, for_flips = tf.unstack(tf.random.split(key))
    if flip:
        rows = tf.image.stateless_random_flip_left_right(rows, for_flips)
    return rows if levels is None else dequantize(rows, levels, seed=for_noise)
