"""Outlier scores of rows and images: log-densities, and their quantiles among usual ones."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp import advice
from tfnvp.data import table_values
from tfnvp.data.division import row_hashes
from tfnvp.data.table_formats import TextOptions
from tfnvp.data.table_rows import TableRows
from tfnvp.data.tables import read_table
from tfnvp.evaluation import log_probs
from tfnvp.inputs.chunks import conditions_of
from tfnvp.inputs.conversion import to_array
from tfnvp.scoring.reference import THRESHOLD, Reference, quantiles, read_reference

if TYPE_CHECKING:
    import pyarrow

    from tfnvp.flows import Flow

# Number of order statistics in a reference: enough for thresholds.
_MOST = 10_000


class Scores(NamedTuple):
    """Scores of rows, in their order; NaN and False for rows with missing or infinite values.

    `log_density` is in nats, of a density in the units of the data, and -inf for rows outside of
    the flow's support or too large for float32, which are the least usual; `quantile` and `outlier`
    are None without a reference.
    """

    log_density: np.ndarray
    quantile: np.ndarray | None
    outlier: np.ndarray | None
    threshold: float | None

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
      ValueError: if no row is finite.
    """
    rows = np.asarray(to_array(rows, "rows"))
    whole = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not whole.any():
        raise ValueError(
            f"{source} must hold rows of finite numbers. Received: {len(rows)} rows, none of them"
        )
    condition = conditions_of(whole, len(rows), condition, flow.data_spec.conditions)
    rows = table_values.finite_rows(rows, source, skip_bad=True)
    log_density = np.sort(_log_density(flow, rows, condition))
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
        the reference.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> usual = np.random.default_rng(0).normal(size=(99, 2)).astype("float32")
    >>> scores = score(flow, [[0.0, 0.0], [9.0, 9.0]], make_reference(flow, usual))
    >>> scores.quantile.tolist(), scores.outlier.tolist()
    ([1.0, 0.01], [False, True])

    Source: Laxhammar and Falkman 2014 (inductive conformal anomaly detection); Bates et al. 2023.
    """
    rows = np.asarray(to_array(rows, "rows"))
    rows = rows if flow.levels or rows.dtype.kind not in "iub" else rows.astype("float64")
    if not rows.ndim or rows.shape[1:] != flow.event_shape:
        raise ValueError(
            f"`rows` must have the shape [n, {', '.join(map(str, flow.event_shape))}]. "
            f"Received shape: {rows.shape}"
        )
    whole = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    log_density = np.full(len(rows), np.nan, "float32")
    if whole.any():
        given = conditions_of(whole, len(rows), condition, flow.data_spec.conditions)
        log_density[whole] = _log_density(flow, rows[whole], given)
    if reference is None:
        return Scores(log_density, None, None, None)
    least = reference.smallest_quantile
    threshold = reference.default_threshold if threshold is None else threshold
    if not least <= threshold < 1:
        raise ValueError(
            f"`threshold` must lie between {least:.4g}, the smallest quantile of a reference of "
            f"{len(reference.log_density)} rows, and 1. Received: {threshold}"
        )
    # NaN, from weights that are not finite, sorts above all others.
    scored = ~np.isnan(log_density)
    quantile = np.where(scored, quantiles(log_density, reference), np.nan)
    return Scores(log_density, quantile, quantile <= threshold, threshold)


def _log_density(flow, rows, condition):
    if flow.levels is None or rows.dtype.kind == "f":
        return flow.log_prob(rows, condition).numpy()
    return log_probs(flow, rows, condition=condition)  # With the same noise in every call.


def check_flow(flow: "Flow", model: Any) -> None:
    """Raises `ValueError` unless a flow is one of rows of a table, without condition.

    Args:
      flow: a `tfnvp.Flow`.
      model: what the message calls it, such as its path.
    """
    if len(flow.event_shape) != 1 or flow.condition_shape is not None:
        raise ValueError(
            f"{model} is no flow of tables: it has event_shape={flow.event_shape} and "
            f"condition_shape={flow.condition_shape}"
        )


def check_width(flow: "Flow", columns: int, source: Any) -> None:
    """Raises `ValueError` if a table has another number of columns than a flow of vectors."""
    if (columns,) != flow.event_shape:
        raise ValueError(
            f"{source} has {columns} columns, and the model was trained on "
            f"{flow.event_shape[0]} without names"
        )


def rows_of(
    flow: "Flow", table: "pyarrow.Table", columns: Sequence[str] | None, source: Any
) -> np.ndarray:
    """Returns the columns of a table that a flow was trained on, in their order, as rows.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      table: `pyarrow.Table`.
      columns: names of the columns that the flow was trained on, or None where they had none.
      source: what messages call the table.

    Returns:
      float32 `[n, columns]`, NaN for missing values and for text in a column of numbers.

    Raises:
      ValueError: if a column is missing or holds no numbers; without names, for another number.
    """
    table = table_values.select(table, columns, source)
    check_width(flow, table.num_columns, source)
    found = TableRows(table.column_names, source)
    rows = found.add(table)
    if columns is None:  # Columns that are known by name hold numbers, but for some rows.
        found.check_columns()
    return rows


def finite_rows(
    flow: "Flow",
    file: str | pathlib.Path,
    columns: Sequence[str] | None,
    skip_bad: bool = False,
    text: TextOptions | None = None,
) -> np.ndarray:
    """Returns all rows of a table in a file, by the columns that a flow was trained on.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table.
      columns: names of the columns, or None where they had none.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.
      text: how a table of text is written.

    Raises:
      ValueError: as `rows_of`; and if values are missing or infinite, or no row is left.
    """
    rows = rows_of(flow, read_table(file, columns=columns, text=text), columns, file)
    return table_values.finite_rows(rows, file, skip_bad)


def finite_rows_of(
    flow: "Flow",
    file: str | pathlib.Path,
    model: str | pathlib.Path,
    skip_bad: bool = False,
    columns: Sequence[str] | None = None,
    text: TextOptions | None = None,
) -> np.ndarray:
    """Returns `finite_rows` by the columns in the reference beside a model.

    A warning tells if the model was trained on some of them.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table.
      model: path of the run folder or of a model in it.
      skip_bad: as for `finite_rows`.
      columns: names of the columns in the model's order. Default: those in the reference.
      text: how a table of text is written.

    Raises:
      ValueError: as `check_flow` and `finite_rows`.
    """
    check_flow(flow, model)
    known = read_reference(model)
    rows = finite_rows(flow, file, columns or (known and known.columns), skip_bad, text)
    advise_on_training_rows(known, rows, file)
    return rows


def advise_on_training_rows(reference: Reference | None, rows: np.ndarray, source: Any) -> None:
    """Warns if more than a hundredth of some rows are among those that the flow was trained on.

    Args:
      reference: `Reference`, or None.
      rows: `[n, columns]`, of the type of the training rows.
      source: what the warning calls the rows.
    """
    if reference is not None:
        advise_on_training_hashes(reference, row_hashes(rows), source)


def advise_on_training_hashes(reference: Reference, hashes: np.ndarray, source: Any) -> None:
    """Does what `advise_on_training_rows` does, by the hashes of rows: uint64 `[n]`."""
    share = reference.share_of_training(hashes)
    if share > THRESHOLD:
        advice.warn_of_training_rows(share, source)
