"""Columns of Arrow tables as numbers."""

import collections
import contextlib
import functools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnvp.advice import warn_of_rows_outside, warn_of_skipped
from tfnvp.inputs.bounds import ATOM, CURE, Pair, as_arrays, is_outside, outside_of_bounds

if TYPE_CHECKING:
    import pyarrow

# Numbers as texts, also for Arrow's regular expressions. Python's `float` takes "1_000" too, which
# in a file is a text.
NUMBER = (
    r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
)


def names_in(columns: str | None) -> tuple[str, ...] | None:
    """Returns the names in a text with commas between them, or None for None.

    >>> names_in("height, weight")
    ('height', 'weight')
    """
    return None if columns is None else tuple(name.strip() for name in columns.split(","))


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
    if missing := sorted(set(columns) - set(names)):
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


def with_types(
    table: "pyarrow.Table", columns: Iterable[str] | None = None, gaps: bool = False
) -> "pyarrow.Table":
    """Returns a table in which texts that are numbers, or true and false, have that type.

    A column gets it if it fits all its values. "", "NA", "nan" and the other null
    texts of `pyarrow.csv` are missing values; a column of only missing values has the type null.

    Args:
      table: `pyarrow.Table`.
      columns: names of the columns to change; the others stay as they are. Default: all.
      gaps: bool; in columns of which more than half of the values are numbers, the texts are
        missing values too.
    """
    for i, field in enumerate(table.schema):
        if is_text(field.type) and (columns is None or field.name in columns):
            table = table.set_column(i, field.name, _typed(table[i], gaps))
    return table


def as_numbers(table: "pyarrow.Table") -> "pyarrow.Table":
    """Returns a table in which texts are numbers, or missing values where they are not."""
    for i, field in enumerate(table.schema):
        if is_text(field.type):
            table = table.set_column(i, field.name, _numbers(table[i]))
    return table


def rows_of_table(
    table: "pyarrow.Table",
    source: Any = "the table",
    dtype: str = "float32",
    first: int = 0,
    empty: bool = False,
) -> np.ndarray:
    """Returns the columns of a table as rows, `[n, columns]`; missing values are NaN.

    Args:
      table: `pyarrow.Table`.
      source: what messages call the table.
      dtype: type of the rows.
      first: number of rows before those of the table, for messages.
      empty: bool, whether columns without values are columns of numbers.

    Raises:
      ValueError: if there are fewer than two columns, or one holds no numbers.
    """
    import pyarrow

    types = pyarrow.types
    kinds = [types.is_floating, types.is_integer, types.is_decimal]
    if empty:
        kinds.append(types.is_null)
    others = [field for field in table.schema if not any(kind(field.type) for kind in kinds)]
    if others:
        more = ", ".join(repr(field.name) for field in others[1:])
        raise ValueError(
            f"{source}: {_why_no_numbers(table, others[0], first)}"
            + f". Further columns that hold other values than numbers: {more}" * bool(more)
        )
    if table.num_columns < 2:
        names = table.column_names
        raise ValueError(f"{source} must hold rows of two or more numbers. Received: {names}")
    cast = (c.cast("float64") if types.is_decimal(c.type) else c for c in table.columns)
    with np.errstate(over="ignore"):  # Beyond float32 they are infinite, and have no score.
        return np.stack([np.asarray(column.to_numpy(), dtype) for column in cast], axis=1)


def finite_rows(
    rows: np.ndarray,
    source: Any,
    skip_bad: bool = False,
    names: Sequence[str] | None = None,
    first: int | None = None,
) -> np.ndarray:
    """Returns rows without missing or infinite values.

    Args:
      rows: `[n, columns]`.
      source: what messages call the table.
      skip_bad: bool, leave out other rows, with a warning that counts them.
      names: names of the columns, for messages, or None.
      first: number of rows before those of a piece of a table, for messages; None for a whole one.

    Raises:
      ValueError: if values are missing or infinite, without `skip_bad` or in all rows.
    """
    good = np.isfinite(rows).all(axis=1)
    if good.all():
        return rows
    bad, total, index = np.sum(~good), len(rows), int(np.argmin(good))
    row = f"row {(first or 0) + index + 1}"
    if skip_bad and good.any():
        warn_of_skipped(bad, total, f"rows of {source}", row)
        return rows[good]
    piece = "" if first is None else f" from row {first + 1} on"
    column = "" if names is None else f", column {names[np.argmin(np.isfinite(rows[index]))]!r}"
    raise ValueError(
        f"{source} has missing or infinite values in {bad} of {total} rows{piece}, the first in "
        f"{row}{column}" + "; `skip_bad` leaves such rows out" * bool(piece or good.any())
    )


