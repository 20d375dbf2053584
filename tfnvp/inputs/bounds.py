"""Bounds of variables: the argument `bounds`, those of named columns, values outside of them."""

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfnvp.inputs.columns import column_namer
from tfnvp.precision import interior

#: A lower and an upper bound of one variable, None for no bound.
Pair = tuple[float | None, float | None]

#: Share of rows on a bound from which a warning says what they are. To leave out fewer changes
#: log-densities by less than 0.01 nats.
ATOM = 0.01

#: What to do about rows outside of bounds, for errors.
CURE = (
    "Rows on a bound are an atom, which no density describes: leave them out (`skip_bad` for a "
    "table, `tfnvp.data.FiniteRows(flow)` for a data set) and model how often they occur apart, or "
    "add noise to them; for rows beyond it, correct the bound"
)


def bounds_of(bounds: Any, size: int) -> list[Pair | None] | None:
    """Returns the argument `bounds` of a flow as a list with one entry for each variable.

    Args:
      bounds: mapping of indices of variables to `(low, high)`, each a number or None; or sequence
        with one such pair, or None, for each variable; or None.
      size: int, number of variables.

    Returns:
      List of pairs, None for a variable without bounds; or None if there are no bounds at all.

    Raises:
      ValueError: for another number of entries, a key that is not the index of a variable, or an
        entry that is not a pair of bounds, low below high.

    >>> bounds_of({0: (0, None)}, 2)
    [(0.0, None), None]
    """
    if isinstance(bounds, Mapping):
        if wrong := [key for key in bounds if not _is_index(key, size)]:
            raise ValueError(
                "`bounds` must have indices of variables as keys, ints from 0 to "
                f"{size - 1}: a flow knows no names of columns. Received: {wrong[0]!r}"
            )
        bounds = [bounds.get(i) for i in range(size)]
    elif bounds is None:
        return None
    elif not isinstance(bounds, Sequence | np.ndarray) or len(bounds) != size:
        raise ValueError(
            "`bounds` must be a dictionary from indices of variables to (low, high), or have one "
            f"entry, (low, high) or None, for each of the {size} variables. Received: {bounds!r}"
        )
    pairs = _pairs(bounds, column_namer(None))
    return list(pairs) if any(pairs) else None


def bounds_of_columns(
    bounds: Mapping[str, Any], columns: Sequence[str], source: Any
) -> tuple[Pair | None, ...]:
    """Returns bounds by the names of columns as a tuple with one entry for each column.

    Args:
      bounds: mapping of names to `(low, high)`, each a number or None.
      columns: names of all columns.
      source: what messages call the table.

    Raises:
      ValueError: for a name that is not a column, or an entry that is not a pair of bounds.

    >>> bounds_of_columns({"rain": (0, None)}, ["day", "rain"], "t.csv")
    (None, (0.0, None))
    """
    if unknown := sorted(set(bounds) - set(columns)):
        raise ValueError(
            f"`bounds` must name columns of {source}: {list(columns)}. Received: {unknown[0]!r}"
        )
    return _pairs(map(bounds.get, columns), column_namer(list(columns)))


def as_arrays(pairs: Sequence[Pair | None]) -> tuple[np.ndarray, np.ndarray]:
    """Returns lower and upper bounds as float64 `[variables]`, infinite where there are none."""
    ends = [(None, None) if pair is None else pair for pair in pairs]
    low = np.array([-np.inf if low is None else low for low, _ in ends])
    return low, np.array([np.inf if high is None else high for _, high in ends])


def is_outside(values: np.ndarray, low: npt.ArrayLike, high: npt.ArrayLike) -> np.ndarray:
    """Whether finite values are on a bound or beyond it, in their type: bool of their shape.

    Args:
      values: `[..., variables]`.
      low: lower bounds, `[variables]` or a number, -inf for none.
      high: upper bounds, as `low`.

    >>> is_outside(np.array([0.0, 0.5, np.nan]), 0.0, np.inf).tolist()
    [True, False, False]
    """
    least, largest = interior(low, high, values.dtype)
    return ((values < least) | (values > largest)) & np.isfinite(values)


def whole_inside(values: np.ndarray, pair: Pair | None) -> np.ndarray:
    """Returns the nearest whole numbers that are strictly between bounds.

    Args:
      values: finite `[n]`.
      pair: `(low, high)`, or None for no bounds.

    Raises:
      ValueError: if no whole number is between the bounds.

    >>> whole_inside(np.array([0.2, 1.6, 9.8]), (0, 10)).tolist()
    [1.0, 2.0, 9.0]
    """
    (low,), (high,) = as_arrays([pair])
    least, largest = np.floor(low) + 1, np.ceil(high) - 1
    if least > largest:
        raise ValueError(f"no whole number is strictly between the bounds {low:g} and {high:g}")
    return np.clip(np.rint(values), least, largest)


