"""Intervals of variables: the arguments `bounds` and `circular`, also those of named columns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfnvp.arguments import is_number
from tfnvp.inputs.columns import column_namer
from tfnvp.precision import interior

#: A lower and an upper bound of one variable, None for no bound.
Pair = tuple[float | None, float | None]


class Circle(NamedTuple):
    """The interval of a circular variable: both ends are one point, and values can be on it."""

    low: float
    high: float


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
    return _of_variables("bounds", bounds, size)


def circles_of(circular: Any, size: int) -> list[Circle | None] | None:
    """Returns the argument `circular` of a flow as `bounds_of` does `bounds`, both ends numbers.

    >>> circles_of({1: (0, 360)}, 2)
    [None, Circle(low=0.0, high=360.0)]
    """
    return _of_variables("circular", circular, size)


def _of_variables(argument, given, size):
    if isinstance(given, Mapping):
        if wrong := [key for key in given if not _is_index(key, size)]:
            raise ValueError(
                f"`{argument}` must have indices of variables as keys, ints from 0 to "
                f"{size - 1}: a flow knows no names of columns. Received: {wrong[0]!r}"
            )
        given = [given.get(i) for i in range(size)]
    elif given is None:
        return None
    elif not isinstance(given, Sequence | np.ndarray) or len(given) != size:
        raise ValueError(
            f"`{argument}` must be a dictionary from indices of variables to (low, high), or have "
            f"one entry, (low, high) or None, for each of the {size} variables. Received: {given!r}"
        )
    pairs = _pairs(argument, given, column_namer(None))
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
    return _of_columns("bounds", bounds, columns, source)


def circles_of_columns(
    circular: Mapping[str, Any], columns: Sequence[str], source: Any
) -> tuple[Circle | None, ...]:
    """Returns circular variables by the names of columns, as `bounds_of_columns` does bounds."""
    return _of_columns("circular", circular, columns, source)


def _of_columns(argument, given, columns, source):
    if unknown := sorted(set(given) - set(columns)):
        raise ValueError(
            f"`{argument}` must name columns of {source}: {list(columns)}. Received: {unknown[0]!r}"
        )
    return _pairs(argument, map(given.get, columns), column_namer(list(columns)))


def intervals(
    bounds: Sequence[Pair | None] | None,
    circles: Sequence[Circle | None] | None,
    name: Callable[[tuple], str] | None = None,
) -> list[Pair | Circle | None] | None:
    """Returns bounds and circles of all variables in one list, or None if there are none.

    Args:
      bounds: bounds of all variables, or None.
      circles: circles of all variables, or None.
      name: function from the index of a variable to what messages call it.

    Raises:
      ValueError: if a variable has both.
    """
    if bounds is None or circles is None:
        return bounds or circles
    both = [i for i, pair in enumerate(zip(bounds, circles, strict=True)) if all(pair)]
    if both:
        raise ValueError(
            "`bounds` and `circular` must be of different variables: one that is circular has no "
            f"bounds. Received both for {(name or column_namer(None))((both[0],))}"
        )
    return [one or other for one, other in zip(bounds, circles, strict=True)]


def as_arrays(pairs: Sequence[Pair | None]) -> tuple[np.ndarray, np.ndarray]:
    """Returns lower and upper bounds as float64 `[variables]`, infinite where there are none."""
    ends = [(None, None) if pair is None else pair for pair in pairs]
    low = np.array([-np.inf if low is None else low for low, _ in ends])
    return low, np.array([np.inf if high is None else high for _, high in ends])


def are_circles(pairs: Sequence[Pair | Circle | None]) -> np.ndarray:
    """Returns which variables are circular: bool `[variables]`."""
    return np.array([isinstance(pair, Circle) for pair in pairs])


def whole_inside(values: np.ndarray, pair: Pair | None) -> np.ndarray:
    """Returns the nearest whole numbers that are strictly between bounds.

    On a circle, the lower end is such a number, too, and follows on the last one below the upper.

    Args:
      values: finite `[n]`.
      pair: `(low, high)`, a `Circle`, or None for no bounds.

    Raises:
      ValueError: if no whole number is between the bounds.

    >>> whole_inside(np.array([0.2, 1.6, 9.8]), (0, 10)).tolist()
    [1.0, 2.0, 9.0]
    """
    (low,), (high,) = as_arrays([pair])
    if isinstance(pair, Circle):
        low = np.nextafter(low, -np.inf)
    least, largest = np.floor(low) + 1, np.ceil(high) - 1
    if least > largest:
        raise ValueError(f"no whole number is strictly between the bounds {low:g} and {high:g}")
    whole = np.rint(values)
    if isinstance(pair, Circle):
        return np.where(whole > largest, least, np.where(whole < least, largest, whole))
    return np.clip(whole, least, largest)


def _pairs(argument, entries, namer):
    """Returns entries of an argument for all variables as pairs, circles or None, checked."""

    def name(index):
        return f"`{argument}` of {namer(index)}"

    make = _circle if argument == "circular" else _pair
    pairs = tuple(make(entry, name((i,))) for i, entry in enumerate(entries))
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
    if not all(end is None or is_number(end) for end in ends):
        raise ValueError(
            f"{name} must be a pair (low, high) of numbers, or None for no bound. "
            f"Received: {entry!r}"
        )
    absent = (None, -np.inf), (None, np.inf)
    pair = tuple(
        None if end in none else float(end) for end, none in zip(ends, absent, strict=True)
    )
    return None if pair == (None, None) else pair


def _circle(entry, name):
    """Returns an entry as a `Circle`, or None."""
    pair = None if entry is None else _pair(entry, name)
    if entry is None or (pair is not None and None not in pair):
        return pair and Circle(*pair)
    raise ValueError(
        f"{name} must be a pair (low, high) of numbers, the ends of its interval. "
        f"Received: {entry!r}"
    )
