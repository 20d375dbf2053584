"""Formats of tables in files: each is opened in one way, to be read whole or in pieces."""

import contextlib
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp.advice import warn_of_missing_header
from tfnvp.data.table_values import check_names, is_number

if TYPE_CHECKING:
    import pyarrow

# Rows of a piece.
_ROWS = 2**16


class OpenedTable(NamedTuple):
    """A table in a file, of which only the names of the columns have been read.

    `names` are those of the columns to read. `pieces` is a function of names of columns that
    returns Arrow tables of bounded size. `count` is the number of rows, None for a `.csv`.
    `has_names` says whether the file names its columns, `is_text` whether the values of the pieces
    are texts.
    """

    names: list[str]
    pieces: Callable[[Sequence[str]], Iterator["pyarrow.Table"]]
    count: int | None
    has_names: bool
    is_text: bool


def open_table(
    file: pathlib.Path, columns: Sequence[str] | None = None, advise: bool = True
) -> OpenedTable:
    """Opens a `.csv`, `.parquet`, `.npy` or `.npz` (of one array).

    Args:
      file: path of the table.
      columns: names of the columns to read. Default: all.
      advise: bool, warn of a `.csv` that seems to have no header.

    Raises:
      ValueError: if there is no such file, it is not a table, several columns have one name, or it
        lacks a column.
    """
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    if file.suffix not in _READERS:
        raise ValueError(f"a table must be .csv, .parquet, .npy or .npz. Received: {file}")
    opened = _READERS[file.suffix](file)
    names = opened.names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file} has several columns of the name {repeated[0]!r}: rename them")
    if opened.is_text:
        if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
            raise ValueError(f"{file} has one column {names[0]!r}: it needs commas between values")
        if advise and all(map(is_number, names)):
            warn_of_missing_header(file, names)
    if columns is None:
        return opened
    check_names(columns, names, file)
    return opened._replace(names=list(columns))


def _open_csv(file):
    import pyarrow
    from pyarrow import csv

    with _errors_of(file), csv.open_csv(file) as reader:
        names = reader.schema.names

    def pieces(columns):
        # As texts: a type that Arrow infers from the first rows might not fit all others.
        types = dict.fromkeys(columns, pyarrow.string())
        options = csv.ConvertOptions(include_columns=list(columns), column_types=types)
        with _errors_of(file), csv.open_csv(file, convert_options=options) as reader:
            yield from (pyarrow.Table.from_batches([batch]) for batch in reader)

    return OpenedTable(names, pieces, None, has_names=True, is_text=True)


def _open_parquet(file):
    import pyarrow
    from pyarrow import parquet

    with _errors_of(file), parquet.ParquetFile(file) as opened:
        names, count = opened.schema_arrow.names, opened.metadata.num_rows

    def pieces(columns):
        with _errors_of(file), parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS, columns=list(columns)):
                yield pyarrow.Table.from_batches([batch]).select(list(columns))

    return OpenedTable(names, pieces, count, has_names=True, is_text=False)


def _open_array(file):
    try:
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
        arrays = {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error
    if len(arrays) != 1:
        named = ", ".join(arrays)
        expected = "one array, or `train`, `validation` and `test`"
        raise ValueError(f"{file} must hold {expected}. Received arrays: {named}")
    (rows,) = arrays.values()
    names = as_table(rows[:0], file).column_names

    def pieces(columns):
        for first in range(0, len(rows), _ROWS):
            yield as_table(np.array(rows[first : first + _ROWS]), file).select(list(columns))

    return OpenedTable(names, pieces, len(rows), has_names=False, is_text=False)


_READERS = {".csv": _open_csv, ".parquet": _open_parquet, ".npy": _open_array, ".npz": _open_array}


@contextlib.contextmanager
def _errors_of(file):
    """Raises Arrow's errors of a file as `ValueError` that names it."""
    import pyarrow

    try:
        yield
    except pyarrow.ArrowInvalid as error:
        hint = " (a .csv has commas between its values, in UTF-8)" * (file.suffix == ".csv")
        raise ValueError(f"{file} cannot be read as a table{hint}: {error}") from error


def as_table(rows: np.ndarray, source: Any) -> "pyarrow.Table":
    """Returns an array `[n, columns]` as a table with the columns "0", "1" and so on."""
    import pyarrow

    if rows.ndim != 2:
        raise ValueError(f"{source} must hold rows of two or more numbers. Received: {rows.shape}")
    return pyarrow.table({str(i): column for i, column in enumerate(rows.T)})
