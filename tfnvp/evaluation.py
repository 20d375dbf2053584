"""The likelihood of data under a flow, with its standard error."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from tfnvp import advice
from tfnvp.arguments import check_choice, check_int
from tfnvp.flows import Flow
from tfnvp.inputs.conversion import to_numbers
from tfnvp.quantization import EVALUATION_NOISE, dequantize

__all__ = ["Likelihood", "evaluate", "log_probs"]

# Rows that are dequantized and evaluated at a time.
_ROWS = 1000
# With the number of a row added, TensorFlow still takes it as a seed.
_LARGEST_SEED = 2**30


class Likelihood(NamedTuple):
    """Mean log-likelihood in nats, for quantized data also in bits per dimension.

    The nats are those of a density on [0, 1] for quantized data; standard errors are those of
    the mean over data points. For quantized data they are bounds on the log-probability of the grey
    levels, of the kind that `bound` names; it is None for others.
    """

    nats: float
    nats_standard_error: float
    bits_per_dim: float | None
    bits_per_dim_standard_error: float | None
    rows: int
    draws: int
    bound: str | None = None


def evaluate(
    flow: Flow,
    rows: npt.ArrayLike,
    draws: int = 10,
    seed: int = EVALUATION_NOISE,
    condition: npt.ArrayLike | None = None,
    bound: str = "elbo",
) -> Likelihood:
    """Averages log-likelihoods over data points and draws of dequantization noise.

    With grey levels `k`, and `x_1` to `x_K` from `K` draws of the noise::

        log P(k) + D log levels  >=  E[mean_i log p(x_i)]          bound="elbo"
        log P(k) + D log levels  >=  E[log mean_i p(x_i)]          bound="iwae"

    The second bound is at least the first one, and tends to the left side for many draws.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`: whole grey levels for a flow with `levels`, else real numbers.
      draws: int, draws of the noise for each data point; real numbers need only one evaluation.
      seed: int from 0 to 2^30, of the noise; the same seed gives the same result.
      condition: as for `flow.log_prob`, for conditional flows.
      bound: "elbo", the mean over draws, or "iwae", importance-weighted: the logarithm of the mean
        of densities.

    Returns:
      `Likelihood`.

    Raises:
      ValueError: as `flow.log_prob`, for data without rows, for pixels of a flow with `levels` that
        are no whole numbers, and for `draws`, `seed` or a `bound` out of range.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), standardize=False)
    >>> found = evaluate(flow, np.zeros([3, 2], "float32"))
    >>> round(found.nats, 3), found.rows
    (-1.838, 3)

    Source: Theis, van den Oord and Bethge 2016 (A note on the evaluation of generative models),
    section 3.1; Burda, Grosse and Salakhutdinov 2016 (Importance Weighted Autoencoders), equation
    8; Hoogeboom, Cohen and Tomczak 2020 (Learning Discrete Distributions by Dequantization).
    """
    found = log_probs(flow, rows, draws, seed, condition, bound)
    if len(bad := np.flatnonzero(~np.isfinite(found))):
        advice.warn_of_unusable_likelihood(found, bad)
    nats = float(np.mean(found, dtype="float64"))
    error = float("nan")
    if len(found) > 1:
        with np.errstate(invalid="ignore"):
            error = float(np.std(found, ddof=1, dtype="float64") / math.sqrt(len(found)))
    bits = bits_error = None
    if flow.levels is None:
        draws, bound = 1, None
    else:
        bits = float(flow.bits_per_dim(nats))
        bits_error = error / (flow.event_size * math.log(2.0))
    return Likelihood(nats, error, bits, bits_error, len(found), draws, bound)


def log_probs(
    flow: Flow,
    rows: npt.ArrayLike,
    draws: int = 10,
    seed: int = EVALUATION_NOISE,
    condition: npt.ArrayLike | None = None,
    bound: str = "elbo",
) -> np.ndarray:
    """Log-likelihoods of data points in nats, averaged over draws of dequantization noise.

    Args:
      flow: as for `evaluate`.
      rows: as for `evaluate`.
      draws: as for `evaluate`.
      seed: as for `evaluate`.
      condition: as for `evaluate`.
      bound: as for `evaluate`.

    Returns:
      float32 `[n]`.

    Raises:
      ValueError: as `evaluate`.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.NICE((2, 2), couplings=2, hidden_units=(8,), levels=4)
    >>> log_probs(flow, np.zeros([3, 2, 2], "uint8")).shape
    (3,)
    """
    check_choice("bound", bound)
    check_int("draws", draws)
    check_int("seed", seed, least=0, most=_LARGEST_SEED)
    rows = np.asanyarray(to_numbers(rows, "rows"))  # Of tensors no values would be checked.
    if not len(rows):
        raise ValueError("`rows` must hold one row or more. Received: none")
    if flow.levels is None:
        return flow.log_prob(rows, condition).numpy()
    nats = []
    for first in range(0, len(rows), _ROWS):
        chunk = slice(first, first + _ROWS)
        given = flow.data_spec.conditions_of(chunk, len(rows), condition)
        nats.append(_over_draws(flow, rows[chunk], draws, seed + first, given, bound))
    return np.concatenate(nats)


def _over_draws(flow, rows, draws, seed, condition, bound):
    noisy = (dequantize(rows, flow.levels, seed=(seed, i)) for i in range(draws))
    nats = np.stack([flow.log_prob(x, condition) for x in noisy])
    if bound == "iwae":
        return (logsumexp(nats, axis=0) - np.log(draws)).astype(nats.dtype)
    return np.mean(nats, axis=0)
