"""Outlier scores of rows and images: log-densities, and their quantiles among usual ones."""

import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp._atomic import read_json, reading, replacing
from tfnvp.data import table_values
from tfnvp.data.table_rows import TableRows
from tfnvp.data.tables import read_table
from tfnvp.evaluation import log_probs
from tfnvp.inputs.chunks import conditions_of
from tfnvp.inputs.conversion import to_array

if TYPE_CHECKING:
    import pyarrow

    from tfnvp.flows import Flow

#: File of a run folder with the reference of its flow.
FILE = "reference.json"

# Number of order statistics in a reference: enough for thresholds.
_MOST = 10_000

#: Quantile up to which rows are flagged by default, unless the reference is too small for it.
THRESHOLD = 0.01


class Reference(NamedTuple):
    """Log-densities of usual rows that the flow was not trained on, sorted, and their columns.

    `columns` is None where the data had no names.
    """

    columns: tuple[str, ...] | None
    log_density: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Returns what JSON can hold, from which `from_json` makes an equal reference.

        >>> Reference(("a", "b"), np.array([-2.0, -1.0])).to_json()
        {'columns': ['a', 'b'], 'log_density': [-2.0, -1.0]}
        """
        columns = self.columns and list(self.columns)
        return {"columns": columns, "log_density": self.log_density.tolist()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Reference":
        """Returns the reference of which `to_json` returned the content.

        Raises:
          ValueError, TypeError, KeyError: for other content.
        """
        columns, log_density = content["columns"], np.asarray(content["log_density"], "float32")
        if log_density.ndim != 1 or not len(log_density) or any(np.sort(log_density) < log_density):
            raise ValueError("`log_density` must be a sorted list of numbers")
        if columns is not None and {type(name) for name in [*columns, columns]} != {str, list}:
            raise TypeError("`columns` must be a list of texts, or null")
        return cls(columns and tuple(columns), log_density)

    @property
    def smallest_quantile(self) -> float:
        """The quantile of a row below the whole reference, `1 / (n + 1)`."""
        return 1.0 / (len(self.log_density) + 1)

    def cut(self, threshold: float) -> float:
        """The log-density below which a row's quantile is at most `threshold`.

        >>> Reference(None, np.array([-3.0, -2.0, -1.0])).cut(0.5)
        -2.0
        """
        below = int(threshold * (len(self.log_density) + 1) + 1e-9) - 1
        return float(self.log_density[below])


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
    threshold = max(THRESHOLD, least) if threshold is None else threshold
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
    if (table.num_columns,) != flow.event_shape:
        raise ValueError(
            f"{source} has {table.num_columns} columns, and the model was trained on "
            f"{flow.event_shape[0]} without names"
        )
    found = TableRows(table.column_names, source)
    rows = found.add(table)
    if columns is None:  # Columns that are known by name hold numbers, but for some rows.
        found.check_columns()
    return rows


def finite_rows(
    flow: "Flow", file: str | pathlib.Path, columns: Sequence[str] | None, skip_bad: bool = False
) -> np.ndarray:
    """Returns all rows of a table in a file, by the columns that a flow was trained on.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table.
      columns: names of the columns, or None where they had none.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.

    Raises:
      ValueError: as `rows_of`; and if values are missing or infinite, or no row is left.
    """
    rows = rows_of(flow, read_table(file, columns=columns), columns, file)
    return table_values.finite_rows(rows, file, skip_bad)


def finite_rows_of(
    flow: "Flow", file: str | pathlib.Path, model: str | pathlib.Path, skip_bad: bool = False
) -> np.ndarray:
    """Returns `finite_rows` by the columns in the reference beside a model.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table.
      model: path of the run folder or of a model in it.
      skip_bad: as for `finite_rows`.

    Raises:
      ValueError: as `check_flow` and `finite_rows`.
    """
    check_flow(flow, model)
    known = read_reference(model)
    return finite_rows(flow, file, known and known.columns, skip_bad)


def quantiles(log_density: np.ndarray, reference: Reference) -> np.ndarray:
    """Returns `(1 + #{reference <= log_density}) / (1 + n)` for each of some log-densities.

    >>> reference = Reference(None, np.array([-3.0, -2.0, -1.0]))
    >>> quantiles([-4.0, -2.0, 0.0], reference).tolist()
    [0.25, 0.75, 1.0]
    """
    below = np.searchsorted(reference.log_density, log_density, side="right")
    return (1 + below) / (1 + len(reference.log_density))


def write_reference(folder: str | pathlib.Path, reference: Reference) -> None:
    """Writes a reference into a run folder."""
    with replacing(pathlib.Path(folder) / FILE) as temporary:
        temporary.write_text(json.dumps(reference.to_json(), indent=2) + "\n")


def read_reference(path: str | pathlib.Path) -> Reference | None:
    """Reads the reference in a run folder, or beside a model; None where there is none."""
    path = pathlib.Path(path)
    file = (path if path.is_dir() else path.parent) / FILE
    if not file.is_file():
        return None
    with reading(file):
        return Reference.from_json(read_json(file))
