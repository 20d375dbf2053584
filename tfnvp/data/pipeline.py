"""Batches of rows, whose order and noise are functions of a seed and the epoch."""

import functools
import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_int
from tfnvp.data.splits import as_source
from tfnvp.fitting.batches import PREPARED, as_epoch
from tfnvp.quantization import check_levels, dequantize

# Batches that are drawn by one call: a call for each would take longer than a small flow's step.
_DRAWN_AT_ONCE = 16


class Epoch(keras.callbacks.Callback):
    """Tells `training_dataset` which epoch it is; a Keras callback.

    With it a resumed training sees the rows in the same order, with the same noise, as one that
    was never stopped.

    >>> import numpy as np, tfnvp
    >>> epoch = tfnvp.data.Epoch()
    >>> batches = training_dataset(np.eye(8), None, batch_size=4, seed=0, epoch=epoch)
    >>> flow = tfnvp.RealNVP(8, couplings=2, hidden_units=(8,))
    >>> flow.compile()
    >>> _ = flow.fit(batches, epochs=2, callbacks=[epoch], verbose=0)
    >>> epoch.number
    1
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.number = epoch


def training_dataset(
    rows: Any,
    levels: int | None,
    batch_size: int,
    seed: int | None = None,
    flip: bool = False,
    epoch: Epoch | None = None,
) -> tf.data.Dataset:
    """Batches of data, in a new order and with new dequantization noise in every epoch.

    Order, flips and noise are functions of the seed and the epoch, and of nothing else.

    Args:
      rows: array `[n, *event_shape]`, or another `tfnvp.data.DataSource` such as the training rows
        of records: whole numbers from 0 to `levels - 1`, or real numbers.
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
    source = as_source(rows)
    if not len(source):
        raise ValueError(f"`rows` must not be empty. Received shape: {source.shape}")
    check_int("batch_size", batch_size)
    if levels is not None and source.in_memory:
        check_levels(source.take(len(source)), levels, "rows")
    seed = np.random.randint(2**31) if seed is None else seed % 2**31
    passes = itertools.count()
    number = passes.__next__ if epoch is None else lambda: epoch.number
    finish = None if levels is None and not flip else functools.partial(_augment, levels, flip)
    return source.batches(batch_size, lambda: (seed, number()), finish)


class FiniteRows:
    """A transformation of data sets of batches that leaves out rows which are not finite.

    A row, its condition and its weight stay together: if any of them holds NaN or infinity, all
    three are left out. With a flow, so are rows that it cannot be trained on: outside of its
    support, such as negative numbers where it begins with a softplus, too large for float32, or
    with a label that its condition network's `Embedding` does not have. Batches
    get smaller, and empty batches are dropped::

        finite = tfnvp.data.FiniteRows(flow)
        flow.fit(dataset.apply(finite), ...)
        print(finite.skipped, "rows were left out")

    The number of batches is not known before the first epoch, so Keras warns once that the input
    ran out of data.

    Args:
      flow: a `tfnvp.Flow`, or None.

    >>> import numpy as np, tensorflow as tf
    >>> rows = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 4.0], [np.inf, 0.0]], "float32")
    >>> finite = FiniteRows()
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows).batch(2).apply(finite)
    >>> [batch.shape[0] for batch in dataset.as_numpy_iterator()], finite.skipped
    ([1, 1], 2)
    """

    def __init__(self, flow: Any = None) -> None:
        self._flow = flow
        with tf.device("CPU:0"):
            self._skipped = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def skipped(self) -> int:
        """How many rows were left out so far, over all passes."""
        return int(self._skipped)

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        def has_rows(*batch):
            return tf.shape(keras.tree.flatten(batch)[0])[0] > 0

        return dataset.map(self._keep_finite).filter(has_rows)

    def _keep_finite(self, *batch):
        parts = [part for part in keras.tree.flatten(batch) if part is not None]
        good = tf.ones(tf.shape(parts[0])[:1], tf.bool)
        for part in parts:
            if part.dtype.is_floating:
                rows = tf.reshape(tf.math.is_finite(part), (tf.shape(part)[0], -1))
                good &= tf.reduce_all(rows, axis=1)
        if self._flow is not None:
            spec = self._flow.data_spec
            good &= spec.mask_unusable_rows(*spec.unpack(spec.unpack_batch(batch)[0]))[2]
        self._skipped.assign_add(tf.reduce_sum(tf.cast(~good, tf.int64)))
        kept = keras.tree.map_structure(
            lambda part: None if part is None else tf.boolean_mask(part, good), batch
        )
        return kept if len(kept) > 1 else kept[0]


def _augment(levels, flip, rows, key):
    for_noise, for_flips = tf.unstack(tf.random.split(key))
    if flip:
        rows = tf.image.stateless_random_flip_left_right(rows, for_flips)
    return rows if levels is None else dequantize(rows, levels, seed=for_noise)


def noisy_batches(
    rows: np.ndarray,
    weight: np.ndarray,
    deviation: np.ndarray,
    batch_size: int,
    steps: int,
    seed: int,
) -> tf.data.Dataset:
    """A given number of batches of random rows with Gaussian noise, however few rows there are.

    ::

        batch[i] = rows[k] + deviation * e,    e ~ N(0, 1),    P(k) = weight[k] / sum(weight)

    One row of a batch comes from each of `batch_size` equal parts of the weights in their order, so
    few rows are in every batch about equally often. The batches are functions of the arguments and
    of nothing else, and a row of weight 2 gives the same ones as two equal rows behind each other.

    Args:
      rows: float32 `[n, *event_shape]`.
      weight: `[n]`, finite, 0 or more.
      deviation: standard deviation of the noise in the units of the rows, `[*event_shape]`.
      batch_size: int.
      steps: int, the number of batches.
      seed: int.

    Returns:
      `tf.data.Dataset` of float32 `[batch_size, *event_shape]`.

    >>> import numpy as np
    >>> rows = np.float32([[0.0, 0.0], [5.0, 5.0]])
    >>> weight, deviation = np.array([1.0, 0.0]), np.array([0.0, 0.0])
    >>> batches = noisy_batches(rows, weight, deviation, batch_size=4, steps=3, seed=0)
    >>> [float(batch.numpy().max()) for batch in batches]
    [0.0, 0.0, 0.0]
    """
    generator = np.random.default_rng(seed)
    ends = np.cumsum(weight, dtype="float64")
    shares = (np.arange(batch_size) + generator.random((steps, batch_size))) / batch_size
    places = np.searchsorted(ends, shares * ends[-1], side="right").astype("int32")
    keys = generator.integers(2**31, size=(steps, 2), dtype="int32")
    with tf.device("CPU:0"):
        rows, deviation = (tf.constant(part, tf.float32) for part in (rows, deviation))

    def draw(places, keys):
        clean = tf.gather(rows, places)
        return clean + deviation * tf.random.stateless_normal(tf.shape(clean), keys[0])

    places = tf.data.Dataset.from_tensor_slices((np.minimum(places, len(rows) - 1), keys))
    batches = places.batch(_DRAWN_AT_ONCE).map(draw, num_parallel_calls=PREPARED).unbatch()
    return as_epoch(batches, steps)
