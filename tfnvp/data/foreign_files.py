"""What every reader of files does about damaged and hostile ones: errors, and limits of memory."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

# A file may hold this many values, or so many for each of its bytes: compression can make a
# hundred gigabytes of a few megabytes.
_VALUES, _VALUES_PER_BYTE = 2**26, 100


class DamagedTableError(ValueError):
    """Says which row of which table is damaged."""


@contextlib.contextmanager
def reading(source: Any, kind: str) -> Iterator[None]:
    """Raises whatever a library raises for the content of a file as `ValueError` that names it.

    Errors of the disk, which have a number, stay `OSError`, and a `DamagedTableError` what it is.

    Args:
      source: what messages call the file.
      kind: what it should hold, with an article.

    >>> with reading("rows.csv", "a table"):
    ...     int("x")
    Traceback (most recent call last):
    ValueError: rows.csv cannot be read as a table: invalid literal for int() with base 10: 'x'
    """
    try:
        yield
    except Exception as error:  # Of many kinds: formats differ, and damaged files even more.
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise
        if isinstance(error, DamagedTableError):
            raise
        text = str(error) or type(error).__name__
        raise ValueError(f"{source} cannot be read as {kind}: {text}") from error


def check_values(count: int, file: pathlib.Path) -> None:
    """Raises `ValueError` if a file, or a folder, holds far more values than its size allows.

    Args:
      count: int, values that reading would keep in memory.
      file: path.
    """
    files = [file] if file.is_file() else file.rglob("*")
    most = max(_VALUES, _VALUES_PER_BYTE * sum(each.stat().st_size for each in files))
    if count > most:
        raise ValueError(
            f"{file} would take too much memory: a file of its size may hold {most:,} values. "
            f"Received: {count:,}. Write it without compression, a table as .npy"
        )


class DamagedRecordsError(ValueError):
    """Says which record of which file is damaged."""


def whole_records(file: pathlib.Path, skip_bad: bool = False) -> int:
    """Counts the records of a TFRecord file, which must end where the file does.

    TensorFlow allocates whatever length a record claims to have, and so may be ended by it.

    Args:
      file: path.
      skip_bad: bool, count only the first ones, which end before the file does.

    Raises:
      DamagedRecordsError: if a record is longer than the file.
    """
    count = end = 0
    if not file.is_file():  # A pipe would wait for ever.
        raise DamagedRecordsError(f"no file of records at {file}")
    with file.open("rb") as records:
        size = records.seek(0, 2)
        while end < size:
            records.seek(end)
            # Length, its checksum, content, its checksum.
            end += 8 + 4 + int.from_bytes(records.read(8), "little") + 4
            if end <= size:
                count += 1
            elif skip_bad:
                break
            else:
                raise DamagedRecordsError(f"{file} is broken after {count} of its records")
    return count
