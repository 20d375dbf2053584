"""NICE's last layer: one learned scale for every variable."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event, check_sample, event_shape_tuple
from tfnvp.precision import location_and_scale


class DiagonalScaling(Bijector):
    """Multiplies every variable by a learned positive scale.

    ::

        forward:  y = x * exp(log_scale)     log|det J| =  sum log_scale
        inverse:  x = y * exp(-log_scale)    log|det J| = -sum log_scale

    In a flow whose forward direction generates, `exp(log_scale)` are the standard deviations
    that NICE's paper shows as a spectrum; its own `S` is `exp(-log_scale)`.

    Args:
      event_shape: int or tuple, shape of one event.
      initial_log_scale: float, or array of `event_shape`.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if `event_shape` or the shape of `initial_log_scale` is invalid.

    >>> import tensorflow as tf, tfnvp
    >>> scaling = tfnvp.bijectors.DiagonalScaling(2, initial_log_scale=[0.0, 1.0])
    >>> scaling.forward_log_det_jacobian(tf.zeros([5, 2])).numpy().tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 3.3.
    """

    def __init__(
        self, event_shape: Any, initial_log_scale: float = 0.0, name: str = "diagonal_scaling"
    ):
        parameters = dict(locals())
        self.event_shape = event_shape_tuple(event_shape)
        try:
            initial = tf.cast(initial_log_scale, tf.float32)
            initial = tf.broadcast_to(initial, self.event_shape)
        except (tf.errors.InvalidArgumentError, ValueError):
            raise ValueError(
                f"`initial_log_scale` must be a number or an array of shape {self.event_shape}. "
                f"Received: {initial_log_scale!r}"
            ) from None
        self.log_scale = keras.Variable(initial, name="log_scale")
        super().__init__(
            len(self.event_shape),
            (self.log_scale,),
            parameters,
            name,
            is_constant_jacobian=True,
        )

    @property
    def is_initialized(self) -> bool:
        """Whether any scale differs from 1: `fit` of a flow then keeps them."""
        return bool(tf.reduce_any(self.log_scale.value != 0.0))

    def adapt(self, y: Any) -> None:
        """Sets the scales so that `inverse(y)` has unit standard deviation in each variable.

        The scale of a variable that is constant becomes 1.

        Args:
          y: `[batch..., *event_shape]`, a sample of what the inverse will see.

        Raises:
          ValueError: for another shape, or NaN.
        """
        rows = np.asarray(check_sample(self, y)).reshape((-1, *self.event_shape))
        self.log_scale.assign(np.log(location_and_scale(rows)[1]))

    def _forward_and_log_det(self, x):
        return self._scale(x, tf.cast(self.log_scale.value, x.dtype))

    def _inverse_and_log_det(self, y):
        return self._scale(y, -tf.cast(self.log_scale.value, y.dtype))

    def _scale(self, x, log_scale):
        check_event(self, x, self.event_shape)
        return x * tf.exp(log_scale), self._constant_log_det(x, tf.reduce_sum(log_scale))
