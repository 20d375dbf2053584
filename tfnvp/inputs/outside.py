"""Values outside of the intervals of variables."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tfnvp.inputs.bounds import Pair, are_circles, as_arrays
from tfnvp.precision import interior

#: Share of rows on a bound from which a warning says what they are. To leave out fewer changes
#: log-densities by less than 0.01 nats.
ATOM = 0.01

#: What to do about rows outside of bounds, for errors.
CURE = (
    "Rows on a bound are an atom, which no density describes: leave them out (`skip_bad` for a "
    "table, `tfnvp.data.FiniteRows(flow)` for a data set) and model how often they occur apart, or "
    "add noise to them; for rows beyond it, correct the bound"
)

#: The same for circular variables.
CURE_OF_CIRCLES = "Take it modulo the interval, `low + (x - low) % (high - low)`, or correct that"


def is_outside(
    values: np.ndarray,
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    circular: npt.ArrayLike = False,
) -> np.ndarray:
    """Whether finite values are on a bound or beyond it, in their type: bool of their shape.

    On an end of the interval of a circular variable they are not outside.

    Args:
      values: `[..., variables]`.
      low: lower bounds, `[variables]` or a number, -inf for none.
      high: upper bounds, as `low`.
      circular: bool, or bools `[variables]`.

    >>> is_outside(np.array([0.0, 0.5, np.nan]), 0.0, np.inf).tolist()
    [True, False, False]
    """
    least, largest = interior(low, high, values.dtype)
    least = np.where(circular, np.asarray(low, values.dtype), least)
    largest = np.where(circular, np.asarray(high, values.dtype), largest)
    return ((values < least) | (values > largest)) & np.isfinite(values)


class OutsideOfBounds:
    """Counts the values of columns that are not strictly between bounds, in one pass over rows.

    Values of circular columns can be on both ends.

    Args:
      bounds: `(low, high)`, a `Circle` or None for each column.

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
        self._circular = are_circles(bounds)
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
        return is_outside(rows[:, self._bounded], low, high, self._circular[self._bounded])

    def share_on_bounds(self, i: int) -> float:
        """Returns the share of the values of a column that are exactly on one of its bounds."""
        if self._circular[i]:
            return 0.0
        return self._counts[1:, i].sum() / self._rows

    def cure(self, i: int) -> str:
        """Says what to do about the rows with values of a column that are outside."""
        return CURE_OF_CIRCLES if self._circular[i] else CURE

    def describe(self, i: int, place: Callable[[int], str]) -> str:
        """Describes the values outside of a column that has some; NaN and infinities are not.

        Args:
          i: index of the column.
          place: function from the index of a row to what messages call it.
        """
        low, high = self._low[i], self._high[i]
        (row, value), (outside, *ends) = self._first[i], self._counts[:, i]
        rule = f"between {_written(low)} and {_written(high)}"
        if self._circular[i]:
            rule = f"from {_written(low)} to {_written(high)}"
        elif np.isinf(low) or np.isinf(high):
            rule = f"below {_written(high)}" if np.isinf(low) else f"above {_written(low)}"
        on = [
            f", {count} of them exactly {_written(bound)}"
            for bound, count in zip((low, high), ends, strict=True)
            if count and np.isfinite(bound) and not self._circular[i]
        ]
        return (
            f"must be {rule}. Received: {_written(value)} in {place(row)}; {outside} of "
            f"{self._rows} values ({outside / self._rows:.2%}) are not{''.join(on)}"
        )


def _written(number):
    """Returns a number as a user writes it: float32 has the shortest decimals that stand for it."""
    return f"{float(str(number)):.8g}"
