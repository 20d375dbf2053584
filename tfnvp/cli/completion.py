"""What a shell offers for a word that is being typed, without TensorFlow."""

import os
from collections.abc import Callable, Sequence

_TABLES = (".csv", ".tsv", ".txt", ".gz", ".bz2", ".zst", ".parquet", ".feather", ".arrow", ".xlsx")
_TABLES += (".npy", ".npz")


def paths(incomplete: str, endings: Sequence[str] | None = None) -> list[str]:
    """Returns the folders, and the files with some endings, whose paths begin with a text.

    Args:
      incomplete: the text.
      endings: endings of names of files, in lower case. Default: any.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("a.csv", "a.png", ".b.csv"):
    ...     folder.joinpath(name).touch()
    >>> [pathlib.Path(path).name for path in paths(f"{folder}/", [".csv"])]
    ['a.csv']
    """
    before, begun = os.path.split(incomplete)
    found = []
    try:
        entries = sorted(os.scandir(os.path.expanduser(before) or "."), key=lambda e: e.name)
    except OSError:
        return []
    for entry in entries:
        if not entry.name.startswith(begun) or (entry.name[0] == "." and not begun):
            continue
        path = os.path.join(before, entry.name)
        if entry.is_dir():
            found.append(f"{path}/")
        elif endings is None or entry.name.lower().endswith(tuple(endings)):
            found.append(path)
    return found


def words(known: Callable[[], Sequence[str]], endings: Sequence[str] = ()) -> Callable:
    """Returns a function that completes one of some words, or paths with some endings.

    Args:
      known: function that returns the words.
      endings: endings of names of files. Default: words only.
    """

    def complete(incomplete: str) -> list[str]:
        found = [word for word in known() if word.startswith(incomplete)]
        return [*found, *(paths(incomplete, endings) if endings else ())]

    return complete


def _recipes():
    from tfnvp.recipes import RECIPES

    return list(RECIPES)


def _models():
    from tfnvp.pretrained import PRETRAINED

    return list(PRETRAINED)


def _datasets():
    from tfnvp.data.named import KNOWN

    return list(KNOWN)


def choices(name: str) -> Callable:
    """Returns a function that completes one of the texts that an argument can be."""

    def known():
        from tfnvp.arguments import CHOICES

        return CHOICES[name]

    return words(known)


def folders(incomplete: str) -> list[str]:
    """Completes the path of a folder."""
    return paths(incomplete, ("/",))


recipes = words(_recipes)
datasets = words(_datasets)
models = words(_models, (".keras",))
tables = words(lambda: ("example",), _TABLES)
pictures = words(lambda: (), (".png",))
samples = words(lambda: (), (".png", ".csv", ".parquet", ".npy"))
pages = words(lambda: (), (".html",))
