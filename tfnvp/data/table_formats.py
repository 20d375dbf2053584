"""Formats of tables in files: each is opened in one way, to be read whole or in pieces."""

import itertools
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp.advice import warn_of_missing_header, warn_of_text_form
from tfnvp.data.foreign_files import check_values, reading
from tfnvp.data.table_values import NUMBER, check_names, is_number, is_text, repeated_names
from tfnvp.data.text_tables import COMPRESSIONS, TextTable, find_form

if TYPE_CHECKING:
    import pyarrow

# Most rows of a piece, and most values.
_ROWS, _VALUES = 2**16, 2**24

# Rows of a sheet that are read at once, as objects of Python.
_EXCEL_ROWS = 2**12

# What pandas calls the index of the rows in files.
_INDEX = r"|Unnamed: \d+|__index_level_\d+__"

# Most columns of an array: each becomes an object.
_COLUMNS = 2**18

# What spreadsheets take for a formula. Written after an apostrophe, it is a text for them.
_FORMULA = r"(?s)^[=+\-@\t\r\n]."


class TextOptions(NamedTuple):
    """What a user says of a table of text; None is found in the file.

    Attributes:
      delimiter: str, the character between values; a space stands for any number of spaces.
      encoding: str, name of a codec of Python.
    """

    delimiter: str | None = None
    encoding: str | None = None


class OpenedTable(NamedTuple):
    """A table in a file, of which only the names of the columns have been read.

    `names` are those of the columns to read. `pieces` is a function of names of columns that
    returns Arrow tables of bounded size. `count` is the number of rows, None for text.
    `has_names` says whether the file names its columns, `is_text` whether the values of the pieces
    are texts. `index` are the columns that only number the rows.
    """

    names: list[str]
    pieces: Callable[[Sequence[str]], Iterator["pyarrow.Table"]]
    count: int | None = None
    has_names: bool = True
    is_text: bool = False
    index: tuple[str, ...] = ()


def open_table(
    file: pathlib.Path,
    columns: Sequence[str] | None = None,
    text: TextOptions | None = None,
    advise: bool = True,
) -> OpenedTable:
    """Opens a table in a file of any of the formats of `load_table`.

    Args:
      file: path of the table.
      columns: names of the columns to read. Default: all.
      text: how a table of text is written.
      advise: bool, warn of a table of text that seems to have no header, and of what it has that
        most tables do not have.

    Raises:
      ValueError: if there is no such file, it is not a table, several columns have one name, or it
        lacks a column.
    """
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    ending, compression = format_of(file)
    text = text or TextOptions()
    if ending in _READERS and compression is None:
        if any(text):
            raise ValueError(f"`delimiter` and `encoding` are those of text. Received: {file}")
        opened = _READERS[ending](file)
    elif ending in _TEXTS:
        opened = _open_text(file, compression, text, advise)
    else:
        known = ", ".join([*_TEXTS, *_READERS])
        packed = ", ".join(COMPRESSIONS)
        raise ValueError(f"a table must be {known}; text can end in {packed}. Received: {file}")
    names = opened.names
    check_values((opened.count or 0) * len(names), file)
    repeated = [name for name in repeated_names(names) if name not in opened.index]
    if repeated:
        raise ValueError(f"{file} has several columns of the name {repeated[0]!r}: rename them")
    if columns is None:
        return opened
    check_names(columns, names, file)
    return opened._replace(names=list(columns), index=())


def format_of(file: pathlib.Path) -> tuple[str, str | None]:
    """Returns the ending of a file that names its format, and Arrow's name of its compression.

    >>> format_of(pathlib.Path("rows.CSV.gz"))
    ('.csv', 'gzip')
    """
    *others, last = ["", "", *(ending.lower() for ending in file.suffixes)]
    return (others[-1], COMPRESSIONS[last]) if last in COMPRESSIONS else (last, None)


def _open_text(file, compression, text, advise):
    ending = format_of(file)[0]
    delimiter = text.delimiter or ("\t" if ending == ".tsv" else None)
    form = find_form(file, compression, delimiter, text.encoding)
    table = TextTable(file, compression, form)
    written = table.names()
    # As `write_csv` marks them.
    names = [name.removeprefix("'") if re.match(_FORMULA, name[1:]) else name for name in written]
    by_name = dict(zip(names, written, strict=True))
    if advise:
        if all(map(is_number, names)):
            warn_of_missing_header(file, names)
        warn_of_text_form(file, form.decimal, form.names)

    def renamed(columns):
        for piece in _joined(table.pieces([by_name[name] for name in columns])):
            yield piece.rename_columns(list(columns))

    return OpenedTable(names, renamed, is_text=True, index=_index_of(names))


