"""Circular variables, of any interval whose ends are one point, from angles and back."""

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event
from tfnvp.bijectors.bounds import arrays_of
from tfnvp.precision import interior


class Angles(Bijector):
    """Maps angles in [-pi, pi) to circular variables, each of an interval of its own.

    Both ends of an interval are one point: 0 and 360 degrees, 0 and 24 hours. ::

        circular:  y = low + (high - low) (x / (2 pi) + 1/2  modulo 1)
                   x = 2 pi (y - low) / (high - low) - pi
        others:    y = x

    Element by element, `log|dx/dy|` is `log(2 pi / (high - low))`, or 0. What `forward` would round
    to `high` becomes `low`. `inverse` takes both ends, as -pi and pi, and is NaN beyond them. If
    data and intervals are multiplied by `c`, log-dets change by `-log c`, and by nothing else where
    `c` is a power of two.

    Args:
      low: lower ends of the intervals: a number, or an array or nested list of `event_shape`; None
        for variables that are not circular.
      high: upper ends, as `low`.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape, or any shape if both ends
    are numbers; log-dets are element by element (event rank 0), in nats.

    Raises:
      ValueError: if the shapes differ, a variable has one end alone, or no number of float32 lies
        between its ends.

    >>> import tensorflow as tf, tfnvp
    >>> angles = tfnvp.bijectors.Angles(low=[0.0, None], high=[360.0, None])
    >>> angles.forward(tf.constant([[0.0, 7.0], [3.1415927, 7.0]])).numpy().tolist()
    [[180.0, 7.0], [0.0, 7.0]]

    Source: tfnvp.
    """

    def __init__(self, low: npt.ArrayLike | None, high: npt.ArrayLike | None, name: str = "angles"):
        parameters = dict(locals())
        self.low, self.high = arrays_of(low, high)
        self.is_circular = np.isfinite(self.low)
        if np.any(self.is_circular != np.isfinite(self.high)):
            raise ValueError(
                "`low` and `high` must both be numbers, or both None where a variable is not "
                f"circular. Received: low={low!r}, high={high!r}"
            )
        interior(self.low, self.high, "float32")
        self.event_shape = self.low.shape
        super().__init__(0, parameters=parameters, name=name)

    def nearest(self, y: npt.ArrayLike, to: npt.ArrayLike) -> np.ndarray:
        """Moves circular variables by whole turns to where they are nearest to others.

        Args:
          y: `[..., *event_shape]`.
          to: of the shape of `y`.

        >>> Angles(0.0, 360.0).nearest([1.0, 1.0], [359.0, 2.0]).tolist()
        [361.0, 1.0]
        """
        y, span = np.asarray(y, "float64"), np.where(self.is_circular, self.high - self.low, 1.0)
        turns = np.rint((np.asarray(to, "float64") - y) / span)
        return np.where(self.is_circular, y + turns * span, y)

    def _forward_and_log_det(self, x):
        low, high, span, log_scale = self._constants(x)
        turns = x * (0.5 / math.pi) + 0.5
        y = low + span * (turns - tf.floor(turns))
        y = tf.where(self.is_circular, tf.where(y >= high, low, y), x)
        return y, tf.zeros_like(x) + log_scale

    def _inverse_and_log_det(self, y):
        low, high, span, log_scale = self._constants(y)
        x = ((y - low) / span - 0.5) * (2.0 * math.pi)
        x = tf.where((y >= low) & (y <= high), x, tf.constant(math.nan, y.dtype))
        return tf.where(self.is_circular, x, y), tf.zeros_like(y) - log_scale

    def _constants(self, x):
        """Returns both ends, their distance and its logarithm in turns, in the type of a tensor."""
        check_event(self, x, self.event_shape)
        dtype = x.dtype.as_numpy_dtype
        # Harmless numbers for other variables: what is not chosen has a gradient, too.
        low = np.where(self.is_circular, self.low, 0.0).astype(dtype)
        high = np.where(self.is_circular, self.high, 1.0).astype(dtype)
        span = high - low
        scale = np.where(self.is_circular, span.astype("float64") / (2.0 * math.pi), 1.0)
        return low, high, span, np.log(scale).astype(dtype)
