"""Bits per dimension of quantized data."""

import math
import warnings

import keras


def bits_per_dim(log_prob, levels, dims):
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


def warn_of_negative(logs, levels):
    """Warns of bits per dimension below 0, which no grey levels with their noise can have.

    Args:
      logs: mapping of names of metrics to numbers.
      levels: int, number of grey levels of the flow.
    """
    for name in ("bits_per_dim", "val_bits_per_dim"):
        if logs.get(name, 0.0) < 0:
            warnings.warn(
                f"{name} = {logs[name]:.3f} is impossible: the data is not (level + u) / levels "
                f"with noise u for {levels} grey levels. It has levels without noise, or fewer "
                "levels; `tfnvp.data.dequantize(pixels, levels)` makes it of whole ones from 0 on",
                stacklevel=3,
            )


class BitsPerDim(keras.metrics.Mean):
    """Mean of bits per dimension over an epoch, from log-densities in nats."""

    def __init__(self, levels, dims, name="bits_per_dim"):
        super().__init__(name=name)
        self._levels = levels
        self._dims = dims

    def update_state(self, log_prob, sample_weight=None):
        super().update_state(bits_per_dim(log_prob, self._levels, self._dims), sample_weight)
