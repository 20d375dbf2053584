"""Writes files as a whole or not at all."""

import contextlib
import os
import pathlib


def require_folder(path):
    """Raises `ValueError` if the folder of a new file does not exist."""
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise ValueError(f"no folder {path.parent} to write {path.name} in")


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary path to write to, which is renamed to `path` if nothing failed.

    A process killed in between, or a full disk, leaves the old file as it was. The temporary file
    lies beside it, and its bytes are on the disk before it is renamed.

    Args:
      path: the file to write.

    Raises:
      ValueError: if its folder does not exist.

    >>> import tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "numbers.txt"
    >>> with replacing(file) as temporary:
    ...     _ = temporary.write_text("1 2 3")
    >>> file.read_text(), len(list(file.parent.iterdir()))
    ('1 2 3', 1)
    """
    path = pathlib.Path(path)
    require_folder(path)
    # The file extension stays: writers of pictures and models choose the format by it.
    temporary = path.with_name(f"writing-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
