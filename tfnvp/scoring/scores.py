"""Outlier scores of rows and images: log-densities, and their quantiles among usual ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp.advice import warn_of_skipped
from tfnvp.evaluation import log_probs
from tfnvp.inputs.conversion import to_numbers
from tfnvp.scoring.reference import Reference, quantiles

if TYPE_CHECKING:
    import pyarrow

    from tfnvp.flows import Flow

# Number of order statistics in a reference: enough for thresholds.
_MOST = 10_000


class Scores(NamedTuple):
    """Scores of rows, in their order; NaN and False for rows with missing or infinite values.

    `log_density` is in nats, of a density in the units of the data, and -inf for rows outside of
    the flow's support or too large for float32, which are the least usual; `quantile` and `outlier`
    are None without a reference. `reasons` are the columns that `score_table` adds with
    `explain`, or None.
    """

    log_density: np.ndarray
    quantile: np.ndarray | None
    outlier: np.ndarray | None
    threshold: float | None
    reasons: "pyarrow.Table | None" = None

    @property
    def skipped(self) -> int:
        """Number of rows without a score."""
        return int(np.isnan(self.log_density).sum())


def make_reference(
    flow: "Flow",
    rows: np.ndarray,
    columns: Sequence[str] | None = None,
    source: Any = "the reference",
    condition: Any = None,
) -> Reference:
    """Scores usual rows, with which `score` compares others.

    Args:
      flow: a trained `tfnvp.Flow`.
      rows: `[n, *event_shape]`, not trained on; training rows look more usual than new ones.
      columns: names of the columns, or None.
      source: what messages call the rows.
      condition: for conditional flows, as for `flow.log_prob`.

    Returns:
      `Reference` of the rows without NaN or infinite values; a warning counts the others. Of more
      than 10,000 rows it keeps evenly spaced order statistics.

    Raises:
      ValueError: if no row is finite, or for rows of another shape.
    """
    rows, whole = checked_rows(flow, rows)
    if not whole.any():
        raise ValueError(
            f"{source} must hold rows of finite numbers. Received: {len(rows)} rows, none of them"
        )
    if bad := len(rows) - np.count_nonzero(whole):
        warn_of_skipped(bad, len(rows), f"rows of {source}", f"row {np.argmin(whole) + 1}")
    condition = flow.data_spec.conditions_of(whole, len(rows), condition)
    log_density = np.sort(_log_density(flow, rows[whole], condition))
    if len(log_density) > _MOST:
        log_density = log_density[np.linspace(0, len(log_density) - 1, _MOST).round().astype(int)]
    return Reference(None if columns is None else tuple(columns), log_density)


def score(
    flow: "Flow",
    rows: np.ndarray,
    reference: Reference | None = None,
    threshold: float | None = None,
    condition: Any = None,
) -> Scores:
    """Scores rows by their log-density, and flags those that are unusual.

    ::

        quantile = (1 + #{reference <= log p(row)}) / (1 + n)

    Of usual rows, at most a share `threshold` has a quantile of at most `threshold`, whatever the
    flow has learned: the quantile is a conformal p-value. What the flow has learned decides how
    many unusual rows are found.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`, real numbers, or grey levels for a flow with `levels`, which get
        the noise of `tfnvp.evaluation.evaluate`; rows with NaN or infinite values get no score.
      reference: `Reference`, or None for only the log-densities.
      threshold: float in (0, 1); rows with a quantile up to it are flagged. Default: 0.01, or the
        smallest quantile of the reference, if that is larger.
      condition: for conditional flows, as for `flow.log_prob`: rows are compared with the reference
        by their densities given their conditions.

    Returns:
      `Scores`.

    Raises:
      ValueError: if `rows` have the wrong shape, or `threshold` is below the smallest quantile of
        the reference, or given without one.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> usual = np.random.default_rng(0).normal(size=(99, 2)).astype("float32")
    >>> scores = score(flow, [[0.0, 0.0], [9.0, 9.0]], make_reference(flow, usual))
    >>> scores.quantile.tolist(), scores.outlier.tolist()
    ([1.0, 0.01], [False, True])

    Source: Laxhammar and Falkman 2014 (inductive conformal anomaly detection); Bates et al. 2023.
    """
    if reference is not None:
        threshold = reference.default_threshold if threshold is None else threshold
        reference.check_threshold(threshold)
    elif threshold is not None:
        raise ValueError(
            "`threshold` is a quantile of a `reference`, which must be given, too. "
            f"Received: {threshold!r} and no reference"
        )
    rows, whole = checked_rows(flow, rows)
    log_density = np.full(len(rows), np.nan, "float32")
    if whole.any():
        given = flow.data_spec.conditions_of(whole, len(rows), condition)
        log_density[whole] = _log_density(flow, rows[whole], given)
    if reference is None:
        return Scores(log_density, None, None, None)
    # NaN, from weights that are not finite, sorts above all others.
    scored = ~np.isnan(log_density)
    quantile = np.where(scored, quantiles(log_density, reference), np.nan)
    return Scores(log_density, quantile, quantile <= threshold, threshold)


def checked_rows(flow: "Flow", rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows as an array, and which of them have finite values only: bool `[n]`.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`, as for `score`.

    Returns:
      The rows are floats, or whole grey levels for a flow with `levels`.

    Raises:
      ValueError: for another shape.
    """
    rows = np.asanyarray(to_numbers(rows, "rows"))
    masked, rows = np.ma.getmaskarray(rows), np.asarray(rows)
    rows = rows if flow.levels or rows.dtype.kind not in "iub" else rows.astype("float64")
    if not rows.ndim or rows.shape[1:] != flow.event_shape:
        raise ValueError(
            f"`rows` must have the shape [n, {', '.join(map(str, flow.event_shape))}]. "
            f"Received shape: {rows.shape}"
        )
    return rows, (np.isfinite(rows) & ~masked).reshape(len(rows), -1).all(axis=1)


def _log_density(flow, rows, condition):
    if flow.levels is None or rows.dtype.kind == "f":
        return flow.log_prob(rows, condition).numpy()
    return log_probs(flow, rows, condition=condition)  # With the same noise in every call.
