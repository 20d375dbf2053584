"""Data divided into training, validation and test rows, and what every source of rows can do."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from tfnvp.arguments import check_one_of, unmasked
from tfnvp.data.division import BY_CONTENT, cuts, different, row_hashes
from tfnvp.inputs.bounds import Circle, Pair

if TYPE_CHECKING:
    import tensorflow as tf


#: The parts of a data set, in the order of their use.
PARTS = ("train", "validation", "test")


@runtime_checkable
class DataSource(Protocol):
    """Rows `[n, *event_shape]`, in memory or not.

    `as_source` makes one of an array; `tfnvp.data.RecordStream` is one. Code that reads the rows of
    `Splits` asks `splits.source("train")` for one instead of asking for the type of the rows::

        source = splits.source("train")
        source.take(5000)                  # the first rows, as an array
        source.take(100, seed=0)           # random rows
        for rows in source.chunks(1000):   # all rows in their order, 1000 at a time
            ...
        source.in_memory                   # False: do not ask for all rows at once
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    #: Whether all rows are in memory already.
    in_memory: bool

    def __len__(self) -> int:
        """Number of rows."""

    def take(self, n: int, seed: int | None = None) -> np.ndarray:
        """Returns `n` rows, or all where there are fewer.

        Args:
          n: int.
          seed: int, for random rows in random order. Default: the first rows. Those of records are
            in random order already; an array can be sorted.
        """

    def chunks(self, rows: int = 1000) -> Iterator[np.ndarray]:
        """Yields all rows in their order, at most `rows` at a time."""

    def batches(
        self, batch_size: int, key: Any, finish: Callable | None = None
    ) -> "tf.data.Dataset":
        """Returns shuffled batches, each row once in an epoch.

        Args:
          batch_size: int; the last, smaller batch is kept.
          key: two ints, which decide the order of every epoch; or a function without arguments
            that returns them when an epoch begins.
          finish: function of `(batch, key)`, with a random key `[2]`, that returns the rows of a
            batch as the data set yields them. Default: the batch.
        """

    def fingerprint(self, start: int = 0) -> int | None:
        """Returns a checksum of the rows that continues `start`; None if there is none."""


class ArraySource:
    """An array as a `DataSource`.

    Args:
      rows: array `[n, *event_shape]`, or what NumPy makes one of.
    """

    in_memory = True

    def __init__(self, rows: Any):
        # TensorFlow, too, takes the numbers of lists in single precision.
        is_list = isinstance(rows, (list, tuple))
        rows = np.asarray(unmasked(rows))
        self.rows = rows.astype("float32") if is_list and rows.dtype == np.float64 else rows
        self.shape = self.rows.shape
        self.dtype = self.rows.dtype

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, n: int, seed: int | None = None) -> np.ndarray:
        if seed is None:
            return self.rows[:n]
        return self.rows[np.random.default_rng(seed).permutation(len(self))[:n]]

    def chunks(self, rows: int = 1000) -> Iterator[np.ndarray]:
        for first in range(0, len(self), rows):
            yield self.rows[first : first + rows]

    def batches(
        self, batch_size: int, key: Any, finish: Callable | None = None
    ) -> "tf.data.Dataset":
        from tfnvp.fitting.batches import batched_arrays

        seed = key if callable(key) else lambda: key
        return batched_arrays(self.rows, batch_size, seed, finish)

    def fingerprint(self, start: int = 0) -> int | None:
        return zlib.crc32(np.ascontiguousarray(self.rows), start)


def as_source(rows: Any) -> DataSource:
    """Returns rows as a `DataSource`: a source unchanged, anything else as an array.

    >>> source = as_source(np.arange(10.0).reshape(5, 2))
    >>> len(source), source.take(1).tolist(), [len(rows) for rows in source.chunks(2)]
    (5, [[0.0, 1.0]], [2, 2, 1])
    """
    return rows if isinstance(rows, DataSource) else ArraySource(rows)


