"""Reshapes and permutations of the last axes of a tensor, with any axes before them."""

from typing import Any

import numpy as np
import tensorflow as tf


def reshape_event(x: tf.Tensor, event_rank: int, event_shape: Any) -> tf.Tensor:
    """Gives the last `event_rank` axes of `x` the shape `event_shape`."""
    batch_rank, event_shape = x.shape.rank - event_rank, list(event_shape)
    reshaped = tf.reshape(x, tf.concat([tf.shape(x)[:batch_rank], event_shape], axis=0))
    reshaped.set_shape(x.shape[:batch_rank] + event_shape)
    return reshaped


def permute(x: tf.Tensor, order: Any, axis: int = -1) -> tf.Tensor:
    """Gathers an axis by a permutation; see `permute_by`."""
    return permute_by(x, order, np.argsort(order), axis)


def permute_by(x: tf.Tensor, order: Any, inverse: Any, axis: int = -1) -> tf.Tensor:
    """Gathers an axis by a permutation; its gradient gathers too, instead of scattering.

    The gradient's own gradient is TensorFlow's: a SavedModel keeps custom gradients of the first
    order only, and warns of others whenever it is loaded.

    Args:
      x: tensor.
      order: the permutation, as ints.
      inverse: the inverse permutation.
      axis: the axis that is permuted.
    """

    @tf.custom_gradient
    def gather(x):
        return tf.gather(x, order, axis=axis), lambda dy: tf.gather(dy, inverse, axis=axis)

    return gather(x)
