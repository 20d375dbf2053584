"""Columns of Arrow tables as numbers."""

import collections
import contextlib
import functools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnvp.advice import warn_of_skipped
from tfnvp.data.foreign_files import reading

if TYPE_CHECKING:
    import pyarrow

# Numbers as texts, also for Arrow's regular expressions. Python's `float` takes "1_000" too, which
# in a file is a text.
NUMBER = (
    r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
)

# Numbers with a decimal comma, and with a decimal point.
DECIMAL_COMMA = r"^(\s*[+-]?\d*),(\d+(?:[eE][+-]?\d+)?\s*)$"
_DECIMAL_POINT = r"^([\s\pZ]*)([+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[\s\pZ]*)$"


def names_in(columns: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Returns names, which may stand in one text with commas between them, or None for None.

    >>> names_in("height, weight")
    ('height', 'weight')
    """
    if isinstance(columns, str):
        columns = [name.strip() for name in columns.split(",")]
    return None if columns is None else tuple(columns)


def repeated_names(names: Iterable[str]) -> list[str]:
    """Returns the names that occur more than once."""
    return sorted(name for name, count in collections.Counter(names).items() if count > 1)


def check_names(columns: Sequence[str], names: Sequence[str], source: Any) -> None:
    """Raises `ValueError` if columns to read are repeated, or not among the names of a table.

    Args:
      columns: names of the columns to read.
      names: names of all columns.
      source: what messages call the table.
    """
    if repeated := repeated_names(columns):
        raise ValueError(f"the columns to read name {repeated[0]!r} more than once")
    # Spaces around names in a text are not part of them.
    if missing := sorted({name for name in columns if not {name, name.strip()} & set(names)}):
        raise ValueError(f"{source} lacks the columns {missing}; it has {list(names)}")


def select(table: "pyarrow.Table", columns: Sequence[str] | None, source: Any) -> "pyarrow.Table":
    """Returns the columns of a table by their names, in that order; errors as `check_names`.

    Without names, returns all.
    """
    if columns is None:
        return table
    check_names(columns, table.column_names, source)
    return table.select(list(columns))


def is_number(text: str) -> bool:
    """Whether a text is a number.

    >>> [is_number(text) for text in ("1e3", " -.5 ", "nan", "1_000", "?")]
    [True, True, True, False, False]
    """
    return re.match(NUMBER, text.strip()) is not None


def with_types(table: "pyarrow.Table", columns: Iterable[str] | None = None) -> "pyarrow.Table":
    """Returns a table in which texts that are numbers, or true and false, have that type.

    A column gets it if it fits all its values. "", "NA", "nan" and the other null
    texts of `pyarrow.csv` are missing values; a column of only missing values has the type null.

    Args:
      table: `pyarrow.Table`.
      columns: names of the columns to change; the others stay as they are. Default: all.
    """
    changed = [
        _typed(column) if is_text(column.type) and (columns is None or name in columns) else column
        for name, column in zip(table.column_names, table.columns, strict=True)
    ]
    return type(table).from_arrays(changed, names=table.column_names)


def with_decimal_points(table: "pyarrow.Table") -> "pyarrow.Table":
    """Returns texts with a decimal point for a decimal comma.

    A number with a point, which may stand between thousands, is no number beside decimal commas. It
    gets an apostrophe in front, with which it is a text, as for spreadsheets.

    >>> import pyarrow
    >>> with_decimal_points(pyarrow.table({"a": ["2,5", "1.234", "No. 1"]}))["a"].to_pylist()
    ['2.5', "'1.234", 'No. 1']
    """
    import pyarrow.compute as pc

    def changed(column):
        texts = pc.replace_substring_regex(column, _DECIMAL_POINT, r"\1'\2")
        return pc.replace_substring_regex(texts, DECIMAL_COMMA, r"\1.\2")

    columns = [changed(column) for column in table.columns]
    return type(table).from_arrays(columns, names=table.column_names)


def rows_of_table(
    table: "pyarrow.Table", source: Any = "the table", dtype: str = "float32"
) -> np.ndarray:
    """Returns the columns of a table as rows, `[n, columns]`; missing values and texts are NaN.

    Args:
      table: `pyarrow.Table`.
      source: what messages call the table.
      dtype: type of the rows.

    Raises:
      ValueError: if a column holds neither numbers nor texts.
    """
    with reading(source, "a table of numbers"), np.errstate(over="ignore"):
        # Beyond float32 they are infinite, and have no score.
        columns = [as_floats(column)[0].astype(dtype) for column in table.columns]
        return np.stack(columns, axis=1)


def as_floats(column: "pyarrow.ChunkedArray") -> tuple[np.ndarray, np.ndarray]:
    """Returns a column as numbers, and which values are neither numbers nor missing.

    True and false are 1 and 0, also as texts, and decimal numbers are floats.

    Args:
      column: `pyarrow.ChunkedArray`.

    Returns:
      `(floats, is_other)`: float64 `[n]` with NaN for missing and other values, and bool `[n]`.

    >>> import pyarrow
    >>> floats, is_other = as_floats(pyarrow.chunked_array([["1.5", "", "true", "1_000"]]))
    >>> floats.tolist(), is_other.tolist()
    ([1.5, nan, 1.0, nan], [False, False, False, True])
    """
    import pyarrow
    import pyarrow.compute as pc

    types = pyarrow.types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        column = column.cast("int8")
    kinds = (types.is_floating, types.is_integer, types.is_decimal, types.is_null)
    if any(kind(column.type) for kind in kinds):
        floats = column.cast("float64", safe=False).to_numpy()
        return floats, np.zeros(len(floats), bool)
    if not is_text(column.type):
        return np.full(len(column), np.nan), np.asarray(column.is_valid())
    with contextlib.suppress(pyarrow.ArrowInvalid):  # Nearly all columns of text are such.
        return column.cast("float64").to_numpy(), np.zeros(len(column), bool)
    texts = _without_missing(column)
    numbers = pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, None).cast("float64")
    lower = pc.utf8_lower(texts)
    truth = pc.if_else(pc.is_in(lower, value_set=pyarrow.array(["true", "false"])), lower, None)
    numbers = pc.coalesce(numbers, pc.equal(truth, "true").cast("int8").cast("float64"))
    return numbers.to_numpy(), np.asarray(pc.and_(texts.is_valid(), numbers.is_null()))


def finite_rows(rows: np.ndarray, source: Any, skip_bad: bool = False) -> np.ndarray:
    """Returns rows without missing or infinite values.

    Args:
      rows: `[n, columns]`.
      source: what messages call the table.
      skip_bad: bool, leave out other rows, with a warning that counts them.

    Raises:
      ValueError: if values are missing or infinite, without `skip_bad` or in all rows.
    """
    good = np.isfinite(rows).all(axis=1)
    if good.all():
        return rows
    bad, total, row = np.sum(~good), len(rows), f"row {np.argmin(good) + 1}"
    if skip_bad and good.any():
        warn_of_skipped(bad, total, f"rows of {source}", row)
        return rows[good]
    raise ValueError(
        f"{source} has missing or infinite values in {bad} of {total} rows, the first in {row}"
        + "; `skip_bad` leaves such rows out" * bool(good.any())
    )


def is_text(kind: "pyarrow.DataType") -> bool:
    """Whether the values of an Arrow type are texts."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


@functools.cache
def _missing():
    """The texts that stand for missing values."""
    import pyarrow
    from pyarrow import csv

    return pyarrow.array(csv.ConvertOptions().null_values)


def _typed(column):
    """Returns texts in the first type that fits all of them."""
    import pyarrow
    import pyarrow.compute as pc

    texts = _without_missing(column)
    if texts.null_count == len(texts):
        return pyarrow.nulls(len(texts))
    # Arrow's whole numbers can be hexadecimal, its floats cannot.
    is_hexadecimal = pc.any(pc.match_substring_regex(texts, "^[+-]?0[xX]")).as_py()
    for kind in ("float64", "bool") if is_hexadecimal else ("int64", "float64", "bool"):
        with contextlib.suppress(pyarrow.ArrowInvalid):
            return texts.cast(kind)
    return column


def _without_missing(column):
    """Returns texts without spaces around them, null where they stand for a missing value."""
    import pyarrow
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(column.cast(pyarrow.string()))
    return pc.if_else(pc.is_in(texts, value_set=_missing()), None, texts)
