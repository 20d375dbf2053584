"""Starts the data-dependent parts of a flow from data."""

import itertools

import keras
import tensorflow as tf

from tfnvp.bijectors.log_det import condition_kwargs
from tfnvp.flows.inputs import batches

# Enough rows for a mean and a deviation; more would only cost time.
_ROWS = 4096


class Adaptation(keras.layers.Layer):
    """Walks data through a bijector, letting every member with `adapt` start from what it sees.

    A layer, so that "done" is a weight: a restored flow is not started again.
    """

    def __init__(self, bijector):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._members = [b for b in _members(bijector) if hasattr(b, "adapt")]
        self.done = None
        if self._members:
            self.done = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="done"
            )
        self.built = True

    def run_once(self, x, y):
        """Adapts to the beginning of training data, unless it has been done."""
        if self.done is None or int(self.done.value):
            return
        pieces, count = [], 0
        for piece, condition in batches(x, y):
            pieces.append((piece, condition))
            count += len(piece)
            if count >= _ROWS:
                break
        x = tf.concat([piece for piece, _ in pieces], axis=0)
        condition = None
        if pieces[0][1] is not None:
            condition = tf.concat([c for _, c in pieces], axis=0)
        self.run(x[:_ROWS], None if condition is None else condition[:_ROWS])

    def run(self, x, condition):
        """Adapts to data points `x`, from the data side of the bijector to the latents."""
        for member in _members(self._bijector):
            if member in self._members:
                member.adapt(x)
            x = member.inverse(x, **condition_kwargs(member, condition))
        if self.done is not None:
            self.done.assign(1)


def _members(bijector):
    """The members of a chain in the order in which its inverse applies them."""
    nested = getattr(bijector, "bijectors", None)
    if nested is None:
        return [bijector]
    return list(itertools.chain.from_iterable(_members(b) for b in nested))
