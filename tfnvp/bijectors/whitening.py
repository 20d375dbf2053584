"""A fixed linear map that makes variables uncorrelated, with as little change as possible."""

import functools
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.arguments import is_number
from tfnvp.bijectors.bijector import Bijector, check_event, check_sample, event_shape_tuple
from tfnvp.precision import location_and_scale

# Added to the variances along the principal axes of data of unit variances.
_RIDGE = 1e-3


class Whitening(Bijector):
    """Zero-phase (ZCA) whitening: the linear map nearest to no map that decorrelates variables.

    With the events as vectors, the mean `m` of the data, the diagonal matrix `S` of its standard
    deviations, and `U diag(v) U^T` the covariance of `S^-1 (y - m)`::

        W = U diag(1 / sqrt(v + epsilon)) U^T S^-1

        forward:  y = W^-1 x + m     log|det J| = -log|det W|
        inverse:  x = W (y - m)      log|det J| =  log|det W|

    `W` and `m` come from `adapt`, or are given; they are saved but not trained. Decompositions
    and the log-det are computed in float64. In a flow whose forward direction generates, it is
    the member nearest to the data.

    Args:
      event_shape: int or tuple, shape of one event of `D` variables.
      mean: array of `event_shape`; default: zeros until `adapt`.
      matrix: invertible array `[D, D]`, the `W` of the inverse direction; default: the identity
        until `adapt`.
      epsilon: float above 0, added to the variances `v` along the principal axes, with `S` the
        identity: in the data's units, squared. Default: 1e-3 with the `S` above, so that the units
        of the variables do not matter, and one that is constant is only shifted.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if a shape does not fit, `epsilon` is not above 0 or `matrix` is singular.

    >>> import numpy as np, tfnvp
    >>> whitening = tfnvp.bijectors.Whitening(2, epsilon=1e-6)
    >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ [[3.0, 1.0], [0.0, 1.0]]
    >>> whitening.adapt(x)
    >>> bool(np.allclose(np.cov(whitening.inverse(x.astype("float32")).numpy().T, ddof=0),
    ...                  np.eye(2), atol=1e-3))
    True

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 5.1; Krizhevsky 2009, appendix A; Kessy,
    Lewin and Strimmer 2018 (the map with `S`, ZCA-cor); Ledoit and Wolf 2004 (few rows).
    """

    def __init__(
        self,
        event_shape: Any,
        mean: Any = None,
        matrix: Any = None,
        epsilon: float | None = None,
        name: str = "whitening",
    ):
        parameters = dict(locals())
        self.event_shape = event_shape_tuple(event_shape)
        size = math.prod(self.event_shape)
        if epsilon is not None and not (is_number(epsilon) and epsilon > 0):
            raise ValueError(f"`epsilon` must be a number above 0, or None. Received: {epsilon!r}")
        self.epsilon = None if epsilon is None else float(epsilon)
        stored = functools.partial(keras.Variable, trainable=False)
        self.mean = stored(tf.zeros(size), name="mean")
        self.matrix = stored(tf.eye(size), name="matrix")
        self.inverse_matrix = stored(tf.eye(size), name="inverse_matrix")
        self.log_det = stored(0.0, dtype="float64", name="log_det")
        variables = (self.mean, self.matrix, self.inverse_matrix, self.log_det)
        super().__init__(
            len(self.event_shape), variables, parameters, name, is_constant_jacobian=True
        )
        if mean is not None:
            self.mean.assign(_array(mean, self.event_shape, "mean").reshape(size))
        if matrix is not None:
            self._set_matrix(_array(matrix, (size, size), "matrix"))

    @property
    def is_initialized(self) -> bool:
        """Whether mean or matrix differ from 0 and the identity: `fit` of a flow keeps them."""
        moved = self.matrix.value != tf.eye(self.matrix.shape[0])
        return bool(tf.reduce_any(self.mean.value != 0.0) | tf.reduce_any(moved))

    def adapt(self, y: Any) -> None:
        """Sets mean and matrix so that `inverse(y)` has mean 0 and covariance near the identity.

        The covariance is shrunk towards a multiple of the identity, by the estimate of Ledoit and
        Wolf, if rows are no more than variables: these rows do not vary along some directions, in
        which others do. Without a given `epsilon` it always is.

        Args:
          y: `[batch..., *event_shape]`, a sample of what the inverse will see.

        Raises:
          ValueError: for another shape, or NaN.
        """
        y = np.asarray(check_sample(self, y), "float64").reshape((-1, self.mean.shape[0]))
        mean, scale = location_and_scale(y)
        rows = y - mean
        if self.epsilon is None:
            rows, epsilon = rows / scale, _RIDGE
            covariance = _covariance(rows, shrunk=True)
            constant = ~rows.any(axis=0)
            covariance[constant, constant] = 1.0
        else:
            scale, epsilon = np.ones_like(scale), self.epsilon
            covariance = _covariance(rows, shrunk=len(rows) <= rows.shape[1])
        variances, axes = np.linalg.eigh(covariance)
        self.mean.assign(mean)
        self._set_matrix((axes / np.sqrt(np.maximum(variances, 0.0) + epsilon)) @ axes.T / scale)

    def _set_matrix(self, matrix):
        # Inverse and log-det of the stored matrix, which is rounded.
        self.matrix.assign(matrix)
        matrix = np.asarray(self.matrix, "float64")
        sign, log_det = np.linalg.slogdet(matrix)
        if sign == 0 or not np.isfinite(log_det):
            raise ValueError("`matrix` must be invertible. Received: a singular matrix")
        self.inverse_matrix.assign(np.linalg.inv(matrix))
        self.log_det.assign(log_det)

    def _forward_and_log_det(self, x):
        matrix, mean, log_det = self._weights_for(x, self.inverse_matrix)
        y = tf.matmul(tf.reshape(x, (-1, mean.shape[0])), matrix, transpose_b=True)
        return tf.reshape(y, tf.shape(x)) + tf.reshape(mean, self.event_shape), -log_det

    def _inverse_and_log_det(self, y):
        matrix, mean, log_det = self._weights_for(y, self.matrix)
        x = tf.matmul(tf.reshape(y, (-1, mean.shape[0])) - mean, matrix, transpose_b=True)
        return tf.reshape(x, tf.shape(y)), log_det

    def _weights_for(self, x, matrix):
        check_event(self, x, self.event_shape)
        log_det = self._constant_log_det(x, self.log_det.value)
        return tf.cast(matrix.value, x.dtype), tf.cast(self.mean.value, x.dtype), log_det


def _covariance(rows, shrunk):
    """Covariance of centred rows `[n, D]`, as it is or by Ledoit's and Wolf's estimate."""
    # One centred row is 0: there is nothing to shrink.
    if not shrunk or len(rows) == 1:
        return rows.T @ rows / len(rows)
    from sklearn.covariance import ledoit_wolf

    return ledoit_wolf(rows, assume_centered=True)[0]


def _array(value, shape, name):
    array = np.asarray(value)
    if array.shape != tuple(shape):
        raise ValueError(f"`{name}` must have the shape {shape}. Received shape: {array.shape}")
    return array
