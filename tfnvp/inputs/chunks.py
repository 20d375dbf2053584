"""Rows with their conditions, in chunks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tfnvp.inputs.rules import check_count


def row_chunks(
    size: int,
    x: npt.ArrayLike,
    condition: npt.ArrayLike | None = None,
    condition_shape: Sequence[int] | None = None,
) -> Iterator[tuple]:
    """Yields `(first, rows, condition)` for consecutive chunks of at most `size` rows.

    Args:
      size: int, rows of a chunk; the last one can have fewer.
      x: `[n, ...]`, array, tensor, list or table.
      condition: `[*condition_shape]` or `[1, *condition_shape]`, one for all rows, which goes with
        every chunk; or `[n, *condition_shape]`, cut into chunks with the rows; or None.
      condition_shape: shape of one condition.

    `first` is the index of the chunk's first row.

    Raises:
      ValueError: if there are several conditions, but not one for each row.

    >>> [first for first, *_ in row_chunks(2, [10, 20, 30])]
    [0, 2]
    >>> list(row_chunks(2, [10, 20, 30], [[0.5]], condition_shape=(1,)))
    [(0, [10, 20], [[0.5]]), (2, [30], [[0.5]])]
    >>> list(row_chunks(2, [10, 20, 30], [[1], [2], [3]], condition_shape=(1,)))
    [(0, [10, 20], [[1], [2]]), (2, [30], [[3]])]
    """
    for first in range(0, len(x), size):
        piece = slice(first, first + size)
        yield first, x[piece], conditions_of(piece, len(x), condition, condition_shape)


def conditions_of(
    chosen: Any, rows: int, condition: Any = None, condition_shape: Sequence[int] | None = None
) -> Any:
    """Returns the conditions of some of the rows, or the condition that is for all rows.

    Args:
      chosen: slice or bool array `[rows]`.
      rows: int, the number of all rows.
      condition: as for `row_chunks`.
      condition_shape: shape of one condition.

    Raises:
      ValueError: if there are several conditions, but not one for each row.
    """
    if condition is None or np.ndim(condition) == len(condition_shape or ()) or len(condition) == 1:
        return condition
    check_count(len(condition), rows, "`x`")
    return condition[chosen] if isinstance(chosen, slice) else np.asarray(condition)[chosen]
