"""The rows of a table as numbers: one pass that finds all that is wrong, whole or in pieces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfnvp.advice import warn_of_rows_outside, warn_of_skipped
from tfnvp.data.table_values import as_floats, is_text
from tfnvp.inputs.bounds import ATOM, CURE, OutsideOfBounds, Pair
from tfnvp.inputs.columns import advise_on_columns, column_namer
from tfnvp.precision import check_precision

if TYPE_CHECKING:
    import pyarrow

# Rows that are kept for checks of whole columns, at least, where there are as many.
_SAMPLE = 2**16


class TableRows:
    """What a pass over the pieces of a table has found.

    Args:
      columns: names of the columns.
      source: what messages call the table.
      bounds: `(low, high)` or None for each column; or None for no bounds.
      width: int, the number of columns that a model has without names. Default: two or more.

    Attributes:
      rows: int, number of rows so far.
      good: int, those of finite numbers.
      usable: int, those of finite numbers strictly inside of the bounds, in float32.

    Raises:
      ValueError: for another number of columns.

    >>> import pyarrow
    >>> found = TableRows(["a", "b"], "t.csv")
    >>> found.add(pyarrow.table({"a": ["1.5", "?", "2.5"], "b": [1, 0, 1]})).tolist()
    [[1.5, 1.0], [nan, 0.0], [2.5, 1.0]]
    >>> found.check(skip_bad=False)
    Traceback (most recent call last):
    ValueError: t.csv: column 'a' holds no numbers in 1 of 3 rows, the first in row 2: '?'; \
