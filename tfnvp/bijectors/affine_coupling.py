"""Real NVP's coupling: scale and shift one part of the variables by functions of the other."""

import math
from typing import Any

import keras
import tensorflow as tf

from tfnvp.arguments import check_one_of
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.bijectors.coupling import Coupling
from tfnvp.partitions import Partition

_SIGMOID_FLOOR = 1e-3
# Bound of the softclamp, whose slope at 0 is 1.
_SOFTCLAMP_BOUND = 2.0
_STEEPNESS = math.pi / (2.0 * _SOFTCLAMP_BOUND)

#: By the names of `scale`: functions of raw output and learned factor that give the log-scale.
LOG_SCALES = {
    "tanh": lambda raw, factor: factor * tf.tanh(raw),
    "sigmoid": lambda raw, factor: tf.math.log(tf.sigmoid(raw + 2.0) + _SIGMOID_FLOOR),
    # LiteRT has no `tf.atan`, and its `tf.atan2` takes two tensors of one shape.
    "softclamp": lambda raw, factor: tf.atan2(raw * _STEEPNESS, tf.ones_like(raw)) / _STEEPNESS,
    "exp": lambda raw, factor: raw,
    "double_sigmoid": lambda raw, factor: tf.nn.softplus(-raw) - math.log(2.0),
}


class AffineCoupling(Coupling):
    """Scales and shifts the moved variables by functions of the passed ones.

    With `(x1, x2) = partition.split(x)`, shift `t` and log-scale `s`::

        forward:  y1 = x1,  y2 = x2 * exp(s(x1)) + t(x1)       log|det J| =  sum s(x1)
        inverse:  x1 = y1,  x2 = (y2 - t(y1)) * exp(-s(y1))    log|det J| = -sum s(y1)

    The conditioner's raw output becomes a log-scale `s` by one of:

    | `scale` | log-scale `s` | bounds of `s` |
    |---|---|---|
    | `"tanh"` | `factor * tanh(raw)`, one learned factor per channel | ±factor, at first ±1 |
    | `"sigmoid"` | `log(sigmoid(raw + 2) + 0.001)` | -6.91 to 0.001 |
    | `"softclamp"` | `(4 / pi) * arctan(pi * raw / 4)` | ±2 |
    | `"exp"` | `raw` | none: can overflow |
    | `"double_sigmoid"` | `-log(2 * sigmoid(raw))` | at least -0.69 |

    Args:
      conditioner: Keras layer or model from the passed variables `[batch, *passed_shape]` to
        the parameters: either one tensor `[batch, ..., 2 * n]`, where `n` is the last axis of
        the moved variables, with the shifts first and the raw log-scales after them; or a pair
        `(shift, raw)` of tensors `[batch, *moved_shape]`. With `condition_shape` it is called
        with the list `[passed, condition]`.
      partition: a `tfnvp.partitions.Partition`.
      event_shape: int or tuple, shape of one event. Needed when the conditioner is not built
        yet (it is then built here), and with `scale="tanh"` for the size of the learned factor.
      scale: "tanh", "sigmoid", "softclamp", "exp" or "double_sigmoid", with which the inverse
        multiplies by a number between 0 and 2.
      condition_shape: int or tuple, shape of the `condition` that every call then takes.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      TypeError: if `conditioner` is not a Keras layer or `partition` not a partition.
      ValueError: if `scale` is unknown; if the conditioner is unbuilt and `event_shape` is not
        given; if the shapes of event, partition and conditioner do not fit; from calls, if the
        event shape is wrong or a condition is missing or unexpected.

    >>> import keras, tensorflow as tf, tfnvp
    >>> coupling = tfnvp.bijectors.AffineCoupling(
    ...     keras.layers.Dense(4, kernel_initializer="zeros"), tfnvp.partitions.Split(1), 3)
    >>> coupling.forward(tf.constant([[1.0, 2.0, 3.0]])).numpy().tolist()
    [[1.0, 2.0, 3.0]]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), equations 4 to 8; "double_sigmoid" is
    that of Kolesnikov, Pinto and Tschannen 2024 (Jet).
    """

    parameters_per_variable = 2

    def __init__(
        self,
        conditioner: Any,
        partition: Any,
        event_shape: Any = None,
        scale: str = "tanh",
        condition_shape: Any = None,
        name: str = "affine_coupling",
    ):
        parameters = dict(locals())
        check_one_of("scale", scale, sorted(LOG_SCALES))
        self.scale = scale
        self._factor = None
        if scale == "tanh":
            # One factor for all variables where the event's size is not known.
            size = 1
            if event_shape is not None and isinstance(partition, Partition):
                size = partition.shapes(event_shape_tuple(event_shape))[1][-1]
            dtype = getattr(conditioner, "variable_dtype", "float32")
            self._factor = keras.Variable(tf.ones(size), dtype=dtype, name="log_scale_factor")
        own = () if self._factor is None else (self._factor,)
        super().__init__(
            conditioner, partition, event_shape, condition_shape, parameters, name, own
        )

    @property
    def log_scale_bound(self) -> tf.Tensor | None:
        """The largest `|s|`: of each channel of the moved variables, or of all; None without one.

        "sigmoid" and "double_sigmoid" are bounded on one side only, and have none here.
        """
        if self.scale == "softclamp":
            return tf.constant(_SOFTCLAMP_BOUND)
        return None if self._factor is None else tf.abs(self._factor.value)

    def _log_scale(self, raw):
        factor = None if self._factor is None else tf.cast(self._factor.value, raw.dtype)
        return LOG_SCALES[self.scale](raw, factor)

    def _forward_moved(self, moved, shift, raw):
        log_scale = self._log_scale(raw)
        return moved * tf.exp(log_scale) + shift, log_scale

    def _inverse_moved(self, moved, shift, raw):
        log_scale = self._log_scale(raw)
        return (moved - shift) * tf.exp(-log_scale), -log_scale
