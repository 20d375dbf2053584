"""Tables in files: read whole or in pieces, and written."""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfnvp._atomic import replacing
from tfnvp.advice import warn_of_index_columns
from tfnvp.data import table_values
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.splits import PARTS, Splits, split_at_random
from tfnvp.data.table_formats import TextOptions, open_table, safe_for_spreadsheets
from tfnvp.data.table_rows import TableRows
from tfnvp.data.typed_tables import as_table, read_arrays
from tfnvp.inputs.bounds import Pair, bounds_of_columns, circles_of_columns, intervals
from tfnvp.inputs.columns import column_namer

if TYPE_CHECKING:
    import pyarrow

# Rows that are written at once.
_WRITTEN = 2**16


def load_table(
    file: str | pathlib.Path,
    skip_bad: bool = False,
    columns: str | Sequence[str] | None = None,
    bounds: Mapping[str, Pair] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    division: str | None = BY_CONTENT,
    circular: Mapping[str, Pair] | None = None,
) -> Splits:
    """Reads a table of real numbers.

    The format is that of the file's ending, in any letter case: text (`.csv`, `.tsv`, `.txt`, also
    with `.gz`, `.bz2` or `.zst` after it), `.parquet`, `.feather`, `.arrow`, `.xlsx` (its first
    sheet; needs openpyxl), `.npy` or `.npz` (of one array). In text, the delimiter, a decimal comma
    and lines of comments, which begin with #, are found. True and false are 1 and 0. Columns that
    only number the rows, as pandas writes its index, are left out unless `columns` names them.

    An `.npz` with the arrays `train`, `validation` and `test` is divided as it says, everything
    else 80/10/10 by `split_at_random`.

    Args:
      file: path of the file.
      skip_bad: bool, leave out rows with missing or infinite values, with text in a column of
        numbers, on or beyond a bound, or outside of an interval of `circular`, with warnings that
        count them.
      columns: names of the columns to read, also in one text with commas between them. Default:
        all, which must then hold numbers.
      bounds: mapping of names of columns to `(low, high)`, such as `{"rain": (0, None)}`, between
        which all values must lie; None is no bound.
      delimiter: the character between the values of a text; a space stands for any number of
        spaces. Default: what the first lines show.
      encoding: name of the encoding of a text, such as "latin-1". Default: UTF-8, or UTF-16 where
        the file begins with its mark.
      division: as for `split_at_random`.
      circular: mapping of names of columns to `(low, high)`, such as `{"phase": (0, 360)}`: angles,
        times of day and the like, both ends of whose interval are one point.

    Returns:
      `Splits` of float32 `[n, columns]` with the names of the columns; the flow standardises them
      itself.

    Raises:
      ValueError: if the file is missing, of another type, or not a finite table of numbers inside
        of their bounds; or if `bounds` or `circular` are not pairs of ends of columns, or name the
        same column.
    """
    file = pathlib.Path(file)
    names = table_values.names_in(columns)
    if parts := _divided_tables(file):
        tables = [table_values.select(part, names, file) for part in parts]
        columns, pieces = tables[0].column_names, [[table] for table in tables]
    else:
        opened = _opened(file, names, TextOptions(delimiter, encoding))
        columns, pieces = opened.names, [opened.pieces(opened.names)]
    pairs = bounds_of_columns(bounds, columns, file) if bounds else None
    circles = circles_of_columns(circular, columns, file) if circular else None
    inside = intervals(pairs, circles, column_namer(list(columns)))
    rows, *others = (_usable_rows(columns, part, inside, file, skip_bad) for part in pieces)
    if others:
        return Splits(file.stem, rows, *others, bounds=pairs, circular=circles)
    known = tuple(columns) if opened.has_names else None
    splits = split_at_random(file.stem, rows, columns=known, division=division)
    return splits._replace(bounds=pairs, circular=circles)


