"""The likelihood of quantized data under a flow, with its standard error."""

import math
from typing import NamedTuple

import numpy as np

from tfnvp.data import dequantize


class Likelihood(NamedTuple):
    """Mean log-likelihood of data in [0, 1], in nats and bits per dimension, with errors."""

    nats: float
    nats_standard_error: float
    bits_per_dim: float
    bits_per_dim_standard_error: float
    rows: int
    draws: int


def evaluate(flow, pixels, draws=10, seed=2):
    """Averages log-likelihoods over data points and draws of dequantization noise.

    Args:
      flow: a `tfnvp.Flow` made with `levels`.
      pixels: `[n, *event_shape]`, whole grey levels.
      draws: int, draws of the noise for each data point.
      seed: int, of the noise; the same seed gives the same result.

    Returns:
      `Likelihood`; the standard error is that of the mean over data points.
    """
    log_probs = np.mean(
        [flow.log_prob(dequantize(pixels, flow.levels, seed=(seed, i))) for i in range(draws)],
        axis=0,
    )
    error = float(np.std(log_probs, ddof=1) / math.sqrt(len(log_probs)))
    nats = float(np.mean(log_probs))
    bits_of_a_nat = 1 / (flow.event_size * math.log(2.0))
    return Likelihood(
        nats,
        error,
        float(flow.bits_per_dim(nats)),
        error * bits_of_a_nat,
        len(log_probs),
        draws,
    )
