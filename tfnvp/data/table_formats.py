"""Formats of tables in files: each is opened in one way, to be read whole or in pieces."""

import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp.advice import warn_of_missing_header
from tfnvp.data.foreign_files import check_values, reading
from tfnvp.data.table_values import NUMBER, check_names, is_number, is_text, repeated_names

if TYPE_CHECKING:
    import pyarrow

# Most rows of a piece, and most values.
_ROWS, _VALUES = 2**16, 2**24

# Most columns of an array: each becomes an object.
_COLUMNS = 2**18

# What spreadsheets take for a formula. Written after an apostrophe, it is a text for them.
_FORMULA = r"(?s)^[=+\-@\t\r\n]."


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
    check_values((opened.count or 0) * len(names), file)
    if repeated := repeated_names(names):
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

    with reading(file, _CSV), csv.open_csv(file) as reader:
        written = reader.schema.names
    names = [name.removeprefix("'") if re.match(_FORMULA, name[1:]) else name for name in written]
    by_name = dict(zip(names, written, strict=True))

    def pieces(columns):
        # As texts: a type that Arrow infers from the first rows might not fit all others.
        included = [by_name[name] for name in columns]
        types = dict.fromkeys(included, pyarrow.string())
        options = csv.ConvertOptions(include_columns=included, column_types=types)
        with reading(file, _CSV), csv.open_csv(file, convert_options=options) as reader:
            for batch in reader:
                yield pyarrow.Table.from_batches([batch]).rename_columns(list(columns))

    return OpenedTable(names, pieces, None, has_names=True, is_text=True)


_CSV = "a table (a .csv has commas between its values, in UTF-8)"


def _open_parquet(file):
    import pyarrow
    from pyarrow import parquet

    with reading(file, "a table"), parquet.ParquetFile(file) as opened:
        names, count = opened.schema_arrow.names, opened.metadata.num_rows

    def pieces(columns):
        with reading(file, "a table"), parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS, columns=list(columns)):
                yield pyarrow.Table.from_batches([batch]).select(list(columns))

    return OpenedTable(names, pieces, count, has_names=True, is_text=False)


def read_arrays(file: pathlib.Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz`, or that of an `.npy` under the name "".

    Args:
      file: path.
      names: names that an `.npz` must have, without others. Returns nothing if it has other ones.

    Raises:
      ValueError: if the file is damaged, or holds Python objects or far more than its size allows.
    """
    sizes = []
    with reading(file, "a table"):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                sizes = [member.file_size for member in archive.infolist()]
    check_values(sum(sizes) // np.dtype("float64").itemsize, file)
    with reading(file, "a table"):
        arrays = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            arrays = {"": arrays}
        if names is not None and set(names) != set(arrays):
            return {}
        arrays = dict(arrays)
    check_values(sum(array.size for array in arrays.values()), file)
    return arrays


def _open_array(file):
    arrays = read_arrays(file)
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


def as_table(rows: np.ndarray, source: Any) -> "pyarrow.Table":
    """Returns an array `[n, columns]` as a table with the columns "0", "1" and so on."""
    import pyarrow

    if rows.ndim != 2 or not 0 < rows.shape[1] <= _COLUMNS:
        expected = f"rows of two or more numbers, and at most {_COLUMNS:,}"
        raise ValueError(f"{source} must hold {expected}. Received: {rows.shape}")
    with reading(source, "a table"):
        return pyarrow.table({str(i): column for i, column in enumerate(rows.T)})


def write_csv(table: "pyarrow.Table", file: pathlib.Path) -> None:
    """Writes a table as `.csv` that is safe to open with a spreadsheet.

    Names of columns and texts that a spreadsheet would run as a formula, such as "=cmd|' /C x'!A0",
    get an apostrophe in front, which `open_table` removes from the names. Numbers stay as they are.
    """
    import pyarrow.compute as pc
    from pyarrow import csv

    for i, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = getattr(column.type, "value_type", column.type)  # Of a dictionary.
        if is_text(kind) or "binary" in str(kind):
            column = column.cast(kind).cast("string")
            harmless = pc.match_substring_regex(column, NUMBER)
            is_run = pc.and_not(pc.match_substring_regex(column, _FORMULA), harmless)
            column = pc.if_else(is_run, pc.utf8_replace_slice(column, 0, 0, "'"), column)
        table = table.set_column(i, "'" * bool(re.match(_FORMULA, name)) + name, column)
    csv.write_csv(table, file)
