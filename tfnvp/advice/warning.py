"""How a warning is given, and lists in it."""

import inspect
import pathlib
import warnings
from collections.abc import Iterable

# Columns that one warning names; images have thousands.
_NAMED = 8

_PACKAGE = str(pathlib.Path(__file__).parent.parent)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Gives a warning at the first line outside of tfnvp and Keras that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and _is_internal(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(file: str) -> bool:
    return file.startswith(_PACKAGE) or "/keras/" in file or "/tensorflow/" in file


def listed(texts: Iterable[str]) -> str:
    """Returns texts with commas between them, and how many more there are."""
    first, more = (texts := list(texts))[:_NAMED], len(texts) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")
