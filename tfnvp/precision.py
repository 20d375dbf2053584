"""Checks that float32, in which flows compute, can hold the data."""

from collections.abc import Callable

import numpy as np

#: Squares of larger numbers leave the range of float32 when they are added up.
LARGEST = 1e15

# Least steps of a type in a standard deviation; with fewer, rounding changes the likelihood.
_STEPS = 100


def check_precision(rows: np.ndarray, name: Callable[[tuple], str], source: str) -> None:
    """Raises `ValueError` for a variable that float32 cannot hold.

    That is a variable, given in float64, whose standard deviation is less than a hundred steps of
    float32 at its size. The check needs many rows: a few may be close to each other.

    Args:
      rows: `[n, ...]`, finite.
      name: function from the index of a variable to what the message calls it.
      source: what the message calls the data.

    >>> import numpy as np
    >>> rows = 1e6 + np.array([[0.0, 0.0], [1000.0, 0.001]])
    >>> check_precision(rows[:, :1], "column {0[0]}".format, "t.csv")
    >>> try:
    ...     check_precision(rows, "column {0[0]}".format, "t.csv")
    ... except ValueError as error:
    ...     print(str(error).partition(",")[0])
    t.csv: column 1 varies by 0.0005 around 1e+06
    """
    if rows.dtype != np.float64 or not len(rows):
        return
    largest = np.abs(rows).max(axis=0)
    far = np.argwhere(largest > np.finfo("float32").max)
    if len(far):
        index = tuple(far[0])
        raise ValueError(
            f"{source}: {name(index)} reaches {largest[index]:.3g}, beyond float32, in which flows "
            "compute: divide it by a constant first"
        )
    check_resolution(rows, lambda index: f"{source}: {name(index)}", "float32")


def check_resolution(rows: np.ndarray, name: Callable[[tuple], str], dtype: str) -> None:
    """Raises `ValueError` for a variable that varies by less than a hundred steps of a type.

    Args:
      rows: `[n, ...]`, finite.
      name: function from the index of a variable to what the message calls it.
      dtype: the type of floats that must tell the rows apart.
    """
    rows = np.asarray(rows, "float64")
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, largest = rows.std(axis=0), np.abs(rows).max(axis=0)
        step = np.spacing(largest.astype(dtype)).astype("float64")
    lost = np.argwhere((np.ptp(rows, axis=0) > 0) & ~(deviation >= _STEPS * step))
    if len(lost):
        index = tuple(lost[0])
        raise ValueError(
            f"{name(index)} varies by {deviation[index]:.3g} around {rows[(0, *index)]:.6g}, which "
            f"{dtype} cannot tell apart: subtract its mean first"
        )
