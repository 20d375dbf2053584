"""Pixels in [0, 1] to real numbers, and back."""

import tensorflow as tf

from tfnvp.arguments import is_number
from tfnvp.bijectors.bijector import Bijector, check_event


class Logit(Bijector):
    """The logit of values in [0, 1], kept `alpha` away from the ends.

    With `p = alpha + (1 - 2 alpha) x`, element by element::

        forward:  y = log(p) - log(1 - p)    log|dy/dx| = log(1 - 2 alpha) - log(p) - log(1 - p)
        inverse:  x = (sigmoid(y) - alpha) / (1 - 2 alpha)

    A flow that generates pixels ends in `tfb.Invert(Logit())`. Its samples can lie up to
    `alpha / (1 - 2 alpha)` outside [0, 1]: clip them for display.

    Args:
      alpha: float, at least 0 and below 0.5. With 0 the ends 0 and 1 map to infinity.
      name: name of the bijector.

    Any shape; log-dets are element by element (event rank 0), in nats.

    Raises:
      ValueError: if `alpha` is out of range.

    >>> import tensorflow as tf, tfnvp
    >>> tfnvp.bijectors.Logit().forward(tf.constant([0.5])).numpy().tolist()
    [0.0]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 4.1; the symmetric form
    `alpha + (1 - 2 alpha) x` is that of the authors' released code, where the paper has
    `alpha + (1 - alpha) x`.
    """

    def __init__(self, alpha: float = 0.05, name: str = "logit"):
        parameters = dict(locals())
        if not is_number(alpha) or not 0 <= alpha < 0.5:
            raise ValueError(f"`alpha` must be a number in [0, 0.5). Received: {alpha!r}")
        self.alpha = float(alpha)
        super().__init__(0, parameters=parameters, name=name)

    @property
    def domain(self) -> tuple[float, float]:
        """The smallest and largest value that `forward` accepts."""
        margin = self.alpha / (1.0 - 2.0 * self.alpha)
        return -margin, 1.0 + margin

    def _is_increasing(self):
        return True

    def _forward_and_log_det(self, x):
        check_event(self, x, ())
        span = 1.0 - 2.0 * self.alpha
        log_p = tf.math.log(self.alpha + span * x)
        # From 1 - x rather than 1 - p, which would lose the digits of a small alpha.
        log_q = tf.math.log(self.alpha + span * (1.0 - x))
        return log_p - log_q, tf.math.log(tf.cast(span, x.dtype)) - log_p - log_q

    def _inverse_and_log_det(self, y):
        check_event(self, y, ())
        span = 1.0 - 2.0 * self.alpha
        log_det = -tf.nn.softplus(-y) - tf.nn.softplus(y) - tf.math.log(tf.cast(span, y.dtype))
        return (tf.sigmoid(y) - self.alpha) / span, log_det
