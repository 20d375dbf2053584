"""One array or several, as dictionary or tuple, by their keys."""

from typing import Any


def parts_of(structure: Any) -> dict:
    """Returns the arrays, or the shapes, of a structure by their keys: names, or numbers.

    A single array, or shape, has the key None.

    >>> parts_of({"angle": (None, 2)}), parts_of([(None, 2), (None, 3)]), parts_of((None, 2))
    ({'angle': (None, 2)}, {0: (None, 2), 1: (None, 3)}, {None: (None, 2)})
    """
    if isinstance(structure, dict):
        return dict(structure)
    several = isinstance(structure, (list, tuple))
    if several and not all(isinstance(size, int | None) for size in structure):
        return dict(enumerate(structure))
    return {None: structure}


def packed(parts: dict) -> Any:
    """Returns what `parts_of` took apart; several arrays without names as a tuple.

    >>> packed({None: 7}), packed({"angle": 7}), packed({0: 7, 1: 8})
    (7, {'angle': 7}, (7, 8))
    """
    if None in parts:
        return parts[None]
    return dict(parts) if any(isinstance(key, str) for key in parts) else tuple(parts.values())


def name_of(argument: str, key: Any) -> str:
    """Returns what messages call the array with a key.

    >>> name_of("condition", None), name_of("condition", "angle")
    ('condition', "condition['angle']")
    """
    return argument if key is None else f"{argument}[{key!r}]"
