"""The likelihood of data under a flow, with its standard error."""

import math
import warnings
from typing import NamedTuple

import numpy as np

from tfnvp.data import dequantize

# Rows that are dequantized and evaluated at a time.
_ROWS = 1000


class Likelihood(NamedTuple):
    """Mean log-likelihood in nats, for quantized data also in bits per dimension.

    The nats are those of a density on [0, 1] for quantized data; standard errors are those of
    the mean over data points.
    """

    nats: float
    nats_standard_error: float
    bits_per_dim: float | None
    bits_per_dim_standard_error: float | None
    rows: int
    draws: int


def evaluate(flow, rows, draws=10, seed=2, condition=None):
    """Averages log-likelihoods over data points and draws of dequantization noise.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`: whole grey levels for a flow with `levels`, else real numbers.
      draws: int, draws of the noise for each data point; real numbers need only one evaluation.
      seed: int, of the noise; the same seed gives the same result.
      condition: as for `flow.log_prob`, for conditional flows.

    Returns:
      `Likelihood`.
    """
    if flow.levels is None:
        draws = 1
    one_for_all = np.ndim(condition) == len(flow.condition_shape or ())
    parts = []
    for i in range(0, len(rows), _ROWS):
        given = condition if one_for_all else condition[i : i + _ROWS]
        parts.append(_mean_over_draws(flow, rows[i : i + _ROWS], draws, seed + i, given))
    log_probs = np.concatenate(parts)
    if len(bad := np.flatnonzero(~np.isfinite(log_probs))):
        warnings.warn(
            f"{len(bad)} of {len(log_probs)} rows have the log-density {log_probs[bad[0]]}, the "
            f"first is row {bad[0] + 1}, and so the mean is no number",
            stacklevel=2,
        )
    nats = float(np.mean(log_probs, dtype="float64"))
    with np.errstate(invalid="ignore"):
        error = float(np.std(log_probs, ddof=1, dtype="float64") / math.sqrt(len(log_probs)))
    bits = bits_error = None
    if flow.levels is not None:
        bits = float(flow.bits_per_dim(nats))
        bits_error = error / (flow.event_size * math.log(2.0))
    return Likelihood(nats, error, bits, bits_error, len(log_probs), draws)


def _mean_over_draws(flow, rows, draws, seed, condition):
    if flow.levels is None:
        return flow.log_prob(rows, condition).numpy()
    noisy = (dequantize(rows, flow.levels, seed=(seed, i)) for i in range(draws))
    return np.mean([flow.log_prob(x, condition) for x in noisy], axis=0)
