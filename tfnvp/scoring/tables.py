"""Scores of the rows of a table in a file, in pieces of bounded size."""

import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnvp.arguments import check_int
from tfnvp.data.division import row_hashes
from tfnvp.data.table_formats import TextOptions, open_table
from tfnvp.data.table_values import as_floats, check_names
from tfnvp.data.tables import store_pieces
from tfnvp.scoring.explanation import replacement_gains
from tfnvp.scoring.reference import Reference
from tfnvp.scoring.rows import RowsOfFlow, advise_on_training_hashes, advised_on, check_flow
from tfnvp.scoring.scores import Scores, score

if TYPE_CHECKING:
    import pyarrow

    from tfnvp.flows import Flow

# The columns at the end of a table that a call has added, as lines.
_ADDED = re.compile(
    r"(^|\n)log_density(\nquantile\noutlier)?"
    r"(\nexplain_(\d+)_column\nexplain_\4_gain\nexplain_\4_value)*$"
)


def score_table(
    flow: "Flow",
    file: str | pathlib.Path,
    reference: Reference | None = None,
    threshold: float | None = None,
    columns: Sequence[str] | None = None,
    text: TextOptions | None = None,
    output: str | pathlib.Path | None = None,
    explain: int | None = None,
) -> Scores:
    """Scores all rows of a table, which can be larger than memory.

    Rows with missing or infinite values, or with text in a column of numbers, get no score. A
    warning names columns with values outside of the flow's support.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      file: path of the table, as for `tfnvp.data.load_table`.
      reference: `Reference`, or None for only the log-densities. A warning tells if the model was
        trained on some of the rows.
      threshold: as for `score`.
      columns: names of the columns that the flow was trained on, in its order. Default: those of
        the reference; without any, all columns.
      text: how a table of text is written.
      output: path of a `.csv` or `.parquet` to write, with all columns of the table and the scores
        beside them, as by `with_scores`. Columns of a text that the flow does not know keep their
        text.
      explain: int, how many columns to name for each row that make it unusual, or None. By
        `replacement_gains`, `explain_1_column` is the column with the largest gain,
        `explain_1_gain` this gain in nats, and `explain_1_value` the likely value; `explain_2_...`
        follow. For each column of the flow this takes 34 times as long as the scores.

    Returns:
      `Scores` of all rows.

    Raises:
      ValueError: if the file is no table, lacks a column, or holds no numbers in one; as `score`.
    """
    import pyarrow

    if explain is not None:
        check_int("explain", explain)
    file = pathlib.Path(file)
    check_flow(flow, file)
    columns = columns or (reference and reference.columns)
    opened = open_table(file, None, text)
    names = list(columns or opened.names)
    check_names(names, opened.names, file)
    found, parts, hashes = RowsOfFlow(flow, names, file, columns is not None), [], []
    knows_training = reference is not None and reference.training_rows is not None

    def scored():
        for piece in opened.pieces(names if output is None else opened.names):
            rows = found.add(piece.select(names))
            with advised_on(flow):
                scores = score(flow, rows, reference, threshold)
                if explain is not None:
                    reasons = _as_reasons(replacement_gains(flow, rows), names, explain)
                    scores = scores._replace(reasons=reasons)
            parts.append(scores)
            if knows_training:
                hashes.append(row_hashes(rows))
            if opened.is_text and output is not None and pathlib.Path(output).suffix != ".csv":
                piece = _with_numbers(piece, names)
            yield with_scores(piece, as_columns(scores), file)
        if not found.rows:
            raise ValueError(f"{file} has no rows")
        found.check()

    if output is None:
        for _ in scored():
            pass
    else:
        store_pieces(scored(), pathlib.Path(output))
    if knows_training:
        advise_on_training_hashes(reference, np.concatenate(hashes), file)

    def joined(values):
        return None if values[0] is None else np.concatenate(values)

    *arrays, thresholds, reasons = zip(*parts, strict=True)
    explained = None if explain is None else pyarrow.concat_tables(reasons)
    return Scores(*map(joined, arrays), thresholds[0], explained)


def as_columns(scores: Scores) -> "pyarrow.Table":
    """Returns scores, and reasons, as columns of a table, with null in rows without a score."""
    import pyarrow

    skipped = np.isnan(scores.log_density)
    columns = {"log_density": scores.log_density.astype("float64")}
    if scores.quantile is not None:
        columns |= {"quantile": scores.quantile.astype("float64"), "outlier": scores.outlier}
    columns = {name: pyarrow.array(values, mask=skipped) for name, values in columns.items()}
    reasons = scores.reasons
    if reasons is not None:
        columns |= dict(zip(reasons.column_names, reasons.columns, strict=True))
    return pyarrow.table(columns)


def with_scores(table: "pyarrow.Table", scores: "pyarrow.Table", source: Any) -> "pyarrow.Table":
    """Returns a table with scores beside it, in place of all those that an earlier call has added.

    These are the last columns: `log_density`, perhaps `quantile` and `outlier`, perhaps reasons.

    Args:
      table: `pyarrow.Table`.
      scores: `pyarrow.Table` of as many rows.
      source: what messages call the table.

    Raises:
      ValueError: if another column has the name of a score.
    """
    old = _ADDED.search("\n".join(table.column_names))
    added = len(old[0].strip("\n").split("\n")) if old else 0
    table = table.select(range(table.num_columns - added))
    for name in scores.column_names:
        if name in table.column_names:
            raise ValueError(
                f"{source} has a column {name!r} of its own, a name of scores: rename it first"
            )
        table = table.append_column(name, scores[name])
    return table


def _with_numbers(table, names):
    """Returns a table of texts with numbers in some columns, and null where they hold others."""
    import pyarrow

    for name in names:
        floats, _ = as_floats(table[name])
        column = pyarrow.array(floats, mask=np.isnan(floats))
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _as_reasons(explanation, names, most):
    """Returns the columns with the largest gains as columns of a table, null without a score."""
    import pyarrow

    columns = {}
    for i, parts in enumerate(zip(*(part.T for part in explanation.largest(most)), strict=True), 1):
        which, gains, values = parts
        skipped = np.isnan(gains)
        for name, part in {
            "column": np.array(names)[which],
            "gain": gains,
            "value": values,
        }.items():
            columns[f"explain_{i}_{name}"] = pyarrow.array(part, mask=skipped)
    return pyarrow.table(columns)
