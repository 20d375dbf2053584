"""Learned dequantization: the noise of quantized data, moved within its bins."""

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.arguments import check_int
from tfnvp.bijectors import compose
from tfnvp.bijectors.bijector import Bijector, check_event, event_shape_tuple
from tfnvp.bijectors.logit import Logit
from tfnvp.bijectors.squeeze import Squeeze


class LearnedDequantization(Bijector):
    """Moves uniform noise within the bins of quantized data, as a learned flow says.

    Data is `x = (k + u) / levels` with whole grey levels `k` and noise `u` in (0, 1). With `f` the
    inverse of `inner`, a flow over images that takes the grey levels as its condition::

        forward:  y = (k + v) / levels,    v = sigmoid(f(logit(u); k))

        log|det J| = sum_d [log v'(w_d) - log v'(logit(u_d))] + log|det f'|,   w = f(logit(u); k)

    where `v'` is the derivative of the sigmoid. For uniform `u` the noise `v` has the density
    `q(v | k) = 1 / |det J|`, so that a flow that ends in `tfb.Invert(LearnedDequantization(...))`
    has::

        log p(x) = log p_rest((k + v) / levels) - log q(v | k)

    Its mean over `u` is the bound of variational dequantization on the log-probability of the grey
    levels, and training `p` and `q` by maximum likelihood maximises it. The whole is an ordinary
    density on [0, 1], and all else that a flow does stays as it is.

    Args:
      inner: `tfb.Bijector` from images `[height / 2, width / 2, 4 * channels]` to the same shape,
        squeezed noise, whose members can take a condition of that shape: the squeezed grey
        levels, from -1 to 1. As the identity, it leaves the noise uniform.
      event_shape: `(height, width, channels)`; height and width even.
      levels: int, number of grey levels, 2 or more.
      name: name of the bijector.

    `forward` maps `[..., height, width, channels]` in [0, 1] to the same shape, and log-dets have
    the batch shape and are in nats. Noise is rounded to `levels * eps` from the ends of its bin,
    with the `eps` of the dtype, since nearer numbers round to the next bin. `forward` of numbers
    outside of [0, 1] is NaN; `inverse`, which samples, takes the nearest number in [0, 1] for them.

    Raises:
      TypeError: if `inner` is not a bijector.
      ValueError: if `event_shape` is not that of images of even height and width, or `levels` is
        below 2.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> moved = tfnvp.bijectors.LearnedDequantization(
    ...     tfp.bijectors.Shift(-1.0), event_shape=(2, 2, 1), levels=4)
    >>> print(f"{float(moved.forward(tf.fill([1, 2, 2, 1], 0.125))[0, 0, 0, 0]):.3f}")
    0.183

    Source: Ho, Chen, Srinivas, Duan and Abbeel 2019 (Flow++), section 3.1; Hoogeboom, Cohen and
    Tomczak 2020 (Learning Discrete Distributions by Dequantization).
    """

    def __init__(
        self, inner: Any, event_shape: Any, levels: int, name: str = "learned_dequantization"
    ):
        parameters = dict(locals())
        if not isinstance(inner, tfp.bijectors.Bijector):
            raise TypeError(f"`inner` must be a tfb.Bijector. Received: {inner!r}")
        self.event_shape = event_shape_tuple(event_shape)
        self._squeeze, self._logit = Squeeze(), Logit(alpha=0.0)
        self._squeeze.forward_event_shape(tf.TensorShape(self.event_shape))
        check_int("levels", levels, least=2)
        self.inner, self.levels = inner, levels
        super().__init__(3, parameters=parameters, name=name)
        self._weights, self._foreign = tuple(inner.variables), compose.foreign_members(inner)

    @property
    def domain(self) -> tuple[float, float]:
        """The smallest and largest value that `forward` accepts."""
        return 0.0, 1.0

    def _forward_and_log_det(self, x):
        return self._move(x, inverse=True)

    def _inverse_and_log_det(self, y):
        return self._move(y, inverse=False)

    def _move(self, x, inverse):
        check_event(self, x, self.event_shape)
        # A flow over logits with `alpha` above 0 samples a little outside of [0, 1].
        inside = tf.clip_by_value(x, 0.0, 1.0)
        x = tf.where(x == inside, x, np.nan) if inverse else inside
        grey = tf.clip_by_value(tf.floor(x * self.levels), 0.0, self.levels - 1.0)
        margin = self.levels * np.finfo(x.dtype.as_numpy_dtype).eps
        noise = tf.clip_by_value(x * self.levels - grey, margin, 1.0 - margin)
        noise, log_det = self._logit.forward_and_log_det(noise, event_ndims=3)
        seen = self._squeeze.forward_and_log_det(2.0 * grey / (self.levels - 1.0) - 1.0)[0]
        moved, moved_log_det = compose.value_and_log_det(
            self.inner,
            self._squeeze.forward_and_log_det(noise)[0],
            3,
            seen if compose.takes_condition(self.inner) else None,
            inverse,
        )
        moved = self._squeeze.inverse_and_log_det(moved)[0]
        moved, last = self._logit.inverse_and_log_det(moved, event_ndims=3)
        moved = tf.clip_by_value(moved, margin, 1.0 - margin)
        return (grey + moved) / self.levels, log_det + moved_log_det + last
