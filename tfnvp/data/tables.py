"""Tables in files: read whole or in pieces, and written."""

import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfnvp._atomic import replacing
from tfnvp.advice import warn_of_columns, warn_of_skipped
from tfnvp.data.splits import Splits, split_at_random
from tfnvp.data.table_formats import as_table, open_table
from tfnvp.data.table_values import (
    check_names,
    names_in,
    rows_of_table,
    select,
    with_empty_columns,
    with_gaps,
    with_types,
)
from tfnvp.inputs.precision import check_precision

if TYPE_CHECKING:
    import pyarrow

_PARTS = ("train", "validation", "test")


def load_table(
    file: str | pathlib.Path, skip_bad: bool = False, columns: str | None = None
) -> Splits:
    """Reads a table of real numbers: `.csv`, `.parquet`, `.npy` or `.npz` (of one array).

    An `.npz` with the arrays `train`, `validation` and `test` is divided as it says, everything
    else 80/10/10 at random.

    Args:
      file: path of the file.
      skip_bad: bool, leave out rows with missing or infinite values, or with text in a column of
        numbers, with a warning that counts them.
      columns: names of the columns to read, in one text with commas between them. Default: all,
        which must then hold numbers.

    Returns:
      `Splits` of float32 `[n, columns]` with the names of the columns; the flow standardises them
      itself.

    Raises:
      ValueError: if the file is missing, of another type, or not a finite table of numbers.
    """
    file = pathlib.Path(file)
    names = None if columns is None else names_in(columns)
    if parts := _divided_tables(file):
        tables = [part if names is None else select(part, names, file) for part in parts]
    else:
        opened = open_table(file)
        tables = [_whole(opened, file, names)]
    tables = [with_gaps(table) if skip_bad else with_types(table) for table in tables]
    # Training rows, or all of them, before they are rounded.
    table, *others = tables
    rows = _finite_rows(table, file, skip_bad)
    check_precision(rows, lambda place: f"column {table.column_names[int(place[0])]!r}", file)
    rows = rows.astype("float32")
    if parts:
        others = (_finite_rows(part, file, skip_bad).astype("float32") for part in others)
        return Splits(file.stem, rows, *others)
    warn_of_columns({name: table[name].to_numpy() for name in table.column_names})
    return split_at_random(
        file.stem, rows, columns=tuple(table.column_names) if opened.has_names else None
    )


def table_chunks(
    file: str | pathlib.Path, skip_bad: bool = False, columns: str | None = None
) -> tuple[Iterator[np.ndarray], int]:
    """Reads a table of real numbers in pieces of bounded size.

    Args:
      file: path of a `.parquet` file, whose row groups are read one by one, a `.csv` file, or an
        array `.npy`.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.
      columns: names of the columns to read, in one text with commas between them. Default: all,
        which must then hold numbers.

    Returns:
      `(chunks, count)`: an iterator over float32 arrays `[n, columns]`, and the number of rows.

    Raises:
      ValueError: if there is no such table, or it lacks a column; from the iterator, if values are
        missing, infinite or no numbers.
    """
    file = pathlib.Path(file)
    opened = open_table(file)
    names = opened.names if columns is None else names_in(columns)
    check_names(names, opened.names, file)
    if not skip_bad:
        count = opened.count
        if count is None:
            count = sum(piece.num_rows for piece in opened.pieces(names[:1]))
        return _finite_chunks(opened, names, file), count
    total = good = 0
    for rows in _rows(opened, names, file, gaps=True):
        total += len(rows)
        good += int(np.isfinite(rows).all(axis=1).sum())
    if good < total:
        warn_of_skipped(total - good, total, f"rows of {file}")
    rows = _rows(opened, names, file, gaps=True)
    return (piece[np.isfinite(piece).all(axis=1)] for piece in rows), good


def table_columns(file: str | pathlib.Path, columns: str | None = None) -> tuple[str, ...] | None:
    """Returns the names of the columns that `table_chunks` reads, or None where they have none.

    Args:
      file: path of the table.
      columns: as for `table_chunks`.

    Raises:
      ValueError: if it cannot be read as a table.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "people.csv")
    >>> _ = file.write_text("height,weight\\n1.71,65.5\\n")
    >>> table_columns(file)
    ('height', 'weight')
    """
    opened = open_table(pathlib.Path(file), advise=False)
    if not opened.has_names:
        return None
    return tuple(opened.names) if columns is None else names_in(columns)


