"""Formats of tables in files: each is opened in one way, to be read whole or in pieces."""

import pathlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfnvp.advice import warn_of_missing_header, warn_of_text_form
from tfnvp.data.foreign_files import check_values
from tfnvp.data.table_values import NUMBER, check_names, is_text, repeated_names
from tfnvp.data.text_headers import seems_a_row
from tfnvp.data.text_tables import COMPRESSIONS, TextOptions, TextTable, find_form
from tfnvp.data.typed_tables import (
    OpenedTable,
    index_of,
    open_array,
    open_excel,
    open_feather,
    open_parquet,
)

if TYPE_CHECKING:
    import pyarrow

# Rows of a piece that make it large enough, and values.
_ROWS, _VALUES = 2**15, 2**21

# What spreadsheets take for a formula. Written after an apostrophe, it is a text for them.
_FORMULA = r"(?s)^[=+\-@\t\r\n]."


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
        opened = _open_text(file, compression, text, columns, advise)
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


def _open_text(file, compression, text, columns, advise):
    if text.delimiter is None and format_of(file)[0] == ".tsv":
        text = text._replace(delimiter="\t")
    form = find_form(file, compression, text, columns)
    table = TextTable(file, compression, form)
    written = table.names()
    # As `safe_for_spreadsheets` marks them.
    names = [
        name.removeprefix("'") if re.match(_FORMULA, name[1:]) else name.strip() for name in written
    ]
    by_name = dict(zip(names, written, strict=True))
    is_missing = form.header.is_missing
    if advise:
        if is_missing or seems_a_row(names):
            warn_of_missing_header(file, names, is_missing)
        in_comment = form.has_comments and not is_missing and not form.header.lines
        warn_of_text_form(file, form.decimal, form.header.names if in_comment else None)

    def renamed(columns):
        places = [by_name[name if name in by_name else name.strip()] for name in columns]
        for piece in _joined(table.pieces(places)):
            yield piece.rename_columns(list(columns))

    index = index_of(names)
    return OpenedTable(names, renamed, has_names=not is_missing, is_text=True, index=index)


def _joined(tables):
    """Yields tables of one number of rows, but for the last: each costs time of its own."""
    import pyarrow

    waiting, rows = [], 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        size = min(_ROWS, max(1, _VALUES // table.num_columns))
        if rows >= size:
            whole, rows = pyarrow.concat_tables(waiting), rows % size
            for first in range(0, len(whole) - rows, size):
                yield whole.slice(first, size).combine_chunks()
            waiting = [whole.slice(len(whole) - rows)]
    if rows:
        yield pyarrow.concat_tables(waiting).combine_chunks()


_TEXTS = (".csv", ".tsv", ".txt")
_READERS = {
    ".parquet": open_parquet,
    ".feather": open_feather,
    ".arrow": open_feather,
    ".xlsx": open_excel,
    ".npy": open_array,
    ".npz": open_array,
}


def safe_for_spreadsheets(table: "pyarrow.Table") -> "pyarrow.Table":
    """Returns a table that is safe to open with a spreadsheet once it is a `.csv`.

    Names of columns and texts that a spreadsheet would run as a formula, such as "=cmd|' /C x'!A0",
    get an apostrophe in front, which `open_table` removes from the names. Numbers stay as they are.
    """
    import pyarrow.compute as pc

    names, columns = [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = getattr(column.type, "value_type", column.type)  # Of a dictionary.
        if is_text(kind) or "binary" in str(kind):
            column = column.cast(kind).cast("string")
            harmless = pc.match_substring_regex(column, NUMBER)
            is_run = pc.and_not(pc.match_substring_regex(column, _FORMULA), harmless)
            column = pc.if_else(is_run, pc.utf8_replace_slice(column, 0, 0, "'"), column)
        names.append("'" * bool(re.match(_FORMULA, name)) + name)
        columns.append(column)
    return type(table).from_arrays(columns, names=names)
