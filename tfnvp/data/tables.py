"""Tables in files: read whole or in pieces, and written."""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfnvp._atomic import replacing
from tfnvp.advice import warn_of_columns, warn_of_skipped
from tfnvp.data import table_values
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.splits import PARTS, Splits, split_at_random
from tfnvp.data.table_formats import as_table, open_table, read_arrays, write_csv
from tfnvp.inputs.columns import column_namer
from tfnvp.precision import check_precision

if TYPE_CHECKING:
    import pyarrow


def load_table(
    file: str | pathlib.Path,
    skip_bad: bool = False,
    columns: str | Sequence[str] | None = None,
    division: str | None = BY_CONTENT,
) -> Splits:
    """Reads a table of real numbers: `.csv`, `.parquet`, `.npy` or `.npz` (of one array).

    An `.npz` with the arrays `train`, `validation` and `test` is divided as it says, everything
    else 80/10/10 by `split_at_random`.

    Args:
      file: path of the file.
      skip_bad: bool, leave out rows with missing or infinite values, or with text in a column of
        numbers, with a warning that counts them.
      columns: names of the columns to read, also in one text with commas between them. Default:
        all, which must then hold numbers.
      division: as for `split_at_random`.

    Returns:
      `Splits` of float32 `[n, columns]` with the names of the columns; the flow standardises them
      itself.

    Raises:
      ValueError: if the file is missing, of another type, or not a finite table of numbers.
    """
    file = pathlib.Path(file)
    names = table_values.names_in(columns) if isinstance(columns, str) else columns
    parts = _divided_tables(file)
    if parts:
        tables = [table_values.select(part, names, file) for part in parts]
    else:
        opened = open_table(file, names)
        tables = [_whole(opened, file)]
    tables = [table_values.with_types(table, gaps=skip_bad) for table in tables]
    columns = tables[0].column_names
    rows = (table_values.rows_of_table(table, file, "float64") for table in tables)
    # Training rows, or all of them, before they are rounded.
    rows, *others = (table_values.finite_rows(part, file, skip_bad, columns) for part in rows)
    check_precision(rows, column_namer(columns), file)
    rows, *others = (part.astype("float32") for part in (rows, *others))
    if parts:
        return Splits(file.stem, rows, *others)
    warn_of_columns({name: tables[0][name].to_numpy() for name in columns})
    columns = tuple(columns) if opened.has_names else None
    return split_at_random(file.stem, rows, columns=columns, division=division)


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
    opened = open_table(file, table_values.names_in(columns))
    if not skip_bad:
        count = opened.count
        if count is None:
            count = sum(piece.num_rows for piece in opened.pieces(opened.names[:1]))
        pieces = _rows(opened, file, gaps=False)
        finite = functools.partial(table_values.finite_rows, source=file, names=opened.names)
        return (finite(rows, first=first) for first, rows in pieces), count
    total = good = 0
    for _, rows in _rows(opened, file, gaps=True):
        total += len(rows)
        good += int(np.isfinite(rows).all(axis=1).sum())
    if good < total:
        warn_of_skipped(total - good, total, f"rows of {file}")
    pieces = _rows(opened, file, gaps=True)
    return (rows[np.isfinite(rows).all(axis=1)] for _, rows in pieces), good


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
    return table_values.names_in(columns) or tuple(opened.names)


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
    opened = open_table(file, columns)
    table = _whole(opened, file)
    return table_values.with_types(table, numbers) if opened.is_text else table


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
    from pyarrow import parquet

    with replacing(path) as temporary:
        (write_csv if path.suffix == ".csv" else parquet.write_table)(table, temporary)


def is_divided(file: str | pathlib.Path) -> bool:
    """Whether a table is an `.npz` with the arrays `train`, `validation` and `test`."""
    return bool(_divided_tables(pathlib.Path(file)))


def _divided_tables(file):
    """Returns the three tables of an `.npz` that is divided already, or none."""
    arrays = read_arrays(file, PARTS) if file.suffix == ".npz" and file.is_file() else {}
    return [as_table(arrays[part], f"{part} of {file}") for part in PARTS if arrays]


def _whole(opened, file):
    """Returns an opened table as one Arrow table."""
    import pyarrow

    pieces = [piece for piece in opened.pieces(opened.names) if piece.num_rows]
    if not pieces:
        raise ValueError(f"{file} has no rows")
    return pyarrow.concat_tables(pieces)


def _rows(opened, file, gaps):
    """Yields the rows of a table in pieces, each with the number of rows before it.

    With `gaps`, texts among numbers are NaN.
    """
    first = 0
    for table in opened.pieces(opened.names):
        table = table_values.with_types(table, gaps=gaps)
        # A column of numbers can be empty in a whole piece.
        yield first, table_values.rows_of_table(table, file, first=first, empty=True)
        first += table.num_rows
