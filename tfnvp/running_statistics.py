"""Mean and variance of every channel, as batch normalization needs them, also across replicas.

The maps of images are bound by memory on CPUs: TensorFlow's `tf.nn.moments`, a product and a sum
read and write an image some twenty times in a training step, its fused batch normalization five
times. The fused operation itself normalises by its own batch, which a flow must not; its parts do.
"""

from typing import Any

import keras
import tensorflow as tf

from tfnvp import distribute

# With fewer channels, plain reductions are as fast or faster.
_FEWEST_CHANNELS = 16

# Largest ratio of stored variance to batch variance that gradients use.
_MOST_RATIO = 100.0

_fused_batch_norm = tf.compat.v1.nn.fused_batch_norm


@keras.saving.register_keras_serializable("tfnvp")
class RunningStatistics(keras.layers.Layer):
    """Mean and variance of every channel over recent batches, the same in training and afterwards.

    In training, a call first moves the stored statistics towards those of its batch::

        variance <- (1 - rate) * variance + rate * batch variance
                    + rate * (1 - rate) * (batch mean - mean)^2
        mean     <- (1 - rate) * mean + rate * batch mean

        n    <- momentum * n + rows     for a batch of so many rows, and n = 0 at first
        rate  = rows / n

    and returns the *new* ones; a batch without rows changes nothing. So they are mean and variance
    of all rows so far, each times `momentum` to the power of the age of its batch, whatever the
    sizes of batches; with batches of one size the rate falls from 1 to `1 - momentum`. Outside of
    training it returns what is stored. So the last training step and an evaluation right after it
    use the same numbers, and only the first batch is normalised by its own statistics alone.

    Gradients are those of batch renormalization: as if the statistics followed the batch's at once,
    keeping their ratio and distance in deviations::

        d variance = variance / batch variance * d(batch variance)
        d mean     = d(batch mean) + (mean - batch mean) / (2 * batch variance) * d(batch variance)

    A shift or scale of all inputs then has no gradient, as it has no lasting effect. With gradients
    only through the batch's share in the new statistics, which is a tenth, weights grow along such
    directions without limit, and a flow of faces stays at 6.3 bits/dim instead of 4.2.

    A Keras layer, so that it trains or not by the context of the Keras call around it.

    Args:
      channels: int, size of the last axis.
      momentum: float in [0, 1), share of the stored statistics that an update keeps.
      **kwargs: arguments of `keras.layers.Layer`.

    Inputs: `[..., channels]`; outputs: the pair `(mean, variance)` of shapes `[channels]`, in the
    precision of the inputs but at least float32.

    Raises:
      ValueError: if `momentum` is out of range.

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.7 and appendix E, where
    gradients go only through the batch's share; Ioffe 2017 (Batch Renormalization), section 3.
    """

    def __init__(self, channels: int, momentum: float = 0.9, **kwargs):
        # Statistics are float32, with any dtype of the network around them.
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        if not 0 <= momentum < 1:
            raise ValueError(f"`momentum` must be a number in [0, 1). Received: {momentum!r}")
        self.channels = channels
        self.momentum = float(momentum)
        stored = {
            "shape": (channels,),
            "trainable": False,
            "autocast": False,
            "aggregation": "mean",
        }
        self.mean = self.add_weight(name="mean", initializer="zeros", **stored)
        self.variance = self.add_weight(name="variance", initializer="ones", **stored)
        counts = {**stored, "shape": (), "initializer": "zeros"}
        counts["aggregation"] = "only_first_replica"
        self.batches = self.add_weight(name="batches", dtype="int32", **counts)
        # 0 for statistics of `adapt`, and of files without it: batches of the next one's size.
        self.rows = self.add_weight(name="rows", dtype="float32", **counts)
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tuple:
        if x.dtype.size < 4:
            x = tf.cast(x, tf.float32)
        # Read here, before the update: a cast to its own type would return the variable.
        stored = [tf.cast(tf.identity(v.value), x.dtype) for v in (self.mean, self.variance)]
        if not training:
            return tuple(stored)
        *moments, rows = _moments_over_replicas(x, shift=stored[0])
        # A batch without rows, whose moments are NaN, does not count.
        moments = [tf.where(rows > 0, *pair) for pair in zip(moments, stored, strict=True)]
        kept = self.momentum * self._earlier_rows(rows)
        total = tf.where(rows > 0, kept + rows, self.rows.value)
        share = tf.cast(tf.math.divide_no_nan(rows, kept + rows), x.dtype)
        kept = 1 - share
        changes = zip(stored, moments, strict=True)
        mean, variance = (kept * old + share * tf.stop_gradient(new) for old, new in changes)
        variance += kept * share * tf.stop_gradient(moments[0] - stored[0]) ** 2
        self._store(mean, variance, self.batches.value + tf.cast(rows > 0, tf.int32), total)
        return _with_gradients(mean, variance, *moments)

    def _earlier_rows(self, rows):
        """Returns the rows of earlier batches, each times `momentum` to the power of its age."""
        batches = tf.minimum(tf.cast(self.batches.value, tf.float32), 1 / (1 - self.momentum))
        return tf.where(self.rows.value > 0, self.rows.value, batches * rows)

    def adapt(self, x: Any) -> None:
        """Sets the statistics to those of `x`, as if many batches had been seen."""
        # Squares of small units leave the range of float32.
        x = tf.reshape(tf.cast(x, tf.float64), (-1, self.channels))
        self._store(*tf.nn.moments(x, axes=[0]), round(1 / (1 - self.momentum)), 0.0)

    def _store(self, mean, variance, batches, rows):
        self.mean.assign(tf.cast(mean, self.mean.dtype))
        self.variance.assign(tf.cast(variance, self.variance.dtype))
        self.batches.assign(batches)
        self.rows.assign(rows)

    def load_own_variables(self, store: Any) -> None:
        # Files of 0.1.0 have no `rows`.
        stored = {name: store[name] for name in list(store.keys())}
        super().load_own_variables({"3": 0.0, **stored})

    def get_config(self) -> dict:
        return {**super().get_config(), "channels": self.channels, "momentum": self.momentum}


