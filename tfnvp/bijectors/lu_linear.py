"""A learned linear map of all variables, or of channels, as a product of triangular matrices."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event, event_shape_tuple


class LULinear(Bijector):
    """A learned invertible matrix in LU form, after a fixed permutation.

    With events as vectors of `D` variables, a permutation `P`, `L` unit lower triangular and `U`
    upper triangular with the diagonal `exp(log_diagonal)`::

        inverse:  x = L U P y + b              log|det J| =  sum log_diagonal
        forward:  y = P^-1 U^-1 L^-1 (x - b)   log|det J| = -sum log_diagonal

    It starts as the permutation. Training goes through `inverse`, which costs two products of
    matrices; sampling goes through `forward`, which solves two triangular systems. Between
    couplings the map mixes all variables.

    With `per_pixel` the vectors are those of the last axis, such as the channels of each pixel of
    an image, which all have the same matrix: a 1x1 convolution. Log-dets are then those of one
    pixel times the number of pixels.

    Args:
      event_shape: int or tuple, shape of one event.
      permutation: sequence with each of `0` to `D - 1` once; variable `i` of `P y` is variable
        `permutation[i]` of `y`. Default: the identity.
      name: name of the bijector.
      per_pixel: bool, one map of the last axis, for all other axes of the event.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if `event_shape` is invalid or `permutation` does not permute its variables.

    >>> import tensorflow as tf, tfnvp
    >>> linear = tfnvp.bijectors.LULinear(3, permutation=[2, 0, 1])
    >>> linear.inverse(tf.constant([[1.0, 2.0, 3.0]])).numpy().tolist()
    [[3.0, 1.0, 2.0]]

    Source: Kingma and Dhariwal 2018 (Glow), section 3.2; Durkan, Bekasov, Murray and
    Papamakarios 2019 (Neural Spline Flows), section 3.1.
    """

    def __init__(
        self,
        event_shape: Any,
        permutation: Any = None,
        name: str = "lu_linear",
        per_pixel: bool = False,
    ):
        parameters = dict(locals())
        self.event_shape = event_shape_tuple(event_shape)
        pixels = math.prod(self.event_shape[:-1]) if per_pixel else 1
        self._pixels, size = pixels, math.prod(self.event_shape) // pixels
        self.permutation = np.asarray(range(size) if permutation is None else permutation)
        if sorted(self.permutation.tolist()) != list(range(size)):
            raise ValueError(
                f"`permutation` must hold each of 0 to {size - 1} once. Received: {permutation!r}"
            )
        shapes = {"lower": (size, size), "upper": (size, size), "log_diagonal": size, "bias": size}
        variables = [keras.Variable(tf.zeros(s), name=n) for n, s in shapes.items()]
        self.lower, self.upper, self.log_diagonal, self.bias = variables
        super().__init__(
            len(self.event_shape), variables, parameters, name, is_constant_jacobian=True
        )

    def _forward_and_log_det(self, x):
        lower, upper, bias, log_det = self._factors(x)
        y = tf.reshape(x, (-1, len(self.permutation))) - bias
        y = tf.linalg.triangular_solve(lower, tf.transpose(y), lower=True)
        y = tf.linalg.triangular_solve(upper, y, lower=False)
        y = tf.gather(tf.transpose(y), np.argsort(self.permutation), axis=-1)
        return tf.reshape(y, tf.shape(x)), -log_det

    def _inverse_and_log_det(self, y):
        lower, upper, bias, log_det = self._factors(y)
        x = tf.gather(tf.reshape(y, (-1, len(self.permutation))), self.permutation, axis=-1)
        x = tf.matmul(tf.matmul(x, upper, transpose_b=True), lower, transpose_b=True) + bias
        return tf.reshape(x, tf.shape(y)), log_det

    def _factors(self, x):
        """Returns `L`, `U` and `b` in the dtype of `x`, and the log-det of the inverse."""
        check_event(self, x, self.event_shape)
        size = len(self.permutation)
        variables = (self.lower, self.upper, self.log_diagonal, self.bias)
        lower, upper, log_diagonal, bias = (tf.cast(v.value, x.dtype) for v in variables)
        below = np.tril(np.ones((size, size)), -1).astype(x.dtype.as_numpy_dtype)
        lower = lower * below + tf.eye(size, dtype=x.dtype)
        upper = upper * below.T + tf.linalg.diag(tf.exp(log_diagonal))
        return (
            lower,
            upper,
            bias,
            self._constant_log_det(x, self._pixels * tf.reduce_sum(log_diagonal)),
        )