def _joined(tables):
    """Yields tables of more rows: each costs time of its own."""
    import pyarrow

    waiting, rows = [], 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= _ROWS // 2 or rows * table.num_columns >= _VALUES // 8:
            yield pyarrow.concat_tables(waiting).combine_chunks()
            waiting, rows = [], 0
    if waiting:
        yield pyarrow.concat_tables(waiting).combine_chunks()


def _index_of(names):
    """Returns the columns that pandas writes for its index of the rows."""
    return tuple(name for name in names if re.fullmatch(_INDEX, name))


def _open_parquet(file):
    import pyarrow
    from pyarrow import parquet

    with reading(file, "a table"), parquet.ParquetFile(file) as opened:
        schema, count = opened.schema_arrow, opened.metadata.num_rows
        described = (schema.pandas_metadata or {}).get("index_columns", ())

    def pieces(columns):
        with reading(file, "a table"), parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS, columns=list(columns)):
                yield pyarrow.Table.from_batches([batch]).select(list(columns))

    index = {*_index_of(schema.names), *(name for name in described if isinstance(name, str))}
    return OpenedTable(schema.names, pieces, count, index=tuple(sorted(index)))


def _open_feather(file):
    import pyarrow
    from pyarrow import ipc

    with reading(file, "a table (Feather is read in its version 2)"):
        opened = ipc.open_file(pyarrow.memory_map(str(file)))
        batches = range(opened.num_record_batches)
        count = sum(opened.get_batch(i).num_rows for i in batches)

    def pieces(columns):
        with reading(file, "a table"):
            for i in batches:
                yield pyarrow.Table.from_batches([opened.get_batch(i)]).select(list(columns))

    names = opened.schema.names
    return OpenedTable(names, pieces, count, index=_index_of(names))


def _open_excel(file):
    import pyarrow

    try:
        import openpyxl
    except ImportError:
        raise ValueError(f"{file} needs the package openpyxl: `pip install openpyxl`") from None
    _check_archive(file)

    def rows():
        with reading(file, "a table"), file.open("rb") as stream:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            for row in book.worksheets[0].iter_rows(values_only=True):
                if any(value is not None for value in row):
                    yield row

    names = ["" if name is None else str(name) for name in next(rows(), ())]

    def pieces(columns):
        places = [names.index(name) for name in columns]
        lines = itertools.islice(rows(), 1, None)
        while piece := list(itertools.islice(lines, _EXCEL_ROWS)):
            padded = [(*row, *(None,) * (len(names) - len(row))) for row in piece]
            values = [[row[place] for row in padded] for place in places]
            yield pyarrow.table([_of_one_type(column) for column in values], list(columns))

    return OpenedTable(names, pieces, index=_index_of(names))


def _of_one_type(values):
    """Returns the cells of a column as an Arrow array, as texts if their types differ."""
    import pyarrow

    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.array([None if value is None else str(value) for value in values])


def _check_archive(file):
    """Raises `ValueError` if a file that is an archive unpacks to far more than its size allows."""
    sizes = []
    with reading(file, "a table"):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                sizes = [member.file_size for member in archive.infolist()]
    check_values(sum(sizes) // np.dtype("float64").itemsize, file)


def read_arrays(file: pathlib.Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays of an `.npz`, or that of an `.npy` under the name "".

    Args:
      file: path.
      names: names that an `.npz` must have, without others. Returns nothing if it has other ones.

    Raises:
      ValueError: if the file is damaged, or holds Python objects or far more than its size allows.
    """
    _check_archive(file)
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

    return OpenedTable(names, pieces, len(rows), has_names=False)


_TEXTS = (".csv", ".tsv", ".txt")
_READERS = {
    ".parquet": _open_parquet,
    ".feather": _open_feather,
    ".arrow": _open_feather,
    ".xlsx": _open_excel,
    ".npy": _open_array,
    ".npz": _open_array,
}


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