`skip_bad` leaves such rows out
    """

    def __init__(
        self,
        columns: Sequence[str],
        source: Any,
        bounds: Sequence[Pair | None] | None = None,
        width: int | None = None,
    ):
        self.columns, self.source = list(columns), source
        self._check_number(width)
        self._outside = OutsideOfBounds(bounds or [None] * len(self.columns))
        self.rows = self.good = self.usable = 0
        self._numbers = np.zeros(len(self.columns), int)
        self._texts = np.zeros(len(self.columns), int)
        self._first_texts: dict[str, tuple[int, str]] = {}
        self._types: dict[str, Any] = {}
        self._first_bad = None
        self._sample, self._stride, self._seen = [np.empty((0, len(self.columns)))], 1, 0
        self._extremes = np.full((2, len(self.columns)), np.nan)

    def add(self, table: "pyarrow.Table") -> np.ndarray:
        """Returns the rows of the next piece, with NaN for missing values and for texts.

        Args:
          table: `pyarrow.Table` with the columns.

        Returns:
          float32 `[n, columns]`.
        """
        columns = []
        for i, name in enumerate(self.columns):
            floats, is_text = as_floats(table[i])
            columns.append(floats)
            self._numbers[i] += np.count_nonzero(~np.isnan(floats))
            if is_text.any():
                self._texts[i] += np.count_nonzero(is_text)
                first = int(np.argmax(is_text))
                found = self.rows + first + 1, table[i][first].as_py()
                self._first_texts.setdefault(name, found)
                self._types.setdefault(name, table[i].type)
        rows = np.stack(columns, axis=1)
        with np.errstate(over="ignore"):  # `check` refuses what is beyond float32.
            single = rows.astype("float32")
        finite = np.isfinite(rows).all(axis=1)
        if self._first_bad is None and not finite.all():
            row = int(np.argmin(finite))
            self._first_bad = self.rows + row + 1, self.columns[np.argmin(np.isfinite(rows[row]))]
        self.rows += len(rows)
        self.good += int(np.count_nonzero(finite))
        usable = finite & ~self._outside.add(single)
        self.usable += int(np.count_nonzero(usable))
        self._keep(rows if usable.all() else rows[usable])
        return single

    def usable_rows(self, rows: np.ndarray) -> np.ndarray:
        """Returns those of some rows, of `add`, that are finite and inside of the bounds."""
        usable = np.isfinite(rows).all(axis=1) & ~self._outside.of(rows)
        return rows if usable.all() else rows[usable]

    def _check_number(self, width):
        """Raises `ValueError` for another number of columns."""
        if width not in (None, len(self.columns)):
            raise ValueError(
                f"{self.source} has {len(self.columns)} columns, and the model was trained on "
                f"{width} without names"
            )
        if width is None and len(self.columns) < 2:
            raise ValueError(
                f"{self.source} must hold rows of two or more numbers. Received the columns "
                f"{self.columns}; `delimiter` names what is between values of a text"
            )

    def _check_bounds(self, skip_bad):
        for i in self._outside.columns:
            fault = self._outside.describe(i, lambda row: f"row {row + 1}")
            fault = f"{self.source}: column {self.columns[i]!r} {fault}"
            if not (skip_bad and self.usable):
                raise ValueError(f"{fault}. {CURE}")
            atom = self._outside.share_on_bounds(i)
            warn_of_rows_outside(fault, atom if atom > ATOM else 0.0)

    def _keep(self, good):
        """Adds every n-th row to the sample, and renews the smallest and largest values."""
        self._sample.append(good[-self._seen % self._stride :: self._stride])
        self._seen += len(good)
        if sum(map(len, self._sample)) > 2 * _SAMPLE:
            self._sample = [np.concatenate(self._sample)[::2]]
            self._stride *= 2
        if len(good):
            low, high = self._extremes
            self._extremes = np.array(
                [np.fmin(low, good.min(axis=0)), np.fmax(high, good.max(axis=0))]
            )

    def check(self, skip_bad: bool) -> None:
        """Raises or warns of what the pass has found, and warns of columns without a density.

        Args:
          skip_bad: bool, whether rows without finite numbers, or not inside of the bounds, are left
            out.

        Raises:
          ValueError: if there are no rows; if a column holds other values than numbers, or values
            that float32 cannot hold; if values are missing, infinite, text, or not inside of the
            bounds, without `skip_bad` or in all rows.
        """
        if not self.rows:
            raise ValueError(f"{self.source} has no rows")
        self.check_columns(skip_bad)
        self._check_rows(skip_bad)
        self._check_bounds(skip_bad)
        sample = np.concatenate(
            [*self._sample, self._extremes] if self._stride > 1 else self._sample
        )
        check_precision(sample, column_namer(self.columns), self.source)
        advise_on_columns(dict(zip(self.columns, sample.T, strict=True)))

    def check_columns(self, skip_bad: bool = True) -> None:
        """Raises `ValueError` unless all columns hold numbers.

        Args:
          skip_bad: bool, whether some texts among the numbers are allowed.
        """
        is_other = (self._numbers == 0) | (self._texts >= self._numbers)
        if not skip_bad:
            is_other |= self._texts > 0
        if is_other.any():
            first, *more = np.flatnonzero(is_other)
            listed = ", ".join(repr(self.columns[i]) for i in more)
            raise ValueError(
                f"{self.source}: {self._why_no_numbers(first)}"
                + f". Further columns that hold other values than numbers: {listed}" * bool(more)
            )

    def _why_no_numbers(self, i):
        """Says in which rows a column holds texts, or which other type it has."""
        name, texts = self.columns[i], self._texts[i]
        if texts < self._numbers[i]:
            row, text = self._first_texts[name]
            return (
                f"column {name!r} holds no numbers in {texts} of {self.rows} rows, the first in "
                f"row {row}: {text!r}; `skip_bad` leaves such rows out"
            )
        kind = "missing values"
        if texts:
            row, text = self._first_texts[name]
            kind = f"{_in_words(self._types[name])}, such as {str(text)!r} in row {row}"
        return (
            f"column {name!r} holds no numbers, but {kind}; name the columns to read "
            "(`columns`), leave it out of the table, or write plain numbers such as 1234.5, dates "
            "as days"
        )

    def _check_rows(self, skip_bad):
        bad = self.rows - self.good
        if not bad:
            return
        row, column = self._first_bad
        if skip_bad and self.good:
            warn_of_skipped(bad, self.rows, f"rows of {self.source}", f"row {row}")
            return
        cure = "; `skip_bad` leaves such rows out" * bool(self.good)
        raise ValueError(
            f"{self.source} has missing or infinite values in {bad} of {self.rows} rows, the first "
            f"in row {row}, column {column!r}{cure}"
        )


def _in_words(kind):
    """Returns what messages call the values of an Arrow type."""
    from pyarrow import types

    kind = getattr(kind, "value_type", kind) if types.is_dictionary(kind) else kind
    if is_text(kind):
        return "texts"
    if types.is_date(kind) or types.is_timestamp(kind):
        return "dates"
    return "times" if types.is_temporal(kind) else f"values of type {kind}"