def _with_gradients(mean, variance, batch_mean, batch_variance):
    """Returns mean and variance, with gradients into those of the batch as described above."""

    def change(x):
        """Zero, with the gradient of `x`."""
        return x - tf.stop_gradient(x)

    # A batch in which a channel hardly varies says little, and would have a huge gradient.
    least = tf.maximum(tf.stop_gradient(batch_variance), variance / _MOST_RATIO)
    relative = tf.math.divide_no_nan(change(batch_variance), least)
    distance = tf.stop_gradient(mean - batch_mean)
    return mean + change(batch_mean) + 0.5 * distance * relative, variance * (1.0 + relative)


def _moments_over_replicas(x, shift):
    """Mean, variance and rows of the batches of all replicas, as `moments` gives in one process.

    Args:
      x: `[..., channels]`.
      shift: `[channels]`, the same in all replicas; near the mean, it keeps the variance precise.

    Returns:
      `(mean, variance, rows)`, with gradients into the batches of all replicas. Positions of images
      count as rows, as float32.
    """
    rows = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    if not distribute.several():
        return *moments(x), rows
    axes = list(range(x.shape.rank - 1))
    x = x - shift
    rows = tf.cast(rows, x.dtype)
    sums = [rows, tf.reduce_sum(x, axes), tf.reduce_sum(x * x, axes)]
    rows, first, second = distribute.total(sums)
    mean = first / rows
    variance = tf.maximum(second / rows - mean**2, 0.0)
    return mean + shift, variance, tf.cast(rows, tf.float32)


def moments(x: tf.Tensor) -> tuple:
    """Mean and variance of every channel, as `tf.nn.moments` over all axes but the last.

    Args:
      x: `[..., channels]`.

    Returns:
      The pair `(mean, variance)`, of shapes `[channels]`.
    """
    if not _is_fused(x) or x.dtype != tf.float32:
        return tf.nn.moments(x, list(range(x.shape.rank - 1)))
    return _fused_moments(x)


def scale_and_shift(x: tf.Tensor, scale: Any, shift: Any) -> tf.Tensor:
    """Returns `x * scale + shift`, in the type of `x`, with gradients for all three.

    Args:
      x: `[..., channels]`.
      scale: `[channels]`, float32 or the type of `x`.
      shift: the same.
    """
    if not _is_fused(x):
        return x * tf.cast(scale, x.dtype) + tf.cast(shift, x.dtype)
    # With mean 0 and variance 1, only scale and shift of the operation have an effect.
    channels, epsilon = x.shape[-1], 1e-3
    mean, variance = tf.zeros(channels), tf.fill([channels], 1 - epsilon)
    return _fused_batch_norm(x, scale, shift, mean, variance, epsilon, is_training=False)[0]


def _is_fused(x):
    known = x.shape.rank == 4 and x.shape[-1] is not None
    return known and x.shape[-1] >= _FEWEST_CHANNELS and x.dtype != tf.float64


@tf.custom_gradient
def _fused_moments(x):
    channels = x.shape[-1]
    _, mean, variance = _fused_batch_norm(x, tf.ones(channels), tf.zeros(channels))
    positions = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), x.dtype)
    # It gives the unbiased variance.
    variance *= (positions - 1) / positions

    def gradient(d_mean, d_variance):
        slope = 2 * d_variance / positions
        return scale_and_shift(x, slope, d_mean / positions - slope * mean)

    return (mean, variance), gradient
