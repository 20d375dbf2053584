"""Quantized data: grey levels, dequantization noise, bits per dimension."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp.arguments import check_int, unmasked


def check_levels(pixels: np.ndarray, levels: int, name: str = "pixels") -> None:
    """Raises `ValueError` for numbers that are not whole, or out of the range of grey levels.

    >>> import numpy as np
    >>> check_levels(np.array([0, 16]), levels=17)
    """
    if not pixels.size:
        return
    if pixels.dtype.kind == "f" and len(parts := pixels[pixels != np.floor(pixels)]):
        raise ValueError(f"`{name}` must hold whole grey levels. Received: {parts[0]}")
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > levels - 1:
        low, high = (int(value) if np.isfinite(value) else value for value in (low, high))
        is_of_256 = levels == 2 and low >= 0 and 127 < high < 256
        two = f"; `{name} > 127` makes two levels of 256" * is_of_256
        raise ValueError(
            f"`{name}` must hold grey levels from 0 to levels - 1 = {levels - 1}{two}. "
            f"Received: values from {low} to {high}"
        )


def dequantize(pixels: Any, levels: int = 256, seed: Any = None) -> tf.Tensor:
    """Spreads whole grey levels uniformly over unit bins and scales them to [0, 1).

    ::

        x = (pixel + u) / levels,    u uniform in [0, 1)

    In a `tf.data` pipeline, without a seed, every pass draws new noise. A density `p(x)` of the
    result gives `log p(x) - D log levels` as a lower bound on the log-probability of the pixels.

    Args:
      pixels: array or tensor of whole numbers from 0 to `levels - 1`.
      levels: int, number of grey levels.
      seed: pair of ints for reproducible noise; default: new noise at every call.

    Returns:
      float32 tensor of the same shape.

    Raises:
      ValueError: if `levels` is below 2, or pixels are out of range or no whole numbers. In
        tensors such pixels become NaN instead, as do the masked ones of a masked array.

    >>> import numpy as np
    >>> x = dequantize(np.array([0, 16]), levels=17)
    >>> bool(x[0] < 1 / 17 and 16 / 17 <= x[1] < 1)
    True

    Source: Theis, van den Oord and Bethge 2016, section 3.1; NICE, section 5.1.
    """
    check_int("levels", levels, least=2)
    if levels > 2 and tf.as_dtype(getattr(pixels, "dtype", tf.float32)).is_bool:
        advice.warn_of_bools(levels)
    masked = isinstance(pixels, np.ma.MaskedArray)
    pixels = pixels if masked or tf.is_tensor(pixels) else np.asarray(pixels)
    in_range = _all_are_levels(pixels, levels) and not masked
    pixels = unmasked(pixels)
    pixels = tf.cast(pixels, tf.float32)
    shape = tf.shape(pixels)
    noise = tf.random.uniform(shape) if seed is None else tf.random.stateless_uniform(shape, seed)
    # The sum can round up to the next level, which would leave [0, 1).
    x = tf.minimum((pixels + noise) / float(levels), np.nextafter(np.float32(1), np.float32(0)))
    if in_range:
        return x
    is_level = (pixels >= 0) & (pixels <= levels - 1) & (pixels == tf.floor(pixels))
    return tf.where(is_level, x, np.float32(np.nan))


def _all_are_levels(pixels, levels):
    """Whether all pixels are known to be grey levels; raises `ValueError` for known faults."""
    if isinstance(pixels, np.ndarray):
        check_levels(pixels, levels)
        return True
    dtype = tf.as_dtype(getattr(pixels, "dtype", tf.float32))
    return dtype.is_integer and dtype.min >= 0 and dtype.max < levels


def quantize(x: Any, levels: int = 256) -> tf.Tensor:
    """Whole grey levels of values in [0, 1], values outside clipped: the inverse of `dequantize`.

    Args:
      x: float tensor.
      levels: int, number of grey levels, up to 256.

    Returns:
      uint8 tensor of the same shape, from 0 to `levels - 1`.
    """
    return tf.cast(tf.clip_by_value(tf.floor(x * float(levels)), 0.0, levels - 1.0), tf.uint8)


def bits_per_dim(log_prob: Any, levels: int, dims: int) -> Any:
    """Converts a log-density on [0, 1] in nats to bits per dimension over unit bins.

    ::

        bits_per_dim = (dims * log(levels) - log_prob) / (dims * log 2)

    Args:
      log_prob: log-density of `(pixel + u) / levels`, in nats.
      levels: int, number of grey levels, 256 for 8-bit data.
      dims: int, number of variables of one data point.

    >>> float(bits_per_dim(0.0, levels=256, dims=64))  # the uniform density
    8.0
    """
    return (dims * math.log(levels) - log_prob) / (dims * math.log(2.0))


class BitsPerDim(keras.metrics.Mean):
    """Mean of bits per dimension over an epoch, from log-densities in nats."""

    def __init__(self, levels: int, dims: int, name: str = "bits_per_dim"):
        super().__init__(name=name)
        self._levels, self._dims = levels, dims

    def update_state(self, log_prob: Any, sample_weight: Any = None) -> None:
        super().update_state(bits_per_dim(log_prob, self._levels, self._dims), sample_weight)


# --- Seeds --------------------------------------------------------------------------------------

# The seed of reproducible noise is a pair: one of these, which stands for its use, and a number.
# Different uses draw different noise for the same number. Changing one changes results.
VALIDATION_NOISE = 1
EVALUATION_NOISE = 2
PICTURE_NOISE = 3
REPORT_NOISE = 4
BASE_SAMPLE = 5
UNUSUAL_IMAGES_NOISE = 6
MONITOR_NOISE = 8
