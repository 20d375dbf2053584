"""Real NVP's batch normalization between couplings."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector, check_event, check_sample, event_shape_tuple
from tfnvp.running_statistics import RunningStatistics


class BatchNormalization(Bijector):
    """Normalises every channel by its mean and variance over recent batches.

    ::

        forward:  y = x * sqrt(variance + epsilon) + mean      log|det J| =  n/2 * sum log(v + e)
        inverse:  x = (y - mean) / sqrt(variance + epsilon)    log|det J| = -n/2 * sum log(v + e)

    over the channels, which are the entries of the last axis; `n` is the number of positions in
    the other axes of the event (1 for vectors).

    In training, which is inside a Keras model called with `training=True` as `fit` does, `inverse`
    moves the stored statistics towards those of its batch, `1 - momentum` of the way, and uses
    the result, with gradients as if the statistics followed the batch's at once, see
    `tfnvp.running_statistics.RunningStatistics`. Everywhere else, and in `forward` always, the
    stored statistics are used. Training and evaluation therefore agree: if training uses only the
    statistics of the batch, evaluations are known to explode.

    `adapt` sets the statistics to those of a sample, for example of the whole training set.

    Args:
      event_shape: int or tuple, shape of one event.
      momentum: float in [0, 1), share of the stored statistics that an update keeps.
      epsilon: float of at least 0, added to the variance, in its units. A channel that is constant
        up to rounding has the variance 1.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      ValueError: if `event_shape`, `momentum` or `epsilon` is invalid.

    >>> import tensorflow as tf, tfnvp
    >>> norm = tfnvp.bijectors.BatchNormalization(1)
    >>> norm.adapt(tf.constant([[1.0], [3.0]]))
    >>> norm.inverse(tf.constant([[1.0], [3.0]])).numpy().round(3).tolist()
    [[-1.0], [1.0]]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.7 and appendix E. The whole
    output of a coupling is normalised, as in the paper. The authors' released code normalises
    only the moved variables, counts masked zeros in their statistics, and by default uses those
    of the batch in training. Gradients: Ioffe 2017 (Batch Renormalization).
    """

    def __init__(
        self,
        event_shape: Any,
        momentum: float = 0.9,
        epsilon: float = 0.0,
        name: str = "batch_normalization",
    ):
        parameters = dict(locals())
        if not epsilon >= 0:
            raise ValueError(f"`epsilon` must be a number of at least 0. Received: {epsilon!r}")
        self.event_shape = event_shape_tuple(event_shape)
        self.epsilon = float(epsilon)
        self.statistics = RunningStatistics(self.event_shape[-1], momentum, name="statistics")
        super().__init__(len(self.event_shape), (self.statistics,), parameters, name)

    @property
    def is_initialized(self) -> bool:
        """Whether statistics of a batch are stored: `fit` of a flow then continues from them."""
        return bool(self.statistics.batches.value > 0)

    def adapt(self, y: Any) -> None:
        """Sets the statistics to those of a sample of what the inverse will see.

        Args:
          y: `[..., *event_shape]`.

        Raises:
          ValueError: for another shape, or NaN.
        """
        self.statistics.adapt(check_sample(self, y))

    def _forward_and_log_det(self, x):
        check_event(self, x, self.event_shape)
        # Generated data is scaled back by the statistics of the training data.
        mean, variance = self._moments(x, training=False)
        return x * tf.sqrt(variance) + mean, self._log_det(x, variance)

    def _inverse_and_log_det(self, y):
        check_event(self, y, self.event_shape)
        mean, variance = self._moments(y)
        return (y - mean) * tf.math.rsqrt(variance), -self._log_det(y, variance)

    def _moments(self, x, **training):
        mean, variance = self.statistics(x, **training)
        variance += self.epsilon
        step = tf.abs(mean) * np.finfo(mean.dtype.as_numpy_dtype).eps
        return mean, tf.where(variance > step**2, variance, tf.ones_like(variance))

    def _log_det(self, x, variance):
        positions = math.prod(self.event_shape[:-1])
        return self._constant_log_det(x, 0.5 * positions * tf.reduce_sum(tf.math.log(variance)))
