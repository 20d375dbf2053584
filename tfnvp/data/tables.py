"""Tables and arrays in files as data, and rows as tables in files."""

import functools
import pathlib
import warnings
import zipfile

import numpy as np

from tfnvp._atomic import replacing
from tfnvp.advice import warn_of_columns
from tfnvp.data.skipped import warn_of_skipped
from tfnvp.data.splits import Splits, split_at_random
from tfnvp.data.table_numbers import is_number, names_in, rows_of_table, select, with_gaps
from tfnvp.inputs.precision import check_precision

_PARTS = ("train", "validation", "test")


def load_table(file, skip_bad=False, columns=None):
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
    parts = _divided_tables(file)
    tables = [read_table(file)] if parts is None else parts
    if columns is not None:
        tables = [select(table, names_in(columns), file) for table in tables]
    if skip_bad:
        tables = [with_gaps(table) for table in tables]
    # Training rows, or all of them, before they are rounded.
    table, *others = tables
    rows = _finite_rows(table, file, skip_bad)
    check_precision(rows, lambda place: f"column {table.column_names[int(place[0])]!r}", file)
    rows = rows.astype("float32")
    if parts is not None:
        others = (_finite_rows(part, file, skip_bad).astype("float32") for part in others)
        return Splits(file.stem, rows, *others)
    warn_of_columns({name: table[name].to_numpy() for name in table.column_names})
    named = file.suffix in (".csv", ".parquet")
    return split_at_random(file.stem, rows, columns=tuple(table.column_names) if named else None)


def _divided_tables(file):
    """Returns the three tables of an `.npz` that is divided already, or None."""
    if file.suffix != ".npz" or not zipfile.is_zipfile(file):
        return None
    with np.load(file, allow_pickle=False) as arrays:
        if set(arrays.files) != set(_PARTS):
            return None
        return [_as_table(arrays[part], f"{part} of {file}") for part in _PARTS]


def _finite_rows(table, file, skip_bad):
    rows = rows_of_table(table, file, "float64")
    broken = np.argwhere(~np.isfinite(rows))
    if not len(broken):
        return rows
    row, column = broken[0]
    if not skip_bad:
        raise ValueError(
            f"{file} has {len(broken)} missing or infinite values, the first in row {row + 1}, "
            f"column {table.column_names[column]!r}; skip_bad (--skip-bad) leaves such rows out"
        )
    good = np.isfinite(rows).all(axis=1)
    warn_of_skipped(np.sum(~good), len(rows), f"rows of {file}", f"row {row + 1}")
    return rows[good]


def read_table(file, numbers=None):
    """Reads a table with all its columns, whatever they hold.

    Args:
      file: path that ends in `.csv`, `.parquet`, `.npy` or `.npz` (of one array, `[n, columns]`,
        whose columns are named "0", "1" and so on).
      numbers: names of columns; the others of a `.csv` stay the text that they are, such as keys
        with leading zeros. Default: each column is what it looks like.

    Returns:
      `pyarrow.Table`.

    Raises:
      ValueError: if the file is missing, of another type, or cannot be read.
    """
    import pyarrow
    from pyarrow import parquet

    file = pathlib.Path(file)
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    readers = {
        ".csv": functools.partial(_read_csv, numbers=numbers),
        ".parquet": parquet.read_table,
        ".npy": _read_array,
        ".npz": _read_array,
    }
    if file.suffix not in readers:
        raise ValueError(f"a table must be .csv, .parquet, .npy or .npz. Received: {file}")
    try:
        table = readers[file.suffix](file)
    except pyarrow.ArrowInvalid as error:
        hint = " (a .csv has commas between its values)" * (file.suffix == ".csv")
        raise ValueError(f"{file} cannot be read as a table{hint}: {error}") from error
    names = table.column_names
    if file.suffix == ".csv" and len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise ValueError(f"{file} has one column, {names[0]!r}: a .csv has commas between values")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{file} has several columns of the name {repeated[0]!r}: rename them")
    if not table.num_rows:
        raise ValueError(f"{file} has no rows")
    if file.suffix == ".csv" and all(map(is_number, names)):
        warnings.warn(
            f"{file} seems to have no header: its first row, all of it numbers, is taken for the "
            f"names of the columns: {', '.join(names)}",
            stacklevel=2,
        )
    return table


def _read_csv(file, numbers):
    import pyarrow
    from pyarrow import csv

    options = csv.ConvertOptions()
    if numbers is not None:
        with csv.open_csv(file) as reader:
            names = reader.schema.names
        options.column_types = {n: pyarrow.string() for n in names if n not in numbers}
    return csv.read_csv(file, convert_options=options)


def write_table(file, rows, columns=None):
    """Writes rows as a table: `.csv` or `.parquet`.

    Args:
      file: path.
      rows: `[n, columns]`.
      columns: names of the columns. Default: x1, x2 and so on.
    """
    import pyarrow

    names = columns or [f"x{i + 1}" for i in range(rows.shape[1])]
    store_table(pyarrow.table(dict(zip(names, rows.T, strict=True))), pathlib.Path(file))


def store_table(table, path):
    """Writes a `pyarrow.Table`: the whole of it, or nothing."""
    from pyarrow import csv, parquet

    with replacing(path) as temporary:
        (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, temporary)


def _read_array(file):
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays = {"": loaded} if file.suffix == ".npy" else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error
    if len(arrays) != 1:
        raise ValueError(
            f"{file} must hold one array, or `train`, `validation` and `test` to train on. "
            f"Received arrays: {', '.join(arrays)}"
        )
    return _as_table(*arrays.values(), file)


def _as_table(rows, source):
    import pyarrow

    if rows.ndim != 2:
        raise ValueError(
            f"{source} must hold rows of two or more numbers. Received: shape {rows.shape}"
        )
    return pyarrow.table({str(i): column for i, column in enumerate(rows.T)})
