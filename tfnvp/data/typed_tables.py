"""Tables in files of numbers and types: Parquet, Feather, Excel and arrays."""

import functools
import itertools
import pathlib
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp.data.foreign_files import check_values, reading
from tfnvp.data.text_headers import told_apart

if TYPE_CHECKING:
    import pyarrow

# Most rows of a piece.
_ROWS = 2**16

# Rows of a sheet that are read at once, as objects of Python.
_EXCEL_ROWS = 2**12

# What pandas calls the index of the rows in files.
_INDEX = r"|Unnamed: \d+|__index_level_\d+__"

# Most columns of an array: each becomes an object.
_COLUMNS = 2**18


class OpenedTable(NamedTuple):
    """A table in a file, of which only the names of the columns have been read.

    `names` are those of the columns to read. `pieces` is a function of names of columns that
    returns Arrow tables of bounded size. `count` is the number of rows, or None where the file does
    not state it. `has_names` says whether the file names its columns, `is_text` whether the values
    of the pieces are texts. `index` are the columns that only number the rows.
    """

    names: list[str]
    pieces: Callable[[Sequence[str]], Iterator["pyarrow.Table"]]
    count: int | None = None
    has_names: bool = True
    is_text: bool = False
    index: tuple[str, ...] = ()


def index_of(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns that pandas writes for its index of the rows."""
    return tuple(name for name in names if re.fullmatch(_INDEX, name))


def open_parquet(file: pathlib.Path) -> OpenedTable:
    """Opens a `.parquet` file, whose row groups are read one by one."""
    import pyarrow
    from pyarrow import parquet

    with reading(file, "a table"), parquet.ParquetFile(file) as opened:
        schema, count = opened.schema_arrow, opened.metadata.num_rows
        described = (schema.pandas_metadata or {}).get("index_columns", ())

    def pieces(columns):
        with reading(file, "a table"), parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS, columns=list(columns)):
                yield pyarrow.Table.from_batches([batch]).select(list(columns))

    index = {*index_of(schema.names), *(name for name in described if isinstance(name, str))}
    return OpenedTable(schema.names, pieces, count, index=tuple(sorted(index)))


def open_feather(file: pathlib.Path) -> OpenedTable:
    """Opens a Feather file, or an Arrow file of record batches."""
    import pyarrow
    from pyarrow import ipc

    with reading(file, "a table (Feather is read in its version 2)"):
        opened = ipc.open_file(pyarrow.memory_map(str(file)))
        batches = range(opened.num_record_batches)

    def pieces(columns):
        with reading(file, "a table"):
            for i in batches:
                yield pyarrow.Table.from_batches([opened.get_batch(i)]).select(list(columns))

    names = opened.schema.names
    return OpenedTable(names, pieces, index=index_of(names))


def open_excel(file: pathlib.Path) -> OpenedTable:
    """Opens the first sheet of an `.xlsx` file."""
    import pyarrow

    try:
        import openpyxl
    except ImportError:
        raise ValueError(f"{file} needs the package openpyxl: `pip install openpyxl`") from None
    _check_archive(file)

    def rows():
        """Yields the rows in pieces, without those of blank cells."""
        with reading(file, "a table"), file.open("rb") as stream:
            with warnings.catch_warnings():  # Of styles and other things that are no values.
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
                lines = book.worksheets[0].iter_rows(values_only=True)
                piece = list(itertools.islice(lines, _EXCEL_ROWS))
            while piece:
                yield [row for row in piece if not all(map(_is_blank, row))]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    piece = list(itertools.islice(lines, _EXCEL_ROWS))

    first, *others = next(filter(None, rows()), [()])
    # Columns without a name and values separate others.
    used = {i for row in (first, *others) for i, cell in enumerate(row) if not _is_blank(cell)}
    places = sorted(used)
    written = ["" if i >= len(first) or first[i] is None else str(first[i]) for i in places]
    names = told_apart([name.strip() for name in written])

    def cells():
        """Yields the cells of all columns in pieces."""
        skipped = 1
        for piece in filter(None, rows()):
            yield [[row[i] if i < len(row) else None for row in piece[skipped:]] for i in places]
            skipped = 0

    @functools.cache
    def types():
        """Returns the type of each column, which is that of all of its pieces."""
        found = [pyarrow.null()] * len(places)
        for values in cells():
            found = [_common_type(k, _type_of(v)) for k, v in zip(found, values, strict=True)]
        return found

    def pieces(columns):
        chosen = [names.index(n if n in names else n.strip()) for n in columns]
        for values in cells():
            arrays = [_of_type(values[i], types()[i]) for i in chosen]
            yield pyarrow.table(arrays, list(columns))

    return OpenedTable(names, pieces, index=index_of(names))


def _is_blank(cell):
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _type_of(cells):
    """Returns the Arrow type of some cells of a column, that of texts if their types differ."""
    import pyarrow

    try:
        return pyarrow.array(cells).type
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.string()


def _common_type(one, other):
    """Returns the Arrow type of a column whose pieces have two types: numbers, or else texts."""
    import pyarrow

    kinds = {one, other} - {pyarrow.null()}
    if len(kinds) < 2:
        return next(iter(kinds), one)
    numbers = {pyarrow.int64(), pyarrow.float64()}
    return pyarrow.float64() if kinds == numbers else pyarrow.string()


def _of_type(cells, kind):
    """Returns some cells of a column as an Arrow array of its type."""
    import pyarrow

    if kind == pyarrow.string():
        return pyarrow.array([None if cell is None else str(cell) for cell in cells], kind)
    return pyarrow.array(cells).cast(kind, safe=False)


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


def open_array(file: pathlib.Path) -> OpenedTable:
    """Opens an array in an `.npy` or `.npz` file."""
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


def as_table(rows: np.ndarray, source: Any) -> "pyarrow.Table":
    """Returns an array `[n, columns]` as a table with the columns "0", "1" and so on."""
    import pyarrow

    if rows.ndim != 2 or not 0 < rows.shape[1] <= _COLUMNS:
        expected = f"rows of two or more numbers, and at most {_COLUMNS:,}"
        raise ValueError(f"{source} must hold {expected}. Received: {rows.shape}")
    with reading(source, "a table"):
        return pyarrow.table({str(i): column for i, column in enumerate(rows.T)})
