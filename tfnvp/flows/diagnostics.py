"""Numbers that tell whether a flow is healthy: exact inverses, latents as the base, no blow-up."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp.bijectors import AffineCoupling, SplineCoupling
from tfnvp.bijectors.compose import walk
from tfnvp.inputs.columns import largest_error

# Draws from the base where its moments have no formula; more would only cost time.
_BASE_DRAWS = 4096


class Diagnostics(NamedTuple):
    """What `diagnose` found, in plain numbers.

    Errors are absolute, in units of the data; deviations compare the latents of the data with
    the base, and are 0 for an infinite sample of a perfect fit.
    """

    #: Largest and mean `|decode(encode(x)) - x|`.
    round_trip_max: float
    round_trip_mean: float
    #: Largest difference, over the latent variables, of the mean from the base's.
    latent_mean_deviation: float
    #: Largest difference, over pairs of latent variables, of the covariance from the base's.
    latent_covariance_deviation: float
    #: Largest `|log-det|` over the data of each bijector, data side first, by its name.
    largest_log_det: dict
    #: Share of latents, round trips and log-dets that are NaN or infinite.
    non_finite: float
    #: Share of rows with values beyond the bound of a spline, which only scales and shifts them.
    beyond_splines: float
    #: Mean `|log-scale|` of each affine coupling as a share of the largest that its bounded scale
    #: allows, over rows and moved variables. Near 1 the bound holds the density back: a wider
    #: scale, more couplings or `linear="lu"` help.
    scale_shares: dict
    #: Rows that only `non_finite` counts, such as rows of density 0.
    left_out: int


def judged_latents(flow: Any, x: Any, condition: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the latents of the rows that can be judged, and which rows these are: bool `[n]`.

    Rows of density 0 are left out, as their latents are NaN, unless there are no others.

    Args:
      flow: a `tfnvp.Flow`.
      x: `[n, *event_shape]`.
      condition: as for `flow.log_prob`.
    """
    z = flow.encode(x, condition).numpy()
    judged = _are_finite(_rows(z))
    judged |= ~judged.any()
    return z[judged], judged


def diagnose(flow: Any, x: tf.Tensor, condition: Any = None) -> Diagnostics:
    """Measures a flow on data.

    ::

        z = encode(x);  |decode(z) - x|,  mean(z) - E[z],  cov(z) - Cov[z],  max |log det J_i|

    Args:
      flow: a `tfnvp.Flow`.
      x: `[batch, *event_shape]` with at least two points; `[1000, ...]` is a good number.
      condition: as for `flow.log_prob`.

    Returns:
      `Diagnostics`. Of values that are not finite only the share is given; the rest is measured
      without the points that have any.

    Raises:
      ValueError: if `x` has fewer than two points, or the wrong shape.

    >>> import tensorflow as tf, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> report = diagnose(flow, tf.random.normal([100, 2], seed=0))
    >>> report.round_trip_max < 1e-4, report.non_finite
    (True, 0.0)
    """
    # Grey levels get their noise once, or each pass would see other points.
    x = flow.data_spec.to_floats(x)
    if x.shape.rank < 1 or x.shape[0] < 2:
        raise ValueError(f"`x` must have at least two points. Received shape: {x.shape}")
    # Infinite latents are counted as they are.
    z = flow.unmarked_latents(x, condition)
    back = flow.data_spec.data_side.nearest(flow.decode(z, condition), x)
    log_dets, beyond, bound, shares = _walk(flow, x, condition)
    x, z, back = _rows(x), _rows(z), _rows(back)
    numbers = np.concatenate([z, *map(_rows, log_dets.values())], axis=1)
    judged = _are_finite(numbers)
    healthy = judged & _are_finite(back)
    non_finite = float(1.0 - np.isfinite(np.concatenate([numbers, back], axis=1)).mean())
    left_out = int(len(x) - healthy.sum())
    if healthy.sum() < 2:
        nan = float("nan")
        nans = dict.fromkeys(log_dets, nan), non_finite, nan, dict.fromkeys(shares, nan)
        return Diagnostics(nan, nan, nan, nan, *nans, left_out)

    advice.warn_of_round_trip(largest_error(x[judged], back[judged]))
    beyond_splines = float(beyond[judged].mean())
    advice.warn_of_rows_beyond_splines(beyond_splines, bound)
    error = np.abs(back - x)[healthy]
    latents = z[healthy]
    mean, covariance = _base_moments(flow)
    return Diagnostics(
        round_trip_max=float(error.max()),
        round_trip_mean=float(error.mean()),
        latent_mean_deviation=float(np.abs(latents.mean(0) - mean).max()),
        latent_covariance_deviation=float(
            np.abs(np.atleast_2d(np.cov(latents, rowvar=False)) - covariance).max()
        ),
        largest_log_det={
            name: float(np.abs(_rows(v)[healthy]).max()) for name, v in log_dets.items()
        },
        non_finite=non_finite,
        beyond_splines=beyond_splines,
        scale_shares={name: float(share[healthy].mean()) for name, share in shares.items()},
        left_out=left_out,
    )


def _are_finite(rows):
    """Returns which of `[n, ...]` have finite numbers only: bool `[n]`."""
    return np.isfinite(rows).all(axis=1)


def _rows(tensor):
    array = np.asarray(tensor, np.float64)
    return array.reshape(len(array), -1)


def _walk(flow, x, condition):
    """Walks from the data to the latents.

    Returns, for each row, the log-det of each elementary bijector; whether it is beyond the bound
    of any spline, with the smallest bound; and the share of its bound that each coupling's scale
    uses.
    """
    x, condition = flow.data_spec.prepare(x, condition, flow.embed_condition)
    log_dets, shares, beyond, bounds = {}, {}, np.zeros(len(x), bool), []
    for i, step in enumerate(walk(flow.bijector, x, len(flow.event_shape), condition)):
        name = step.bijector.name
        while name in log_dets:
            name = f"{name}_{i}"
        log_dets[name] = tf.broadcast_to(step.log_det, x.shape[:1])
        if isinstance(step.bijector, SplineCoupling):
            beyond |= _rows(step.bijector.is_beyond(step.input)).any(axis=1)
            bounds.append(step.bijector.bound)
        if isinstance(step.bijector, AffineCoupling) and step.bijector.log_scale_bound is not None:
            share = tf.abs(step.log_scale) / tf.cast(step.bijector.log_scale_bound, x.dtype)
            shares[name] = _rows(share).mean(axis=1)
    return log_dets, beyond, min(bounds, default=np.inf), shares


def _base_moments(flow):
    """Mean and covariance of the flattened base: of a named one exactly, of others from draws."""
    base = flow.distribution.distribution
    if isinstance(flow.base, str):
        return np.ravel(base.mean()), np.diag(np.ravel(base.variance()))
    draws = _rows(base.sample(_BASE_DRAWS, seed=(0, 0)))
    return draws.mean(axis=0), np.atleast_2d(np.cov(draws, rowvar=False))
