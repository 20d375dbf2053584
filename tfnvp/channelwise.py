"""What batch normalization does to images, in as few passes over them as TensorFlow allows.

On CPUs these maps are bound by memory: TensorFlow's `tf.nn.moments`, a product and a sum read and
write an image some twenty times in a training step, its fused batch normalization five times. The
fused operation itself normalises by its own batch, which a flow must not; its parts do for ours.
"""

import tensorflow as tf

# With fewer channels, plain reductions are as fast or faster.
_FEWEST_CHANNELS = 16

_fused_batch_norm = tf.compat.v1.nn.fused_batch_norm


def moments(x):
    """Mean and variance of every channel, as `tf.nn.moments` over all axes but the last.

    Args:
      x: `[..., channels]`.

    Returns:
      The pair `(mean, variance)`, of shapes `[channels]`.
    """
    if not _is_fused(x) or x.dtype != tf.float32:
        return tf.nn.moments(x, list(range(x.shape.rank - 1)))
    return _fused_moments(x)


def scale_and_shift(x, scale, shift):
    """Returns `x * scale + shift`, in the type of `x`, with gradients for all three.

    Args:
      x: `[..., channels]`.
      scale: `[channels]`, float32 or the type of `x`.
      shift: the same.
    """
    if not _is_fused(x):
        return x * tf.cast(scale, x.dtype) + tf.cast(shift, x.dtype)
    # Normalised by mean 0 and variance 1, which leaves what comes after.
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
