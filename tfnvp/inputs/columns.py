"""Columns of data: their names in messages, and which of them may have no density."""

from collections.abc import Callable

import numpy as np

# Rows of an array that are looked at first, spread evenly.
_SAMPLE_ROWS = 1024


def spread_sample(rows: np.ndarray, most: int = _SAMPLE_ROWS) -> np.ndarray:
    """Returns at most `most` rows, spread evenly, since arrays may be sorted."""
    return rows[:: max(1, -(-len(rows) // most))]


def suspicious_columns(sample: np.ndarray) -> list[int]:
    """Returns the columns of a sample `[n, columns]` that may have no density.

    They are constant, whole numbers, mostly of one value, or begin as another column does.
    """
    with np.errstate(invalid="ignore"):
        found = set(np.flatnonzero((sample == np.rint(sample)).all(axis=0)))
        found.update(np.flatnonzero(sample.min(axis=0) == sample.max(axis=0)))
        # A value that makes more than half of a column is its median.
        middle = np.partition(sample, len(sample) // 2, axis=0)[len(sample) // 2]
    found.update(np.flatnonzero((sample == middle).mean(axis=0) > 0.5))
    first = {}
    for i, start in enumerate(np.ascontiguousarray(sample[:16].T)):
        if (other := first.setdefault(start.tobytes(), i)) != i:
            found.update((other, i))
    return sorted(map(int, found))


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
