"""What a table holds that a density cannot be learned of, and what only seems to be there."""

import warnings
import zlib

import numpy as np

# Fewer steps of float32 than this to a standard deviation, and rounding is seen in the likelihood.
_STEPS = 100

# Columns that a warning names; images have thousands.
_NAMED = 8


def check_precision(rows, name, source):
    """Raises `ValueError` for a variable that float32, which flows compute in, flattens or lacks.

    It flattens one, in float64, whose standard deviation is less than a hundred steps of float32 at
    its size. Only many rows tell: a few of them may be close to each other.

    Args:
      rows: `[n, ...]`, finite.
      name: function from the place of a variable, texts of its indices, to what it is called.
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
    with np.errstate(over="ignore", invalid="ignore"):
        deviation, largest = rows.std(axis=0), np.abs(rows).max(axis=0)
        step = np.spacing(largest.astype("float32")).astype("float64")
    far = np.argwhere(largest > np.finfo("float32").max)
    if len(far):
        place = tuple(far[0])
        raise ValueError(
            f"{source}: {name([str(i) for i in place])} reaches {largest[place]:.3g}, beyond "
            "float32, which flows compute in: divide it by a constant first"
        )
    lost = np.argwhere((np.ptp(rows, axis=0) > 0) & ~(deviation >= _STEPS * step))
    if len(lost):
        place = tuple(lost[0])
        raise ValueError(
            f"{source}: {name([str(i) for i in place])} varies by {deviation[place]:.3g} around "
            f"{rows[(0, *place)]:.6g}, which float32 cannot tell apart: subtract its mean first"
        )


def warn_of_columns(columns):
    """Warns of columns that have no density: constant, repeated, or of whole numbers alone.

    Args:
      columns: mapping of names to arrays of numbers, which may have gaps.
    """
    finite = {name: column[np.isfinite(column)] for name, column in columns.items()}
    constant = [name for name, column in finite.items() if len(column) and np.ptp(column) == 0]
    if constant:
        _warn(
            f"constant columns: {_listed(map(repr, constant))}; leave them out, or the "
            "likelihood is far too high: a constant has no density"
        )
    seen, repeated = {}, []
    for name, column in columns.items():
        first = seen.setdefault(zlib.crc32(np.ascontiguousarray(column)), name)
        same = first != name and np.array_equal(column, columns[first], equal_nan=True)
        if same and name not in constant:
            repeated.append(f"{name!r} repeats {first!r}")
    if repeated:
        _warn(f"column {_listed(repeated)}: together they have no density; leave one of each out")
    whole = [n for n, column in finite.items() if n not in constant and _is_whole(column)]
    if whole:
        _warn(
            f"whole numbers alone in {_listed(map(repr, whole))}: discrete values have no density, "
            "and the likelihood of repeated ones can grow without bound"
        )


def _is_whole(column):
    # All numbers beyond these are whole, in float64.
    return not (column % 1).any() and np.abs(column).max(initial=0) < 2**52


def _listed(texts):
    first, more = (texts := list(texts))[:_NAMED], len(texts) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _warn(message):
    warnings.warn(message, stacklevel=4)


# --- export, evaluation ---------------------------------------------------------------------------


def warn_of_other_shapes(version, changed) -> None:
    """Warns where the version before an export has data of other shapes.

    Args:
      version: folder of the version before.
      changed: mapping of names of shapes to the pair of the shape before and the shape now.
    """
    listed = "; ".join(f"{name} {before}, now {now}" for name, (before, now) in changed.items())
    warnings.warn(
        f"{version} has other shapes: {listed}. Clients of the model get the new version at once; "
        "export another model to a folder of its own",
        stacklevel=4,
    )


def warn_of_unusable_likelihood(log_probs, bad) -> None:
    """Warns where log-densities are not finite, and with them their mean.

    Args:
      log_probs: array `[n]`, in nats.
      bad: indices of those that are not finite.
    """
    warnings.warn(
        f"{len(bad)} of {len(log_probs)} rows have the log-density {log_probs[bad[0]]}, the first "
        f"is row {bad[0] + 1}: their mean is not finite either",
        stacklevel=3,
    )