def table_chunks(
    file: str | pathlib.Path,
    skip_bad: bool = False,
    columns: str | Sequence[str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    bounds: Mapping[str, Pair] | None = None,
) -> tuple[Iterator[np.ndarray], int]:
    """Reads a table of real numbers in pieces of bounded size, after one pass that checks it.

    Args:
      file: as for `load_table`, but no divided `.npz`.
      skip_bad: as for `load_table`.
      columns: as for `load_table`.
      delimiter: as for `load_table`.
      encoding: as for `load_table`.
      bounds: as for `load_table`.

    Returns:
      `(chunks, count)`: an iterator over float32 arrays `[n, columns]`, and the number of rows.

    Raises:
      ValueError: as `load_table`.
    """
    file = pathlib.Path(file)
    opened = _opened(file, table_values.names_in(columns), TextOptions(delimiter, encoding))
    pairs = bounds_of_columns(bounds, opened.names, file) if bounds else None
    found = TableRows(opened.names, file, pairs)
    for piece in opened.pieces(opened.names):
        found.add(piece)
    found.check(skip_bad)

    def chunks():
        for piece in opened.pieces(opened.names):
            yield found.usable_rows(table_values.rows_of_table(piece, file))

    return chunks(), found.usable


def table_columns(
    file: str | pathlib.Path,
    columns: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> tuple[str, ...] | None:
    """Returns the names of the columns that `table_chunks` reads, or None where they have none.

    Args:
      file: path of the table.
      columns: as for `load_table`.
      delimiter: as for `load_table`.
      encoding: as for `load_table`.

    Raises:
      ValueError: if it cannot be read as a table.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "people.csv")
    >>> _ = file.write_text("height,weight\\n1.71,65.5\\n")
    >>> table_columns(file)
    ('height', 'weight')
    """
    text = TextOptions(delimiter, encoding)
    opened = _opened(pathlib.Path(file), table_values.names_in(columns), text, advise=False)
    return tuple(opened.names) if opened.has_names else None


def read_table(
    file: str | pathlib.Path,
    numbers: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    text: TextOptions | None = None,
) -> "pyarrow.Table":
    """Reads a table with columns of any kind.

    Args:
      file: as for `load_table`, but no divided `.npz`; the columns of arrays are named "0", "1" and
        so on.
      numbers: names of columns; the others of a text stay text, such as keys with leading
        zeros. Default: each column that holds only numbers.
      columns: names of the columns to read. Default: all.
      text: how a table of text is written.

    Returns:
      `pyarrow.Table`.

    Raises:
      ValueError: if the file is missing, of another type, cannot be read, or lacks a column.
    """
    file = pathlib.Path(file)
    opened = open_table(file, columns, text)
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
    pieces = (rows[first : first + _WRITTEN] for first in range(0, max(1, len(rows)), _WRITTEN))
    tables = (pyarrow.table(dict(zip(names, piece.T, strict=True))) for piece in pieces)
    store_pieces(tables, pathlib.Path(file))


def store_table(table: "pyarrow.Table", path: pathlib.Path) -> None:
    """Writes a `pyarrow.Table` as `.csv` or `.parquet`: the file is complete or not written."""
    store_pieces([table], path)


def store_pieces(pieces: Iterable["pyarrow.Table"], path: pathlib.Path) -> None:
    """Writes tables of the same columns below each other, as `store_table` does.

    Args:
      pieces: `pyarrow.Table`s, at least one.
      path: path that ends in `.csv` or `.parquet`.
    """
    from pyarrow import csv, parquet

    is_csv = path.suffix == ".csv"
    with replacing(path) as temporary, contextlib.ExitStack() as opened:
        writer = None
        for piece in pieces:
            piece = safe_for_spreadsheets(piece) if is_csv else piece
            if writer is None:
                make = csv.CSVWriter if is_csv else parquet.ParquetWriter
                writer = opened.enter_context(make(temporary, piece.schema))
            writer.write_table(piece)


def is_divided(file: str | pathlib.Path) -> bool:
    """Whether a table is an `.npz` with the arrays `train`, `validation` and `test`."""
    return bool(_divided_tables(pathlib.Path(file)))


def _divided_tables(file):
    """Returns the three tables of an `.npz` that is divided already, or none.

    Raises:
      ValueError: if they do not have the same columns.
    """
    arrays = read_arrays(file, PARTS) if file.suffix == ".npz" and file.is_file() else {}
    tables = [as_table(arrays[part], f"{part} of {file}") for part in PARTS if arrays]
    if any(table.column_names != tables[0].column_names for table in tables):
        widths = ", ".join(str(table.num_columns) for table in tables)
        raise ValueError(
            f"{file} must hold `train`, `validation` and `test` of the same columns. Received: "
            f"{widths} columns"
        )
    return tables


def _whole(opened, file):
    """Returns an opened table as one Arrow table."""
    import pyarrow

    pieces = [piece for piece in opened.pieces(opened.names) if piece.num_rows]
    if not pieces:
        raise ValueError(f"{file} has no rows")
    return pyarrow.concat_tables(pieces)


def _opened(file, names, text, advise=True):
    """Opens a table without the columns that only number its rows, unless they are named."""
    opened = open_table(file, names, text, advise)
    kept = [name for name in opened.names if name not in opened.index]
    if opened.index and len(kept) > 1:
        if advise:
            warn_of_index_columns(file, opened.index)
        return opened._replace(names=kept)
    return opened


def _usable_rows(columns, pieces, bounds, file, skip_bad):
    """Returns the rows of the pieces of a table that hold finite numbers inside of bounds."""
    found = TableRows(columns, file, bounds)
    rows = [found.add(piece) for piece in pieces]
    found.check(skip_bad)
    return found.usable_rows(np.concatenate(rows))
