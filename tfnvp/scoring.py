"""How unusual is a row? Its log-density, and where that stands among rows known to be usual."""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from tfnvp._atomic import replacing
from tfnvp.data import table_numbers
from tfnvp.data import tables as table_files
from tfnvp.data.skipped import warn_of_skipped

#: File of a run folder with what scoring needs to know of the data that a flow was trained on.
FILE = "reference.json"

# More order statistics than this tell nothing that a threshold could use.
_MOST = 10_000

#: Quantile up to which rows are flagged by default, where a reference can tell it.
THRESHOLD = 0.01


class Reference(NamedTuple):
    """Log-densities of usual rows that the flow was not trained on, sorted, and their columns.

    `columns` is None where the data had no names.
    """

    columns: tuple[str, ...] | None
    log_density: np.ndarray

    @property
    def smallest_quantile(self):
        """The quantile of a row below the whole reference, `1 / (n + 1)`."""
        return 1.0 / (len(self.log_density) + 1)

    def cut(self, threshold):
        """The log-density below which a row's quantile is at most `threshold`.

        >>> Reference(None, np.array([-3.0, -2.0, -1.0])).cut(0.5)
        -2.0
        """
        below = int(threshold * (len(self.log_density) + 1) + 1e-9) - 1
        return float(self.log_density[below])


class Scores(NamedTuple):
    """Scores of rows, in their order; NaN and False for rows with missing or infinite values.

    `log_density` is in nats, of a density in the units of the data; `quantile` and `outlier` are
    None without a reference.
    """

    log_density: np.ndarray
    quantile: np.ndarray | None
    outlier: np.ndarray | None
    threshold: float | None

    @property
    def skipped(self):
        """How many rows have no score."""
        return int(np.isnan(self.log_density).sum())


def make_reference(flow, rows, columns=None, source="the reference"):
    """Scores usual rows, for others to be compared with.

    Args:
      flow: a trained `tfnvp.Flow` of vectors.
      rows: `[n, columns]`, rows that the flow was not trained on; training rows look more usual
        than new ones.
      columns: names of the columns, or None.
      source: what messages call the rows.

    Returns:
      `Reference`, of the rows without NaN or infinite values, the others counted by a warning; of
      more than 10,000, evenly spaced order statistics.

    Raises:
      ValueError: if no row is finite.
    """
    rows = np.asarray(rows)
    # A row without score is neither usual nor unusual.
    whole = np.isfinite(rows).all(axis=1)
    if not whole.any():
        raise ValueError(
            f"{source} must hold rows of finite numbers in the columns of the model. Received: "
            f"{len(rows)} rows, none without missing or infinite values, or text"
        )
    if not whole.all():
        first = f"row {np.argmin(whole) + 1}"
        warn_of_skipped(np.sum(~whole), len(rows), f"rows of {source}", first)
    log_density = np.sort(flow.log_prob(rows[whole]).numpy())
    if len(log_density) > _MOST:
        log_density = log_density[np.linspace(0, len(log_density) - 1, _MOST).round().astype(int)]
    return Reference(None if columns is None else tuple(columns), log_density)


def score(flow, rows, reference=None, threshold=None):
    """Scores rows by their log-density, and flags those that are unusual.

    ::

        quantile = (1 + #{reference <= log p(row)}) / (1 + n)

    Of usual rows, at most a share `threshold` has a quantile of at most `threshold`, whatever the
    flow has learned: the quantile is a conformal p-value. What the flow has learned decides how
    many unusual rows are found.

    Args:
      flow: a `tfnvp.Flow` of vectors, without condition.
      rows: `[n, columns]`, real numbers; rows with NaN or infinite values get no score.
      reference: `Reference`, or None for log-densities alone.
      threshold: float in (0, 1); rows with a quantile up to it are flagged. Default: 0.01, or the
        smallest quantile that the reference can tell, if that is larger.

    Returns:
      `Scores`.

    Raises:
      ValueError: if `rows` have the wrong shape, or the reference cannot tell `threshold`.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> usual = np.random.default_rng(0).normal(size=(99, 2)).astype("float32")
    >>> scores = score(flow, [[0.0, 0.0], [9.0, 9.0]], make_reference(flow, usual))
    >>> scores.quantile.tolist(), scores.outlier.tolist()
    ([1.0, 0.01], [False, True])

    Source: Laxhammar and Falkman 2014 (inductive conformal anomaly detection); Bates et al. 2023.
    """
    rows = np.asarray(rows, "float32")
    if rows.ndim != 2 or (rows.shape[1],) != flow.event_shape:
        raise ValueError(
            f"`rows` must have the shape [n, {', '.join(map(str, flow.event_shape))}]. "
            f"Received shape: {rows.shape}"
        )
    whole = np.isfinite(rows).all(axis=1)
    log_density = np.full(len(rows), np.nan, "float32")
    if whole.any():
        log_density[whole] = flow.log_prob(rows[whole])
    if reference is None:
        return Scores(log_density, None, None, None)
    threshold = _check_threshold(threshold, reference)
    quantile = np.where(whole, quantiles(log_density, reference), np.nan)
    return Scores(log_density, quantile, quantile <= threshold, threshold)


