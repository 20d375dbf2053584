"""What is said where damaged data is left out."""

import warnings


def warn_of_skipped(count, total, what, first=None):
    """Warns of data points that a loader left out.

    Args:
      count: how many.
      total: of how many.
      what: what they are, in the plural.
      first: which is the first of them, where that is known.
    """
    warnings.warn(
        f"{count} of {total} {what} are left out because they are damaged"
        + ("" if first is None else f", the first is {first}"),
        stacklevel=5,
    )