def read_table(
    file: str | pathlib.Path,
    numbers: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> "pyarrow.Table":
    """Reads a table with columns of any kind.

    Args:
      file: path that ends in `.csv`, `.parquet`, `.npy` or `.npz` (of one array, `[n, columns]`,
        whose columns are named "0", "1" and so on).
      numbers: names of columns; the others of a `.csv` stay text, such as keys with leading
        zeros. Default: each column that holds only numbers.
      columns: names of the columns to read. Default: all.

    Returns:
      `pyarrow.Table`.

    Raises:
      ValueError: if the file is missing, of another type, cannot be read, or lacks a column.
    """
    file = pathlib.Path(file)
    return _whole(open_table(file), file, columns, numbers)


def write_table(
    file: str | pathlib.Path, rows: np.ndarray, columns: Sequence[str] | None = None
) -> None:
    """Writes rows as a table: `.csv` or `.parquet`.

    Args:
      file: path.
      rows: `[n, columns]`.
      columns: names of the columns. Default: x1, x2 and so on.
    """
    import pyarrow

    names = columns or [f"x{i + 1}" for i in range(rows.shape[1])]
    store_table(pyarrow.table(dict(zip(names, rows.T, strict=True))), pathlib.Path(file))


def store_table(table: "pyarrow.Table", path: pathlib.Path) -> None:
    """Writes a `pyarrow.Table` as `.csv` or `.parquet`: the file is complete or not written."""
    from pyarrow import csv, parquet

    with replacing(path) as temporary:
        (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, temporary)


def _divided_tables(file):
    """Returns the three tables of an `.npz` that is divided already, or None."""
    if file.suffix != ".npz" or not zipfile.is_zipfile(file):
        return None
    with np.load(file, allow_pickle=False) as arrays:
        if set(arrays.files) != set(_PARTS):
            return None
        return [as_table(arrays[part], f"{part} of {file}") for part in _PARTS]


def _whole(opened, file, columns=None, numbers=None):
    """Returns the columns of an opened table, all or some, in one Arrow table."""
    import pyarrow

    columns = opened.names if columns is None else columns
    check_names(columns, opened.names, file)
    pieces = [piece for piece in opened.pieces(columns) if piece.num_rows]
    if not pieces:
        raise ValueError(f"{file} has no rows")
    table = pyarrow.concat_tables(pieces)
    return with_types(table, numbers) if opened.is_text else table


def _rows(opened, columns, file, gaps):
    """Yields the rows of a table in pieces; with `gaps`, texts among numbers are NaN."""
    first = 0
    for table in opened.pieces(columns):
        table = with_types(table)
        if gaps:
            table = with_gaps(table)
        # A column of numbers can be empty in a whole piece.
        yield rows_of_table(with_empty_columns(table), file, first=first)
        first += table.num_rows


def _finite_chunks(opened, columns, file):
    first = 0
    for rows in _rows(opened, columns, file, gaps=False):
        broken = np.argwhere(~np.isfinite(rows))
        if len(broken):
            row, column = broken[0]
            raise ValueError(
                f"{file} has missing or infinite values, the first in row {first + row + 1}, "
                f"column {columns[column]!r}; `skip_bad` leaves such rows out"
            )
        first += len(rows)
        yield rows


def _finite_rows(table, file, skip_bad):
    rows = rows_of_table(table, file, "float64")
    broken = np.argwhere(~np.isfinite(rows))
    if not len(broken):
        return rows
    row, column = broken[0]
    if not skip_bad:
        raise ValueError(
            f"{file} has {len(broken)} missing or infinite values, the first in row {row + 1}, "
            f"column {table.column_names[column]!r}; `skip_bad` leaves such rows out"
        )
    good = np.isfinite(rows).all(axis=1)
    warn_of_skipped(np.sum(~good), len(rows), f"rows of {file}", f"row {row + 1}")
    return rows[good]