def rows_inside(
    rows: np.ndarray,
    bounds: Sequence[Pair | None] | None,
    names: Sequence[str],
    source: Any,
    skip_bad: bool = False,
) -> np.ndarray:
    """Returns which rows are strictly inside of bounds in float32, and those that are not finite.

    Args:
      rows: `[n, columns]`.
      bounds: `(low, high)` or None for each column; or None for no bounds.
      names: names of the columns.
      source: what messages call the table.
      skip_bad: bool, warn of the other rows, which are to be left out.

    Returns:
      bool `[n]`.

    Raises:
      ValueError: if rows are not inside, without `skip_bad` or all of them.
    """
    if bounds is None:
        return np.ones(len(rows), bool)
    with np.errstate(over="ignore"):
        rows = rows.astype("float32")
    low, high = (end.astype("float32") for end in as_arrays(bounds))
    outside = is_outside(rows, low, high)
    for i in np.flatnonzero(outside.any(axis=0)):
        column = rows[:, i]
        fault = outside_of_bounds(column, low[i], high[i], lambda row: f"row {row + 1}")
        fault = f"{source}: column {names[i]!r} {fault}"
        if not skip_bad or outside.any(axis=1).all():
            raise ValueError(f"{fault}. {CURE}")
        atom = ((column == low[i]) | (column == high[i])).mean()
        warn_of_rows_outside(fault, atom if atom > ATOM else 0.0)
    return ~outside.any(axis=1)


def is_text(kind: "pyarrow.DataType") -> bool:
    """Whether the values of an Arrow type are texts."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _why_no_numbers(table, field, first):
    """Says in which rows a column holds texts, or which other type it has."""
    if is_text(field.type):
        column = table[field.name]
        texts = np.flatnonzero(np.asarray(_numbers(column).is_null()))
        if len(texts) * 2 < len(column):
            return (
                f"column {field.name!r} holds no numbers in {len(texts)} of {len(column)} rows, "
                f"the first in row {first + texts[0] + 1}: {column[int(texts[0])].as_py()!r}; "
                "`skip_bad` leaves such rows out"
            )
    return (
        f"column {field.name!r} holds no numbers but {field.type}; name the columns to read "
        "(`columns`), or leave it out of the table"
    )


@functools.cache
def _missing():
    """The texts that stand for missing values."""
    import pyarrow
    from pyarrow import csv

    return pyarrow.array(csv.ConvertOptions().null_values)


def _typed(column, gaps):
    """Returns texts in the first type that fits all of them; with `gaps`, most of them."""
    import pyarrow

    texts = _without_missing(column)
    if texts.null_count == len(texts):
        return pyarrow.nulls(len(texts))
    for kind in ("int64", "float64", "bool"):
        with contextlib.suppress(pyarrow.ArrowInvalid):
            return texts.cast(kind)
    numbers = _numbers(column) if gaps else column
    return numbers if numbers.null_count * 2 < len(numbers) else column


def _without_missing(column):
    """Returns texts without spaces around them, null where they stand for a missing value."""
    import pyarrow
    import pyarrow.compute as pc

    texts = pc.utf8_trim_whitespace(column.cast(pyarrow.string()))
    return pc.if_else(pc.is_in(texts, value_set=_missing()), None, texts)


def _numbers(column):
    """Returns texts as float64, null for missing values and for texts that are no numbers."""
    import pyarrow.compute as pc

    texts = _without_missing(column)
    return pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, None).cast("float64")
