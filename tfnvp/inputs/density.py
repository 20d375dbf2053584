"""Log-densities of rows that have none: -inf where the density is 0, NaN where nothing is known."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfnvp.inputs.support import all_of_row

_weights_are_finite = contextvars.ContextVar("weights_are_finite", default=False)


@contextlib.contextmanager
def finite_weights() -> Iterator[None]:
    """Leaves out the check of weights from graphs made in this context, since it was made."""
    token = _weights_are_finite.set(True)
    try:
        yield
    finally:
        _weights_are_finite.reset(token)


def mark_density_zero(
    flow: Any, nats: tf.Tensor, inside: tf.Tensor, given: tf.Tensor, condition: Any
) -> tf.Tensor:
    """Returns -inf for rows outside of the support or beyond float32, and NaN only for NaN.

    Args:
      flow: a `tfnvp.Flow`, whose weights make every row NaN if they are not finite.
      nats: `[batch]`, log-densities.
      inside: bool `[batch]`, false for rows outside of the support.
      given: `[batch, ...]`, the data or the latents of the rows.
      condition: `[batch, *condition_shape]`, or None.
    """

    def mark():
        known = all_of_row(~tf.math.is_nan(given))
        if condition is not None:
            known &= all_of_row(tf.math.is_finite(condition))
        overflows = inside & tf.math.is_nan(nats)
        if not _weights_are_finite.get():
            # Weights are read only where they can be the cause: there are many of them.
            known &= ~overflows | tf.cond(
                tf.reduce_any(overflows & known), lambda: _are_finite(flow.weights), lambda: True
            )
        without = tf.where(known, tf.constant(float("-inf"), nats.dtype), float("nan"))
        return tf.where(inside & ~overflows & known, nats, without)

    # Nearly always there is nothing to mark.
    return tf.cond(tf.reduce_all(inside & tf.math.is_finite(nats)), lambda: nats, mark)


def _are_finite(weights):
    values = (tf.convert_to_tensor(weight.value) for weight in weights)
    return tf.reduce_all(
        [tf.reduce_all(tf.math.is_finite(v)) for v in values if v.dtype.is_floating] or [True]
    )
