"""The rows of a table in a file, as a flow takes them."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnvp import advice
from tfnvp.data import table_values
from tfnvp.data.division import row_hashes
from tfnvp.data.table_formats import TextOptions
from tfnvp.data.table_rows import TableRows
from tfnvp.data.tables import read_table
from tfnvp.inputs.columns import column_namer
from tfnvp.inputs.support import OutsideOfSupport
from tfnvp.scoring.reference import THRESHOLD, Reference, read_reference

if TYPE_CHECKING:
    import pyarrow

    from tfnvp.flows import Flow


class RowsOfFlow(TableRows):
    """What a pass over the pieces of a table has found for a flow of vectors.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      columns: names of the columns to read.
      source: what messages call the table.
      are_known: whether the flow was trained on columns of these names. They hold numbers, but for
        some rows.

    Raises:
      ValueError: for another number of columns than the flow's.
    """

    def __init__(self, flow: "Flow", columns: Sequence[str], source: Any, are_known: bool):
        super().__init__(columns, source, width=flow.event_size)
        self._are_known, self._support = are_known, _outside_of(flow, columns, source)

    def add(self, table: "pyarrow.Table") -> np.ndarray:
        rows = super().add(table)
        self._support.add(rows)
        return rows

    def check(self, skip_bad: bool = True) -> None:
        """Raises `ValueError` for columns of texts, and warns of rows outside of the support."""
        if not self._are_known:
            self.check_columns(skip_bad)
        _advise(self._support)


def advise_on_support(
    flow: "Flow", rows: np.ndarray, columns: Sequence[str] | None, source: Any
) -> None:
    """Warns of rows outside of a flow's support by the names of columns and the numbers of rows.

    Args:
      flow: a `tfnvp.Flow` of vectors.
      rows: `[n, columns]`.
      columns: names of the columns, or None.
      source: what messages call the rows.
    """
    found = _outside_of(flow, columns, source)
    found.add(rows)
    _advise(found)


def advised_on(flow: "Flow") -> contextlib.AbstractContextManager:
    """Returns a context for rows outside of the support that their reader has warned of.

    The flow, which knows neither their columns nor their place in a file, does not warn again.
    """
    spec = flow.data_spec
    known = spec.support is None and spec.data_side
    return advice.unsupported_rows_known() if known else contextlib.nullcontext()


def _outside_of(flow, columns, source):
    namer = column_namer(columns and list(columns))
    side = flow.data_spec.data_side
    return OutsideOfSupport(side, str(source), namer, lambda index: f"row {index[0] + 1}")


def _advise(found):
    for fault in found.faults():
        advice.warn_of_unsupported_rows(fault)


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

    A warning names columns with values outside of the flow's support.

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
    found = RowsOfFlow(flow, table.column_names, source, columns is not None)
    rows = found.add(table)
    found.check()
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
