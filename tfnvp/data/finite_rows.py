"""Leaves broken rows out of a stream, and counts them."""

import keras
import tensorflow as tf


class FiniteRows:
    """A transformation of data sets of batches that leaves out rows which are not finite.

    A row goes with its condition and its weight: if any of them holds NaN or infinity, all do.
    Batches get smaller, and vanish where nothing is left::

        finite = tfnvp.data.FiniteRows()
        flow.fit(dataset.apply(finite), ...)
        print(finite.skipped, "rows were left out")

    Nobody knows beforehand how many batches are left, so Keras says once, in the first epoch, that
    the input ran out of data.

    >>> import numpy as np, tensorflow as tf
    >>> rows = np.array([[1.0, 2.0], [np.nan, 0.0], [3.0, 4.0], [np.inf, 0.0]], "float32")
    >>> finite = FiniteRows()
    >>> dataset = tf.data.Dataset.from_tensor_slices(rows).batch(2).apply(finite)
    >>> [batch.shape[0] for batch in dataset.as_numpy_iterator()], finite.skipped
    ([1, 1], 2)
    """

    def __init__(self):
        with tf.device("CPU:0"):
            self._skipped = tf.Variable(0, dtype=tf.int64, trainable=False)

    @property
    def skipped(self):
        """How many rows were left out so far, over all passes."""
        return int(self._skipped)

    def __call__(self, dataset):
        return dataset.map(self._keep_finite).filter(
            lambda *batch: tf.shape(keras.tree.flatten(batch)[0])[0] > 0
        )

    def _keep_finite(self, *batch):
        parts = keras.tree.flatten(batch)
        good = tf.ones(tf.shape(parts[0])[:1], tf.bool)
        for part in parts:
            if part.dtype.is_floating:
                rows = tf.reshape(tf.math.is_finite(part), (tf.shape(part)[0], -1))
                good &= tf.reduce_all(rows, axis=1)
        self._skipped.assign_add(tf.reduce_sum(tf.cast(~good, tf.int64)))
        kept = keras.tree.map_structure(lambda part: tf.boolean_mask(part, good), batch)
        return kept if len(kept) > 1 else kept[0]