def check_flow(flow, model):
    """Raises `ValueError`, with the path of the model, unless a flow is one of plain vectors."""
    if len(flow.event_shape) != 1 or flow.condition_shape is not None:
        raise ValueError(
            f"{model} is no flow of tables: its data has shape {flow.event_shape}, its condition "
            f"{flow.condition_shape}"
        )


def rows_of(flow, table, columns, source):
    """Returns the rows of a table as a flow takes them: columns by name, whatever else there is.

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
    if columns is not None:
        table = table_numbers.select(table, columns, source)
    elif (table.num_columns,) != flow.event_shape:
        raise ValueError(
            f"{source} has {table.num_columns} columns, and the model was trained on "
            f"{flow.event_shape[0]} without names"
        )
    # Of columns known to be of numbers, rows without scores are no reason to refuse the others.
    table = table_numbers.with_gaps(table, whatever=columns is not None)
    return table_numbers.rows_of_table(table, source)


def finite_rows_of(flow, file, model, skip_bad=False):
    """Returns all rows of a table in a file, by the columns that a model was trained on.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table.
      model: path of the model, beside which its columns are kept.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.

    Raises:
      ValueError: as `rows_of` and `check_flow`; and if values are missing or infinite, or all rows
        are left out.
    """
    check_flow(flow, model)
    known = read_reference(model)
    rows = rows_of(flow, table_files.read_table(file), known.columns if known else None, file)
    good = np.isfinite(rows).all(axis=1)
    if good.all():
        return rows
    first = f"row {np.argmin(good) + 1}"
    if not skip_bad or not good.any():
        hint = "; skip_bad (--skip-bad) leaves such rows out" * bool(good.any())
        raise ValueError(
            f"{file} has missing or infinite values in {np.sum(~good)} of {len(rows)} rows, the "
            f"first in {first}{hint}"
        )
    warn_of_skipped(np.sum(~good), len(rows), f"rows of {file}", first)
    return rows[good]


def quantiles(log_density, reference):
    """Returns `(1 + #{reference <= log_density}) / (1 + n)` for each of some log-densities.

    >>> reference = Reference(None, np.array([-3.0, -2.0, -1.0]))
    >>> quantiles([-4.0, -2.0, 0.0], reference).tolist()
    [0.25, 0.75, 1.0]
    """
    below = np.searchsorted(reference.log_density, log_density, side="right")
    return (1 + below) / (1 + len(reference.log_density))


def write_reference(folder, reference):
    """Writes a reference into a run folder."""
    content = {"columns": reference.columns, "log_density": reference.log_density.tolist()}
    with replacing(pathlib.Path(folder) / FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_reference(path):
    """Reads the reference beside a model; None where there is none."""
    path = pathlib.Path(path)
    file = (path if path.is_dir() else path.parent) / FILE
    if not file.is_file():
        return None
    content = json.loads(file.read_text())
    columns = content["columns"]
    return Reference(
        None if columns is None else tuple(columns), np.asarray(content["log_density"], "float32")
    )


def _check_threshold(threshold, reference):
    if threshold is None:
        return max(THRESHOLD, reference.smallest_quantile)
    if not reference.smallest_quantile <= threshold < 1:
        raise ValueError(
            f"`threshold` must lie between {reference.smallest_quantile:.4g}, the smallest "
            f"quantile that a reference of {len(reference.log_density)} rows can tell, and 1. "
            f"Received: {threshold}"
        )
    return threshold
