"""What a table holds that a density cannot be learned of, and what only seems to be there."""

import warnings

import numpy as np

# Fewer steps of float32 than this to a standard deviation, and rounding is seen in the likelihood.
_STEPS = 100


def lost_in_float32(rows):
    """Returns which variables, in float64, hardly vary any more in float32.

    Args:
      rows: `[n, ...]`.

    Returns:
      List of `(place, middle, deviation)`, the places tuples of ints, of the variables whose
      standard deviation is less than a hundred steps of float32 at their size.

    >>> import numpy as np
    >>> rows = 1e6 + np.array([[0.0, 0.0], [0.001, 1000.0]])
    >>> [(place, round(middle)) for place, middle, _ in lost_in_float32(rows)]
    [((0,), 1000000)]
    """
    if rows.dtype != np.float64 or not len(rows):
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, largest = rows.std(axis=0), np.abs(rows).max(axis=0)
        step = np.spacing(largest.astype("float32")).astype("float64")
    lost = (np.ptp(rows, axis=0) > 0) & ~(deviation >= _STEPS * step)
    return [
        (tuple(map(int, place)), float(rows[(0, *place)]), float(deviation[tuple(place)]))
        for place in np.argwhere(lost)
    ]


def check_precision(rows, names, source):
    """Raises `ValueError` for a variable that float32 flattens, which flows compute in.

    Args:
      rows: `[n, ...]`, finite.
      names: function from the place of a variable to what it is called.
      source: what the message calls the data.
    """
    for place, middle, deviation in lost_in_float32(rows):
        raise ValueError(
            f"{source}: {names(place)} varies by {deviation:.3g} around {middle:.6g}, which "
            "float32 cannot tell apart: subtract its mean first"
        )


def warn_of_columns(columns):
    """Warns of columns that have no density: constant, repeated, or of whole numbers alone.

    Args:
      columns: mapping of names to arrays of numbers, which may have gaps.
    """
    finite = {name: column[np.isfinite(column)] for name, column in columns.items()}
    constant = [name for name, column in finite.items() if len(column) and np.ptp(column) == 0]
    if constant:
        _warn(f"constant columns: {_listed(constant)}; leave them out, other values look likely")
    seen = {}
    for name, column in columns.items():
        first = seen.setdefault(np.asarray(column).tobytes(), name)
        if first != name and name not in constant:
            _warn(
                f"column {name!r} repeats {first!r}: together they have no density; leave one out"
            )
    whole = [n for n, column in finite.items() if n not in constant and _is_whole(column)]
    if whole:
        _warn(
            f"whole numbers alone in {_listed(whole)}: discrete values have no density, and the "
            "likelihood of repeated ones can grow without bound"
        )


def _is_whole(column):
    # All numbers beyond these are whole, in float64.
    return not (column % 1).any() and np.abs(column).max(initial=0) < 2**52


def _listed(names):
    return ", ".join(map(repr, names))


def _warn(message):
    warnings.warn(message, stacklevel=4)
