"""Starts the data-dependent parts of a flow from data."""

import keras
import numpy as np
import tensorflow as tf

from tfnvp.bijectors.adapt import adapt, adapts
from tfnvp.flows.training_data import batches


class Adaptation(keras.layers.Layer):
    """Walks data through a bijector, letting every member with `adapt` start from what it sees.

    A layer, so that "done" is a weight: a restored flow is not started again.

    Args:
      bijector: the bijector of the flow.
      rows: int, how many data points `run_once` uses.
    """

    def __init__(self, bijector, rows):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._rows = rows
        self.done = None
        if adapts(bijector):
            self.done = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="done"
            )
        self.built = True

    def run_once(self, flow, x, y):
        """Adapts to the beginning of training data, unless it has been done.

        Raises:
          ValueError: if the data is empty, or not finite.
        """
        if self.done is None or self.done.numpy():
            return
        pieces, count = [], 0
        for piece, condition in batches(flow, x, y):
            pieces.append((piece, condition))
            count += len(piece)
            if count >= self._rows:
                break
        if not pieces:
            raise ValueError("the training data is empty: it gave no batch")
        x = tf.concat([piece for piece, _ in pieces], axis=0)
        condition = None
        if pieces[0][1] is not None:
            condition = tf.concat([c for _, c in pieces], axis=0)
        for part in (x,) if condition is None else (x, condition):
            bad = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"the training data is not finite in {len(bad)} of its first {len(part)} rows, "
                    f"the first of them row {bad[0] + 1}; for a tf.data.Dataset, "
                    "`dataset.apply(tfnvp.data.FiniteRows())` leaves such rows out"
                )
        self.run(x[: self._rows], None if condition is None else condition[: self._rows])

    def run(self, x, condition):
        """Adapts to data points `x`, from the data side of the bijector to the latents."""
        adapt(self._bijector, x, condition)
        if self.done is not None:
            self.done.assign(1)
