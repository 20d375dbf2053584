"""Bits per dimension of quantized data."""

import math

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


class BitsPerDim(keras.metrics.Mean):
    """Mean of bits per dimension over an epoch, from log-densities in nats."""

    def __init__(self, levels, dims, name="bits_per_dim"):
        super().__init__(name=name)
        self._levels = levels
        self._dims = dims

    def update_state(self, log_prob, sample_weight=None):
        super().update_state(bits_per_dim(log_prob, self._levels, self._dims), sample_weight)
