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

        mean     <- mean     + rate * (batch mean     - mean)
        variance <- variance + rate * (batch variance - variance)

        rate = max(1 - momentum, 1 / n)     for the n-th batch

    and returns the *new* ones; a batch without rows changes nothing. Outside of training it returns
    what is stored. So the last training step and an evaluation right after it use the same numbers,
    and only the first batch is normalised by its own statistics alone.

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
        counts = {**stored, "shape": (), "dtype": "int32", "aggregation": "only_first_replica"}
        self.batches = self.add_weight(name="batches", initializer="zeros", **counts)
        self.built = True

    def call(self, x: tf.Tensor, training: bool = False) -> tuple:
        if x.dtype.size < 4:
            x = tf.cast(x, tf.float32)
        # Read here, before the update: a cast to its own type would return the variable.
        stored = [tf.cast(tf.identity(v.value), x.dtype) for v in (self.mean, self.variance)]
        if not training:
            return tuple(stored)
        rows, *moments = _moments_over_replicas(x, shift=stored[0])
        # A batch without rows, whose moments are NaN, does not count.
        moments = [tf.where(rows > 0, *pair) for pair in zip(moments, stored, strict=True)]
        batches = self.batches.value + tf.cast(rows > 0, tf.int32)
        least = 1 / tf.cast(tf.maximum(batches, 1), x.dtype)
        rate = tf.maximum(tf.cast(1 - self.momentum, x.dtype), least)
        changes = zip(stored, moments, strict=True)
        mean, variance = (old + rate * tf.stop_gradient(new - old) for old, new in changes)
        self._store(mean, variance, batches)
        return _with_gradients(mean, variance, *moments)

    def adapt(self, x: Any) -> None:
        """Sets the statistics to those of `x`, as if many batches had been seen."""
        mean, variance = tf.nn.moments(tf.reshape(x, (-1, self.channels)), axes=[0])
        self._store(mean, variance, round(1 / (1 - self.momentum)))

    def _store(self, mean, variance, batches):
        self.mean.assign(tf.cast(mean, self.mean.dtype))
        self.variance.assign(tf.cast(variance, self.variance.dtype))
        self.batches.assign(batches)

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
    """Mean and variance over the batches of all replicas, as `moments` gives in one process.

    Args:
      x: `[..., channels]`.
      shift: `[channels]`, the same in all replicas; near the mean, it keeps the variance precise.

    Returns:
      `(rows, mean, variance)`, with gradients into the batches of all replicas.
    """
    if not distribute.several():
        return tf.size(x), *moments(x)
    axes = list(range(x.shape.rank - 1))
    x = x - shift
    rows = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), x.dtype)
    sums = [rows, tf.reduce_sum(x, axes), tf.reduce_sum(x * x, axes)]
    rows, first, second = distribute.total(sums)
    mean = first / rows
    return rows, mean + shift, tf.maximum(second / rows - mean**2, 0.0)


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
