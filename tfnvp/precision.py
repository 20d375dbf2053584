"""Location and scale of variables, and checks that float32, in which flows compute, holds them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

#: Squares of larger numbers leave the range of float32 when they are added up.
LARGEST = 1e15

# Least steps of a type in a standard deviation; with fewer, rounding changes the likelihood.
_STEPS = 100

# Shares of values beyond each of two quantiles, and the distance of these quantiles of a normal
# distribution in standard deviations. The first are the quartiles.
_QUANTILES = ((0.25, 1.3489795), (0.1, 2.5631031), (0.01, 4.6526957))


def location_and_scale(rows: np.ndarray, robust: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns a location and a scale above 0 of every variable, in float64.

    They are in the units of the variable: if it is multiplied by a power of two, they are too,
    bit for bit. The scale of a variable whose smallest and largest values are equal is 1.

    Args:
      rows: `[n, ...]`, finite, at least one.
      robust: False for mean and standard deviation. True for the median, and the distance of the
        quartiles over that of a standard normal; where the quartiles are equal, wider quantiles,
        and at last the standard deviation.

    >>> import numpy as np
    >>> location_and_scale(np.array([[1e-9, 7.0], [3e-9, 7.0]]))
    (array([2.e-09, 7.e+00]), array([1.e-09, 1.e+00]))
    """
    rows = np.asarray(rows, "float64")
    constant = rows.min(axis=0) == rows.max(axis=0)
    location, scale = rows.mean(axis=0), rows.std(axis=0)
    if robust:
        location = np.median(rows, axis=0)
        for share, width in reversed(_QUANTILES):
            low, high = np.quantile(rows, [share, 1 - share], axis=0)
            scale = np.where(high > low, (high - low) / width, scale)
    return np.where(constant, rows[0], location), np.where(constant, 1.0, scale)


def check_precision(rows: np.ndarray, name: Callable[[tuple], str], source: str) -> None:
    """Raises `ValueError` for a variable that float32 cannot hold.

    That is a variable whose standard deviation is less than a hundred steps of float32 at its
    size. The check needs many rows: a few may be close to each other.

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
    if rows.dtype not in (np.float32, np.float64) or not len(rows):
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
        # TensorFlow takes differences below the smallest normal number as 0.
        step = np.maximum(np.spacing(largest.astype(dtype)), np.finfo(dtype).tiny)
    lost = np.argwhere((np.ptp(rows, axis=0) > 0) & ~(deviation >= _STEPS * step))
    if len(lost):
        index = tuple(lost[0])
        small = largest[index] < _STEPS * np.finfo(dtype).tiny / np.finfo(dtype).eps
        cure = "multiply it by a constant" if small else "subtract its mean"
        raise ValueError(
            f"{name(index)} varies by {deviation[index]:.3g} around {rows[(0, *index)]:.6g}, which "
            f"{dtype} cannot tell apart: {cure} first"
        )


def interior(
    low: npt.ArrayLike,
    high: npt.ArrayLike,
    dtype: npt.DTypeLike,
    name: Callable[[tuple], str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the smallest and largest numbers of a type that lie strictly between bounds.

    Their distances from the bounds, also in units of the distance between both, are normal numbers
    of the type: TensorFlow takes smaller ones as 0.

    Args:
      low: lower bounds, -inf for none.
      high: upper bounds of the same shape, inf for none.
      dtype: the type of floats, to which bounds are rounded as data is.
      name: function from the index of a variable to what messages call its bounds.

    Raises:
      ValueError: if there is no number between the bounds of a variable.

    >>> import numpy as np
    >>> least, largest = interior(np.array([100.0]), np.array([np.inf]), "float32")
    >>> least.tolist(), largest.tolist()
    ([100.00000762939453], [3.4028234663852886e+38])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        below, above = np.asarray(low, dtype), np.asarray(high, dtype)
        span = np.where(np.isfinite(below) & np.isfinite(above), above - below, 1)
        step = (np.finfo(dtype).tiny * np.maximum(span, 1)).astype(dtype)
        least = np.nextafter(below + step, np.asarray(np.inf, dtype))
        largest = np.nextafter(above - step, np.asarray(-np.inf, dtype))
    if len(empty := np.argwhere(~(least <= largest))):
        index = tuple(map(int, empty[0]))
        pair = f"({np.asarray(low)[index]}, {np.asarray(high)[index]})"
        variable = f"bounds of variable {', '.join(map(str, index))}" if index else "bounds"
        raise ValueError(
            f"{name(index) if name else variable} must have low below high, with numbers of "
            f"{np.dtype(dtype).name} between them. Received: {pair}"
        )
    return least, largest
