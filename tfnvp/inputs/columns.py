"""Columns of data: their names in messages, and which of them may have no density."""

import zlib
from collections.abc import Callable, Mapping

import numpy as np

from tfnvp import advice

# Rows of an array that are looked at first, spread evenly.
_SAMPLE_ROWS = 1024

# So many other values show that a number such as -999 is a code, not a value of a scale.
_VALUES_BESIDE_CODE = 8


def spread_sample(rows: np.ndarray, most: int = _SAMPLE_ROWS) -> np.ndarray:
    """Returns at most `most` rows, spread evenly, since arrays may be sorted."""
    return rows[:: max(1, -(-len(rows) // most))]


def mostly_one_value(values: np.ndarray) -> np.ndarray:
    """Whether one value makes more than half of `[n]`, or of each column of `[n, columns]`.

    >>> mostly_one_value(np.array([[0.0, 1.0], [0.0, 2.0], [3.0, 2.5]])).tolist()
    [True, False]
    """
    # It is then the median.
    middle = len(values) // 2
    return (values == np.partition(values, middle, axis=0)[middle]).mean(axis=0) > 0.5


def suspicious_columns(sample: np.ndarray) -> list[int]:
    """Returns the columns of a sample `[n, columns]` that may have no density.

    They are constant, whole numbers, mostly of one value, or begin as another column does.
    """
    with np.errstate(invalid="ignore"):
        found = set(np.flatnonzero((sample == np.rint(sample)).all(axis=0)))
        found.update(np.flatnonzero(sample.min(axis=0) == sample.max(axis=0)))
        found.update(np.flatnonzero(mostly_one_value(sample)))
    first = {}
    for i, start in enumerate(np.ascontiguousarray(sample[:16].T)):
        if (other := first.setdefault(start.tobytes(), i)) != i:
            found.update((other, i))
    return sorted(map(int, found))


def advise_on_variables(x: np.ndarray, name: str, names: list[str] | None) -> None:
    """Warns of variables of rows `[n, *event_shape]` that have no density, looking at a sample.

    Args:
      x: the rows.
      name: what messages call them.
      names: what messages call the columns, or None.
    """
    columns, found = x.reshape(len(x), -1), {}
    for i in suspicious_columns(spread_sample(columns)):
        index = ", ".join(map(str, np.unravel_index(i, x.shape[1:])))
        found[names[i] if names else f"{name}[:, {index}]"] = columns[:, i]
    advise_on_columns(found)


def advise_on_columns(columns: Mapping[str, np.ndarray]) -> None:
    """Warns of columns without a density: constant, repeated, whole numbers, mostly one value.

    It also warns of values such as -999 that may stand for missing ones.

    Args:
      columns: mapping of names to arrays of numbers, which may have gaps.
    """
    finite = {name: column[np.isfinite(column)] for name, column in columns.items()}
    finite = {name: column for name, column in finite.items() if len(column)}
    constant = [name for name, column in finite.items() if np.ptp(column) == 0]
    seen, repeated = {}, []
    for name, column in columns.items():
        first = seen.setdefault(zlib.crc32(np.ascontiguousarray(column)), name)
        same = first != name and np.array_equal(column, columns[first], equal_nan=True)
        if same and name not in constant:
            repeated.append(f"{name!r} repeats {first!r}")
    others = {name: column for name, column in finite.items() if name not in constant}
    whole = [name for name, column in others.items() if _is_whole(column)]
    in_order = [name for name in whole if _is_in_order(others[name])]
    mostly = [n for n, column in others.items() if n not in whole and mostly_one_value(column)]
    whole_otherwise = [name for name in whole if name not in in_order]
    codes = {name: _code_of_missing(column) for name, column in others.items()}
    coded = [f"{code:g} in {name!r}" for name, code in codes.items() if code is not None]
    advice.warn_of_columns(constant, repeated, in_order, whole_otherwise, mostly, coded)


def _code_of_missing(column):
    """Returns the smallest or largest value if it is repeated, and far from many others."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) < _VALUES_BESIDE_CODE:
        return None
    for end, gap, others in (
        (0, values[1] - values[0], values[-1] - values[1]),
        (-1, values[-1] - values[-2], values[-2] - values[0]),
    ):
        if counts[end] > max(1, len(column) / 100) and gap > others:
            return values[end]
    return None


def _is_in_order(column):
    steps = np.diff(column)
    # A few values can be in order by chance.
    return len(steps) >= 10 and bool((steps > 0).all() or (steps < 0).all())


def _is_whole(column):
    # Large numbers are all whole, as floats. Smaller ones have 4 binary digits after the point.
    if column.dtype.kind == "f":
        column = column[np.abs(column) < 2.0 ** (np.finfo(column.dtype).nmant - 4)]
    return len(column) > 0 and not (column % 1).any()


def largest_distances(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns how far the values of each column lie from its median, relative to the others.

    Args:
      columns: `[n, columns]`, finite.

    Returns:
      Three arrays `[columns]`: the largest distance from the median, in ranges; the medians; the
      ranges, which hold all but the most extreme hundredth at each end, and at least one value. A
      range is infinite where it would be 0, or where rows are few.
    """
    sample = spread_sample(columns, 1000).astype("float64")
    n, out = len(sample), max(1, len(sample) // 100)
    median, ranges = sample[0], np.full(columns.shape[1], np.inf)
    if n >= 8:
        low, median, high = np.partition(sample, (out, n // 2, n - 1 - out), axis=0)[
            [out, n // 2, n - 1 - out]
        ]
        ranges = np.where(high > low, high - low, np.inf)
    far = np.maximum(columns.max(axis=0) - median, median - columns.min(axis=0))
    return far / ranges, median, ranges


def largest_error(x: np.ndarray, back: np.ndarray) -> float:
    """Returns the largest difference of rows, `[n, ...]`, in standard deviations of `x`.

    It is infinite where it is not a number. Constant variables do not count.
    """
    x, back = (np.asarray(part, "float64").reshape(len(part), -1) for part in (x, back))
    deviation = x.std(axis=0)
    error = np.abs(back - x)[:, deviation > 0] / deviation[deviation > 0]
    return float(np.nan_to_num(error, nan=np.inf).max(initial=0.0))


def column_namer(names: list[str] | None) -> Callable[[tuple], str]:
    """Returns a function from an index such as `(2,)` to what messages call that variable."""
    if names:
        return lambda index: f"column {names[index[0]]!r}"
    return lambda index: f"variable {', '.join(map(str, index))}"
