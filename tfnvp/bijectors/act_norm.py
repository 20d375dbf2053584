"""A learned scale and shift for every channel, initialised from data."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event, check_sample, event_shape_tuple


class ActNorm(Bijector):
    """Scales and shifts every channel; the first batch sets both so that its output is normalised.

    ::

        forward:  y = x * exp(log_scale) + shift      log|det J| =  n * sum log_scale
        inverse:  x = (y - shift) * exp(-log_scale)   log|det J| = -n * sum log_scale

    over the channels, which are the entries of the last axis; `n` is the number of positions in
    the other axes of the event (1 for vectors).

    The first batch that it sees, in either direction, sets `log_scale` and `shift` to give
    outputs of mean 0 and variance 1 in every channel; a channel that is constant is only
    shifted. Whether that has happened is a saved variable, so a restored bijector keeps its
    weights.

    Args:
      event_shape: int or tuple, shape of one event.
      data_init: bool; with False the bijector is the identity until `adapt`.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if `event_shape` is invalid.

    >>> import tensorflow as tf, tfnvp
    >>> norm = tfnvp.bijectors.ActNorm(1)
    >>> norm.inverse(tf.constant([[1.0], [3.0]])).numpy().round(3).tolist()
    [[-1.0], [1.0]]

    Source: Kingma and Dhariwal 2018 (Glow), section 3.1.
    """

    def __init__(self, event_shape: Any, data_init: bool = True, name: str = "act_norm"):
        parameters = dict(locals())
        self.event_shape = event_shape_tuple(event_shape)
        channels = self.event_shape[-1:]
        self.log_scale = keras.Variable(tf.zeros(channels), name="log_scale")
        self.shift = keras.Variable(tf.zeros(channels), name="shift")
        start = 0 if data_init else 1
        self.initialized = keras.Variable(start, dtype="int32", trainable=False, name="initialized")
        variables = (self.log_scale, self.shift, self.initialized)
        super().__init__(
            len(self.event_shape), variables, parameters, name, is_constant_jacobian=True
        )

    @property
    def is_initialized(self) -> bool:
        """Whether scale or shift differ from 1 and 0: `fit` of a flow then keeps them."""
        return bool(tf.reduce_any((self.log_scale.value != 0.0) | (self.shift.value != 0.0)))

    def adapt(self, y: Any) -> None:
        """Sets scale and shift so that `inverse(y)` is normalised, and marks them as initialised.

        Args:
          y: `[..., *event_shape]`, a sample of what the inverse will see.

        Raises:
          ValueError: for another shape, or NaN.
        """
        self._adapt(check_sample(self, y), inverse=True)

    def _adapt(self, x, inverse):
        """Sets the weights so that `inverse(x)`, or else `forward(x)`, is normalised."""
        # Squares of small units leave the range of float32.
        x = tf.reshape(tf.cast(x, tf.float64), (-1, self.event_shape[-1]))
        mean, variance = tf.nn.moments(x, axes=[0])
        constant = tf.reduce_min(x, axis=0) == tf.reduce_max(x, axis=0)
        log_std = 0.5 * tf.math.log(tf.where(constant, tf.ones_like(variance), variance))
        shift, log_scale = (mean, log_std) if inverse else (-mean * tf.exp(-log_std), -log_std)
        self.shift.assign(tf.cast(shift, self.shift.dtype))
        self.log_scale.assign(tf.cast(log_scale, self.log_scale.dtype))
        self.initialized.assign(1)

    def _adapt_once(self, x, inverse):
        """Adapts to the first batch; graphs that are made later do not contain it."""
        with tf.init_scope():
            if tf.executing_eagerly() and self.initialized.numpy() == 1:
                return
        is_first = (self.initialized.value == 0) & (tf.size(x) > 0)
        tf.cond(is_first, lambda: self._adapt(x, inverse), lambda: None)

    def _weights_for(self, x, inverse):
        """Returns log-scale and shift in the dtype of `x`, which sets them if it is the first."""
        check_event(self, x, self.event_shape)
        self._adapt_once(x, inverse)
        return tf.cast(self.log_scale.value, x.dtype), tf.cast(self.shift.value, x.dtype)

    def _forward_and_log_det(self, x):
        log_scale, shift = self._weights_for(x, inverse=False)
        return x * tf.exp(log_scale) + shift, self._log_det(x, log_scale)

    def _inverse_and_log_det(self, y):
        log_scale, shift = self._weights_for(y, inverse=True)
        return (y - shift) * tf.exp(-log_scale), self._log_det(y, -log_scale)

    def _log_det(self, x, log_scale):
        positions = math.prod(self.event_shape[:-1])
        return self._constant_log_det(x, positions * tf.reduce_sum(log_scale))
