"""Starts the data-dependent parts of a flow from data and conditions."""

import keras
import numpy as np
import tensorflow as tf

from tfnvp.bijectors.compose import adapts, initialize
from tfnvp.fitting.batches import spread_rows
from tfnvp.fitting.training_data import batches
from tfnvp.inputs import data_range


class Adaptation(keras.layers.Layer):
    """Walks data through a bijector, letting every member with `adapt` start from what it sees.

    Before that, conditioners that standardise conditions take their figures. A layer, so that
    "done" is a weight: a restored flow is not started again.

    Args:
      bijector: the bijector of the flow.
      condition_scale: the `ConditionScale` of the bijector's layers.
      rows: int, how many data points `run_once` uses.
    """

    def __init__(self, bijector, condition_scale, rows):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._condition_scale = condition_scale
        self._rows = rows
        self.done = None
        if condition_scale or adapts(bijector):
            self.done = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="done"
            )
        self.built = True

    def run_once(self, flow, x, y):
        """Adapts to rows of arrays, or the beginning of other data, unless it has been done.

        What has values already, from `adapt`, training or a checkpoint of the bijector, keeps them.

        Raises:
          ValueError: if the data is empty, or not finite.
        """
        if self.done is None or self.done.numpy():
            return
        is_array = isinstance(x, (np.ndarray, tf.Tensor, dict))  # Which was looked at before.
        x, y = spread_rows(x, y, self._rows)
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
                    + "; grey levels out of range become NaN in `dequantize`"
                    * bool(flow.levels)
                )
        if flow.levels is not None and not is_array:
            data_range.warn_of_levels(np.asarray(x), flow.levels)
        condition = None if condition is None else condition[: self._rows]
        self.run(x[: self._rows], condition, again=False)

    def run(self, x, condition, again=True):
        """Adapts to conditions, and to `x`, from the data side of the bijector to the latents."""
        self._condition_scale.adapt(condition, again)
        initialize(self._bijector, x, condition, again)
        if self.done is not None:
            self.done.assign(1)
