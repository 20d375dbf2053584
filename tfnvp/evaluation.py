"""The likelihood of data under a flow, with its standard error."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfnvp import advice
from tfnvp.flows import Flow
from tfnvp.inputs.chunks import row_chunks
from tfnvp.inputs.conversion import to_array
from tfnvp.quantization import EVALUATION_NOISE, dequantize

__all__ = ["Likelihood", "evaluate", "log_probs"]

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


def evaluate(
    flow: Flow,
    rows: npt.ArrayLike,
    draws: int = 10,
    seed: int = EVALUATION_NOISE,
    condition: npt.ArrayLike | None = None,
) -> Likelihood:
    """Averages log-likelihoods over data points and draws of dequantization noise.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`: whole grey levels for a flow with `levels`, else real numbers.
      draws: int, draws of the noise for each data point; real numbers need only one evaluation.
      seed: int, of the noise; the same seed gives the same result.
      condition: as for `flow.log_prob`, for conditional flows.

    Returns:
      `Likelihood`.

    Raises:
      ValueError: as `flow.log_prob`, and for data without rows.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), standardize=False)
    >>> found = evaluate(flow, np.zeros([3, 2], "float32"))
    >>> round(found.nats, 3), found.rows
    (-1.838, 3)
    """
    found = log_probs(flow, rows, draws, seed, condition)
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        advice.warn_of_unusable_likelihood(found, bad)
    nats = float(np.mean(found, dtype="float64"))
    error = float("nan")
    if len(found) > 1:
        with np.errstate(invalid="ignore"):
            error = float(np.std(found, ddof=1, dtype="float64") / math.sqrt(len(found)))
    bits = bits_error = None
    if flow.levels is None:
        draws = 1
    else:
        bits = float(flow.bits_per_dim(nats))
        bits_error = error / (flow.event_size * math.log(2.0))
    return Likelihood(nats, error, bits, bits_error, len(found), draws)


def log_probs(
    flow: Flow,
    rows: npt.ArrayLike,
    draws: int = 10,
    seed: int = EVALUATION_NOISE,
    condition: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Log-likelihoods of data points in nats, averaged over draws of dequantization noise.

    Args:
      flow: as for `evaluate`.
      rows: as for `evaluate`.
      draws: as for `evaluate`.
      seed: as for `evaluate`.
      condition: as for `evaluate`.

    Returns:
      float32 `[n]`.

    Raises:
      ValueError: as `evaluate`.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.NICE((2, 2), couplings=2, hidden_units=(8,), levels=4)
    >>> log_probs(flow, np.zeros([3, 2, 2], "uint8")).shape
    (3,)
    """
    rows = to_array(rows, "rows")
    if not len(rows):
        raise ValueError("`rows` must hold one row or more. Received: none")
    if flow.levels is None:
        return flow.log_prob(rows, condition).numpy()
    chunks = row_chunks(_ROWS, rows, condition, flow.data_spec.conditions)
    return np.concatenate(
        [_mean_over_draws(flow, x, draws, seed + first, given) for first, x, given in chunks]
    )


def _mean_over_draws(flow, rows, draws, seed, condition):
    noisy = (dequantize(rows, flow.levels, seed=(seed, i)) for i in range(draws))
    return np.mean([flow.log_prob(x, condition) for x in noisy], axis=0)