class Splits(NamedTuple):
    """Data in three parts, `[n, *event_shape]` each.

    Quantized data are whole grey levels, from 0 to `levels - 1`; real-valued data have
    `levels=None`. `flip` says whether training images may be mirrored. `columns` are the names of
    a table's columns, `bounds` a pair `(low, high)` or None for each, and `circular` likewise the
    intervals of those that are angles or the like. Training rows are an array or a
    `tfnvp.data.RecordStream`: `source` hides the difference. `division` is "content" for rows
    that `split_at_random` divides by their contents; None for data sets with a division of their
    own, and for older runs.
    """

    name: str
    train: Any
    validation: np.ndarray
    test: np.ndarray
    levels: int | None = None
    flip: bool = False
    columns: tuple[str, ...] | None = None
    bounds: tuple[Pair | None, ...] | None = None
    division: str | None = None
    circular: tuple[Circle | None, ...] | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return self.train.shape[1:]

    def source(self, part: str = "train") -> DataSource:
        """Returns a part as a `DataSource`.

        Args:
          part: "train", "validation" or "test".

        Raises:
          ValueError: for another name.
        """
        check_one_of("part", part, PARTS)
        return as_source(getattr(self, part))

    def named_bounds(self) -> dict[str, Pair]:
        """Returns the bounds by the names of their columns, or by their numbers without names."""
        return self._named(self.bounds or ())

    def named_circles(self) -> dict[str, Circle]:
        """Returns `circular` as `named_bounds` does `bounds`."""
        return self._named(self.circular or ())

    def _named(self, pairs):
        names = self.columns or [str(i) for i in range(len(pairs))]
        return {name: pair for name, pair in zip(names, pairs, strict=False) if pair}

    def check_form(self, event_shape: tuple[int, ...], levels: int | None) -> None:
        """Raises `ValueError` unless data points have the shape and the grey levels of a flow."""
        if (self.event_shape, self.levels) != (event_shape, levels):
            raise ValueError(
                f"{self.name} must be of the flow's shape {event_shape} and levels {levels}. "
                f"Received: shape {self.event_shape}, levels {self.levels}"
            )

    def fingerprint(self, parts: Sequence[str] = PARTS) -> int | None:
        """Returns a checksum of the rows of some parts; None if a source has none."""
        checksum: int | None = 0
        for part in parts:
            checksum = None if checksum is None else self.source(part).fingerprint(checksum)
        return checksum


def split_at_random(
    name: str,
    rows: np.ndarray,
    levels: int | None = None,
    columns: tuple[str, ...] | None = None,
    division: str | None = BY_CONTENT,
) -> Splits:
    """Divides rows into 80 % training, 10 % validation and 10 % test, always the same way.

    The contents of a row decide its part, and its place there: the order of the rows changes
    nothing, equal rows are in one part, and further rows leave the others in theirs. The shares are
    those of many rows: of n, about `n / 10 ± 0.3 sqrt(n)` are for test. Of 200 different rows or
    fewer it is exactly a tenth, and further rows can move others. The same holds for rows that are
    themselves one part of such a division. One or two different rows, which cannot fill
    three parts, are divided by their order.

    Args:
      name: what the data set is called.
      rows: `[n, *event_shape]`.
      levels: int, number of grey levels of quantized data.
      columns: names of a table's columns, or None.
      division: "content", or None for a division by the order of the rows, as older runs have it.

    Raises:
      ValueError: if there are fewer than ten rows, or for another division.

    >>> rows = np.random.default_rng(0).normal(size=(1000, 2))
    >>> splits = split_at_random("rows", rows)
    >>> [len(part) for part in splits[1:4]]
    [793, 101, 106]
    >>> np.array_equal(split_at_random("turned", rows[::-1]).test, splits.test)
    True
    """
    if len(rows) < 10:
        count = f"{len(rows)} row{'s' * (len(rows) != 1)}"
        raise ValueError(f"{name} has {count}: at least 10 are needed to split them")
    if division not in (BY_CONTENT, None):
        raise ValueError(f'`division` must be "{BY_CONTENT}" or None. Received: {division!r}')
    hashes = None if division is None else row_hashes(rows)
    if hashes is None or len(different(hashes)) < len(PARTS):
        order = np.random.RandomState(0).permutation(len(rows))
        places = [int(0.8 * len(rows)), int(0.9 * len(rows))]
    else:
        order = np.argsort(hashes, kind="stable")
        places = np.searchsorted(hashes[order], cuts(hashes=hashes))
    parts = np.split(rows[order], places)
    return Splits(name, *parts, levels, columns=columns, division=division)
