"""Rows with their conditions, in chunks."""

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from tfnvp.inputs.conditions import ConditionSpec


def row_chunks(
    size: int, x: npt.ArrayLike, condition: Any = None, conditions: ConditionSpec | None = None
) -> Iterator[tuple]:
    """Yields `(first, rows, condition)` for consecutive chunks of at most `size` rows.

    Args:
      size: int, rows of a chunk; the last one can have fewer.
      x: `[n, ...]`, array, tensor, list or table.
      condition: one for all rows, which goes with every chunk; or one for each, cut into chunks
        with the rows; or None.
      conditions: `ConditionSpec` that `condition` is of.

    `first` is the index of the chunk's first row.

    Raises:
      ValueError: if there are several conditions, but not one for each row.

    >>> [first for first, *_ in row_chunks(2, [10, 20, 30])]
    [0, 2]
    >>> spec = ConditionSpec.of_shape((1,))
    >>> list(row_chunks(2, [10, 20, 30], [[0.5]], spec))
    [(0, [10, 20], [[0.5]]), (2, [30], [[0.5]])]
    >>> list(row_chunks(2, [10, 20, 30], [[1], [2], [3]], spec))
    [(0, [10, 20], [[1], [2]]), (2, [30], [[3]])]
    """
    for first in range(0, len(x), size):
        piece = slice(first, first + size)
        yield first, x[piece], conditions_of(piece, len(x), condition, conditions)


def conditions_of(
    chosen: Any, rows: int, condition: Any = None, conditions: ConditionSpec | None = None
) -> Any:
    """Returns the conditions of some of the rows, or the condition that is for all rows.

    Args:
      chosen: slice or bool array `[rows]`.
      rows: int, the number of all rows.
      condition: as for `row_chunks`.
      conditions: `ConditionSpec` that `condition` is of.

    Raises:
      ValueError: if there are several conditions, but not one for each row.
    """
    if condition is None or conditions is None:  # A flow without condition refuses it.
        return condition
    return conditions.take(condition, chosen, rows)
