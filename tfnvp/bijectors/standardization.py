"""A fixed shift and scale of every variable, which gives data unit size."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event, check_sample, event_shape_tuple
from tfnvp.precision import location_and_scale


class Standardization(Bijector):
    """Subtracts a fixed mean from every variable and divides by a fixed deviation.

    ::

        forward:  y = mean + deviation * x      log|det J| =  sum log(deviation)
        inverse:  x = (y - mean) / deviation    log|det J| = -sum log(deviation)

    Both come from `adapt`, which computes them in float64; they are saved but not trained. So a
    flow that has this bijector next to the data learns the same in all units: if a variable is
    multiplied by `c` before training, its log-densities change by `-log c`, and by nothing else
    where `c` is a power of two. A variable that is constant in the sample is only shifted.

    Args:
      event_shape: int or tuple, shape of one event.
      robust: bool, whether `adapt` takes the median and the distance between the quartiles (over
        that of a standard normal, 1.349) instead of mean and standard deviation. A few values far
        from the others then have no effect on it.
      unchanged: array of bools of `event_shape`, true for variables that stay as they are, such as
        angles; or None.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if `event_shape` is invalid, or `unchanged` has another shape.

    >>> import tensorflow as tf, tfnvp
    >>> standardization = tfnvp.bijectors.Standardization(2)
    >>> standardization.adapt([[1.0, 2e-9], [3.0, 6e-9]])
    >>> standardization.inverse(tf.constant([[1.0, 6e-9]])).numpy().round(4).tolist()
    [[-1.0, 1.0]]

    Source: tfnvp.
    """

    def __init__(
        self,
        event_shape: Any,
        robust: bool = False,
        name: str = "standardization",
        unchanged: Any = None,
    ):
        parameters = dict(locals())
        self.event_shape = event_shape_tuple(event_shape)
        self.robust = bool(robust)
        self.unchanged = np.asarray(False if unchanged is None else unchanged, bool)
        if unchanged is not None and self.unchanged.shape != self.event_shape:
            raise ValueError(
                f"`unchanged` must have the shape {self.event_shape}. Received: {unchanged!r}"
            )
        stored = {"shape": self.event_shape, "trainable": False}
        self.mean = keras.Variable("zeros", name="mean", **stored)
        self.deviation = keras.Variable("ones", name="deviation", **stored)
        # In float64, since its error counts for every row.
        self.log_det = keras.Variable(0.0, dtype="float64", trainable=False, name="log_det")
        variables = (self.mean, self.deviation, self.log_det)
        super().__init__(len(self.event_shape), variables, parameters, name)

    @property
    def is_initialized(self) -> bool:
        """Whether mean or deviation differ from 0 and 1: `fit` of a flow then keeps them."""
        return bool(tf.reduce_any((self.mean.value != 0.0) | (self.deviation.value != 1.0)))

    def adapt(self, y: Any) -> None:
        """Sets mean and deviation so that `inverse(y)` has mean 0 and standard deviation 1.

        Args:
          y: `[batch..., *event_shape]`, a sample of what the inverse will see.

        Raises:
          ValueError: for another shape, or NaN.
        """
        y = np.asarray(check_sample(self, y)).reshape((-1, *self.event_shape))
        mean, deviation = location_and_scale(y, self.robust)
        self.mean.assign(np.where(self.unchanged, 0.0, mean))
        self.deviation.assign(np.where(self.unchanged, 1.0, deviation))
        self.log_det.assign(-np.log(np.asarray(self.deviation, "float64")).sum())

    def _forward_and_log_det(self, x):
        mean, deviation, log_det = self._weights_for(x)
        return mean + deviation * x, -log_det

    def _inverse_and_log_det(self, y):
        mean, deviation, log_det = self._weights_for(y)
        return (y - mean) / deviation, log_det

    def _weights_for(self, x):
        check_event(self, x, self.event_shape)
        log_det = self._constant_log_det(x, self.log_det.value)
        return tf.cast(self.mean.value, x.dtype), tf.cast(self.deviation.value, x.dtype), log_det