class OutsideOfBounds:
    """Counts the values of columns that are not strictly between bounds, in one pass over rows.

    Args:
      bounds: `(low, high)` or None for each column.

    Attributes:
      columns: indices of the columns with such values so far.

    >>> found = OutsideOfBounds([(0.0, None), None])
    >>> found.add(np.array([[0.5, -1.0], [0.0, 2.0], [-1.0, 0.0]])).tolist(), found.columns
    ([False, True, True], [0])
    >>> found.describe(0, "row {}".format)
    'must be above 0. Received: 0 in row 1; 2 of 3 values (66.67%) are not, 1 of them exactly 0'
    """

    def __init__(self, bounds: Sequence[Pair | None]):
        self._low, self._high = (end.astype("float32") for end in as_arrays(bounds))
        self._bounded = np.flatnonzero(np.isfinite(self._low) | np.isfinite(self._high))
        self._rows, self._counts = 0, np.zeros((3, len(self._low)), int)
        self._first: dict[int, tuple[int, np.float32]] = {}

    @property
    def columns(self) -> list[int]:
        return sorted(self._first)

    def add(self, rows: np.ndarray) -> np.ndarray:
        """Returns which of the next rows have values outside: bool `[n]` of `[n, columns]`."""
        with np.errstate(over="ignore"):
            rows = np.asarray(rows, "float32")  # Without a copy where they are.
        outside = self._values_outside(rows)
        for place in np.flatnonzero(outside.any(axis=0)):
            i, row = int(self._bounded[place]), int(outside[:, place].argmax())
            column = rows[:, i]
            self._first.setdefault(i, (self._rows + row, column[row]))
            ends = [(column == end).sum() for end in (self._low[i], self._high[i])]
            self._counts[:, i] += (outside[:, place].sum(), *ends)
        self._rows += len(rows)
        return outside.any(axis=1)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Returns which of some rows have values outside: bool `[n]` of float32 `[n, columns]`."""
        return self._values_outside(rows).any(axis=1)

    def _values_outside(self, rows):
        """Returns which values of the columns with bounds are outside: bool `[n, bounded]`."""
        low, high = self._low[self._bounded], self._high[self._bounded]
        return is_outside(rows[:, self._bounded], low, high)

    def share_on_bounds(self, i: int) -> float:
        """Returns the share of the values of a column that are exactly on one of its bounds."""
        return self._counts[1:, i].sum() / self._rows

    def describe(self, i: int, place: Callable[[int], str]) -> str:
        """Describes the values outside of a column that has some; NaN and infinities are not.

        Args:
          i: index of the column.
          place: function from the index of a row to what messages call it.
        """
        low, high = self._low[i], self._high[i]
        (row, value), (outside, *ends) = self._first[i], self._counts[:, i]
        rule = f"between {_written(low)} and {_written(high)}"
        if np.isinf(low) or np.isinf(high):
            rule = f"below {_written(high)}" if np.isinf(low) else f"above {_written(low)}"
        on = [
            f", {count} of them exactly {_written(bound)}"
            for bound, count in zip((low, high), ends, strict=True)
            if count and np.isfinite(bound)
        ]
        return (
            f"must be {rule}. Received: {_written(value)} in {place(row)}; {outside} of "
            f"{self._rows} values ({outside / self._rows:.2%}) are not{''.join(on)}"
        )


def _written(number):
    """Returns a number as a user writes it: float32 has the shortest decimals that stand for it."""
    return f"{float(str(number)):.8g}"


def _pairs(entries, namer):
    """Returns entries for all variables as pairs or None, checked."""

    def name(index):
        return f"`bounds` of {namer(index)}"

    pairs = tuple(_pair(entry, name((i,))) for i, entry in enumerate(entries))
    interior(*as_arrays(pairs), "float32", name)
    return pairs


def _is_index(key, size):
    is_int = isinstance(key, int | np.integer) and not isinstance(key, bool)
    return is_int and 0 <= key < size


def _pair(entry, name):
    """Returns an entry as `(low, high)` of floats or None; None if neither is a bound."""
    if entry is None:
        return None
    ends = list(entry) if isinstance(entry, Sequence | np.ndarray) and len(entry) == 2 else [""]
    if not all(end is None or _is_number(end) for end in ends):
        raise ValueError(
            f"{name} must be a pair (low, high) of numbers, or None for no bound. "
            f"Received: {entry!r}"
        )
    absent = (None, -np.inf), (None, np.inf)
    pair = tuple(
        None if end in none else float(end) for end, none in zip(ends, absent, strict=True)
    )
    return None if pair == (None, None) else pair


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
