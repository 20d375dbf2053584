"""Checks of arguments that many constructors take, and masked arrays as arrays with NaN."""

import numbers
from collections.abc import Collection
from typing import Any

import numpy as np

#: The values of arguments that take one of a few texts, known without TensorFlow.
CHOICES = {
    "bound": ("elbo", "iwae"),
    "mask": ("top", "bottom", "left", "right", "even", "center", "random"),
    "on_divergence": ("stop", "roll-back"),
    "strategy": ("none", "mirrored", "multi_worker"),
    "weights_dtype": ("float32", "bfloat16"),
}


def check_choice(name: str, value: Any) -> None:
    """Raises `ValueError` unless a value is one of the `CHOICES` of an argument.

    >>> try:
    ...     check_choice("mask", "inside")
    ... except ValueError as error:
    ...     print(error)
    `mask` must be one of top, bottom, left, right, even, center, random. Received: 'inside'
    """
    check_one_of(name, value, CHOICES[name])


def check_one_of(name: str, value: Any, choices: Collection[str | None]) -> None:
    """Raises `ValueError` unless a value is one of a few texts, or None where that is one."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        known = ", ".join(map(str, choices))
        raise ValueError(f"`{name}` must be one of {known}. Received: {value!r}")


def check_int(name: str, value: Any, least: int = 1, most: int | None = None) -> None:
    """Raises `ValueError` unless a value is a whole number in a range.

    A limit at the top keeps a typing error, or a damaged file, from using up the memory.

    Args:
      name: name of the argument.
      value: int, also of NumPy, but no bool.
      least: the smallest number that is allowed.
      most: the largest one, or None.

    >>> check_int("couplings", 4)
    >>> try:
    ...     check_int("couplings", True)
    ... except ValueError as error:
    ...     print(error)
    `couplings` must be a positive int. Received: True
    """
    is_int = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_int or value < least or (most is not None and value > most):
        range_ = "a positive int" if least == 1 else f"an int of {least} or more"
        limit = "" if most is None else f", at most {most}"
        raise ValueError(f"`{name}` must be {range_}{limit}. Received: {value!r}")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, also of NumPy, but no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def check_dropout(dropout: Any) -> None:
    """Raises `ValueError` unless `dropout` is a share of units that may be dropped."""
    if not is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be a number in [0, 1). Received: {dropout!r}")


def check_flags(*texts: str, **flags) -> None:
    """Raises `ValueError` for arguments that are neither True nor False nor one of the texts."""
    allowed = ["True", *(f'"{text}"' for text in texts)]
    for name, value in flags.items():
        if not isinstance(value, bool) and not (isinstance(value, str) and value in texts):
            listed = ", ".join(allowed)
            raise ValueError(f"`{name}` must be {listed} or False. Received: {value!r}")


def unmasked(array: Any) -> Any:
    """Returns a masked array as floats with NaN where it is masked, anything else as it is.

    >>> unmasked(np.ma.masked_equal([1, -999], -999)).tolist()
    [1.0, nan]
    """
    if not isinstance(array, np.ma.MaskedArray):
        return array
    if not np.ma.getmaskarray(array).any():
        return np.asarray(array.data)
    return (array if array.dtype.kind == "f" else array.astype("float64")).filled(np.nan)
