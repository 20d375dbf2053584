"""Variables with a lower or upper bound, or both, from real numbers and back."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event
from tfnvp.precision import interior


class Bounds(Bijector):
    """Keeps every variable strictly inside of its bounds, each of which may be absent.

    ::

        both bounds:  y = low + (high - low) sigmoid(x)      x = log p - log q
        low alone:    y = low + exp(x)                       x = log(y - low)
        high alone:   y = high - exp(-x)                     x = -log(high - y)
        neither:      y = x                                  x = y

    with `p = (y - low) / (high - low)` and `q = (high - y) / (high - low)`, so that `y` always
    increases with `x`. Element by element, `log|dx/dy|` is `-log p - log q - log(high - low)`,
    `-log(y - low)`, `-log(high - y)` or 0.

    The density lies on the open interval: `inverse` is infinite on a bound and NaN beyond it, and
    what `forward` would round to a bound, or beyond, becomes the nearest number of its type that
    has a finite inverse. Bounds are rounded as data is, so a float64 number inside of a bound is
    never outside in float32. If data and bounds are multiplied by `c`, log-dets change by `-log c`;
    by nothing else in variables with both bounds, where `c` is a power of two.

    Args:
      low: lower bounds: a number, or an array or nested list of `event_shape`; None or -inf is no
        bound.
      high: upper bounds, as `low`; None or inf is no bound.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape, or any shape if both bounds
    are numbers; log-dets are element by element (event rank 0), in nats.

    Raises:
      ValueError: if the shapes differ, or no number of float32 lies between two bounds.

    >>> import tensorflow as tf, tfnvp
    >>> bounds = tfnvp.bijectors.Bounds(low=[0.0, 0.0, None], high=[None, 1.0, None])
    >>> bounds.forward(tf.constant([0.0, 0.0, -7.0])).numpy().tolist()
    [1.0, 0.5, -7.0]

    Source: the transforms of the Stan reference manual, "Constraint transforms", the one of a lone
    upper bound with the opposite sign.
    """

    def __init__(
        self,
        low: npt.ArrayLike | None = None,
        high: npt.ArrayLike | None = None,
        name: str = "bounds",
    ):
        parameters = dict(locals())
        self.low, self.high = arrays_of(low, high)
        interior(self.low, self.high, "float32")
        self.event_shape = self.low.shape
        super().__init__(0, parameters=parameters, name=name)

    def _is_increasing(self):
        return True

    def _forward_and_log_det(self, x):
        c = self._constants(x)
        zero = tf.zeros((), x.dtype)
        log_p = tf.where(c.both, -tf.nn.softplus(-x), tf.where(c.has_low, x, zero))
        log_q = tf.where(c.both, -tf.nn.softplus(x), tf.where(c.has_high, -x, zero))
        # From the nearer bound, whose distance keeps its digits.
        from_low = c.has_low & (~c.has_high | (x < 0.0))
        y = tf.where(from_low, c.low + c.span * tf.exp(log_p), c.high - c.span * tf.exp(log_q))
        y = tf.where(y < c.least, c.least, tf.where(y > c.largest, c.largest, y))
        return tf.where(c.has_low | c.has_high, y, x), log_p + log_q + c.log_span

    def _inverse_and_log_det(self, y):
        c = self._constants(y)
        one = tf.ones((), y.dtype)
        log_p = tf.math.log(tf.where(c.has_low, y - c.low, one) / c.span)
        log_q = tf.math.log(tf.where(c.has_high, c.high - y, one) / c.span)
        x = tf.where(c.has_low | c.has_high, log_p - log_q, y)
        return x, -(log_p + log_q + c.log_span)

    def _constants(self, x):
        check_event(self, x, self.event_shape)
        dtype = x.dtype.as_numpy_dtype
        low, high = self.low.astype(dtype), self.high.astype(dtype)
        has_low, has_high = np.isfinite(low), np.isfinite(high)
        # Harmless numbers where there is no bound: what is not chosen has a gradient, too.
        low, high = np.where(has_low, low, dtype(0)), np.where(has_high, high, dtype(0))
        span = np.where(has_low & has_high, high - low, dtype(1))
        log_span = np.log(span.astype("float64")).astype(dtype)
        limits = interior(self.low, self.high, dtype)
        return _Constants(low, high, has_low, has_high, has_low & has_high, span, log_span, *limits)


class _Constants(NamedTuple):
    """Bounds in the type of a tensor: `span` is 1 unless there are two, `least` is above `low`."""

    low: np.ndarray
    high: np.ndarray
    has_low: np.ndarray
    has_high: np.ndarray
    both: np.ndarray
    span: np.ndarray
    log_span: np.ndarray
    least: np.ndarray
    largest: np.ndarray


def arrays_of(low: npt.ArrayLike | None, high: npt.ArrayLike | None) -> tuple:
    """Returns ends of intervals as float64 arrays of one shape, infinite in place of None.

    Raises:
      ValueError: for other values, or other shapes.
    """
    try:
        return tuple(np.broadcast_arrays(_numbers(low, -np.inf), _numbers(high, np.inf)))
    except (TypeError, ValueError):
        raise ValueError(
            "`low` and `high` must be numbers or None, or arrays of them of one shape. "
            f"Received: low={low!r}, high={high!r}"
        ) from None


def _numbers(bounds, absent):
    """Returns bounds as float64, `absent` in place of None."""
    bounds = np.asarray(bounds, dtype=object)
    return np.where(np.equal(bounds, None), absent, bounds).astype("float64")
