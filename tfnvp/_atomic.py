"""Files of which only whole ones count: how they are written, locked, cleaned up and read."""

import contextlib
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Most bytes that an archive unpacks to besides a multiple of its size.
_UNPACKED_BYTES = 64 * 2**20
_UNPACKED_TIMES = 100


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
    temporary = temporary_of(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def temporary_of(path):
    """Returns the path that `replacing(path)` writes to; a killed process leaves the file."""
    # The file extension stays: writers of pictures and models choose the format by it.
    return path.with_name(f"writing-{path.name}")


@contextlib.contextmanager
def locked(
    folder: str | os.PathLike, leftovers: Iterable[pathlib.Path], shared: bool = False
) -> Iterator[bool]:
    """Locks a folder until the block or the process ends, and removes what killed processes left.

    Args:
      folder: the folder.
      leftovers: files and folders in it that are removed, by a process that is alone.
      shared: whether others can lock the folder too, once the leftovers are removed.

    Yields:
      bool, whether no other process had locked the folder.
    """
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        is_alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_alone = False
        for leftover in leftovers if is_alone else ():
            shutil.rmtree(leftover, ignore_errors=True)
            with contextlib.suppress(OSError):
                leftover.unlink()
        if shared:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield is_alone
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def reading(file: Any) -> Iterator[None]:
    """Makes an `OSError` that names a file of whatever fails in reading and interpreting it.

    >>> with reading("numbers.json"):
    ...     json.loads("{}")["sum"]
    Traceback (most recent call last):
    OSError: numbers.json is damaged, or of a newer tfnvp: it has no 'sum'
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise OSError(f"{file} is damaged, or of a newer tfnvp: {reason}") from error


def check_unpacked(file: pathlib.Path, limits: Mapping[str, int] | None = None) -> None:
    """Raises `ValueError` for a zip archive that unpacks to far more than its own size.

    Args:
      file: the archive.
      limits: most bytes of some members, by their names.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    sizes = [("it", sum(member.file_size for member in members), _most_unpacked(file))]
    names = [(m, limits[m.filename]) for m in members if m.filename in (limits or {})]
    sizes += [(f"its {member.filename}", member.file_size, limit) for member, limit in names]
    for name, size, limit in sizes:
        if size > limit:
            raise ValueError(f"{name} unpacks to {size:,} bytes, and at most {limit:,} are read")


def check_hdf5(content: Any, file: pathlib.Path) -> None:
    """Raises `ValueError` if HDF5 reads anything else than numbers, in places inside of the file.

    Neither links nor data in other files are followed, and each object is visited once.

    Args:
      content: `h5py.File`, the file itself or a member of it.
      file: the file, which limits the bytes of all arrays as in `check_unpacked`.
    """
    import h5py

    # h5py does not raise what the functions that it calls raise.
    links: dict = {}
    content.visititems_links(links.__setitem__)
    for name, link in links.items():
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name!r} in it is a link")
    items: dict = {}
    content.visititems(items.__setitem__)
    arrays = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    for name, array in arrays.items():
        if array.external or array.is_virtual or array.dtype.hasobject:
            raise ValueError(f"{name!r} in it holds not numbers alone, or those of other files")
    size, most = sum(array.nbytes for array in arrays.values()), _most_unpacked(file)
    if size > most:
        raise ValueError(f"its arrays have {size:,} bytes, and at most {most:,} are read")


def _most_unpacked(file):
    return _UNPACKED_TIMES * file.stat().st_size + _UNPACKED_BYTES


def read_json(file: pathlib.Path) -> dict[str, Any]:
    """Returns the dictionary in a JSON file.

    Raises:
      OSError: if it holds something else, or cannot be read.
    """
    with reading(file):
        content = json.loads(file.read_text())
        if not isinstance(content, dict):
            raise TypeError(f"it must hold a dictionary. Received: {type(content).__name__}")
        return content


def json_text(content: Any) -> str:
    """Returns strict JSON: null stands for a number that is not finite.

    Raises:
      TypeError: for what JSON cannot express.

    >>> print(json_text({"nats": float("nan")}))
    {
      "nats": null
    }
    """
    finite = json.loads(json.dumps(content), parse_constant=lambda name: None)
    return json.dumps(finite, indent=2)
