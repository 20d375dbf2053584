"""The data of a run: where it lies, and whether it is still what the run was trained on."""

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from tfnvp.data.splits import PARTS, Splits

# Entries of `source_of_data` that are paths.
_PATHS = ("images", "table", "records", "data_dir")

# Entries that name the data itself; one at most is there.
_NAMES = {"dataset", "images", "table", "records"}

#: Entries of the configuration that tell data apart.
CHECKSUMS = ("data_crc32", "held_out_crc32")


def checksums(splits: Splits) -> dict[str, int | None]:
    """Returns the entries of the configuration that tell data apart: of all, and of held-out rows.

    The second one spares reading all records, whose division is stored with them.
    """
    values = (splits.fingerprint(), splits.fingerprint(PARTS[1:]))
    return dict(zip(CHECKSUMS, values, strict=True))


def check_data(config: Mapping[str, Any], splits: Splits, name: Any) -> None:
    """Raises `ValueError` if data is not what a run was trained on.

    In other data the held-out rows can be rows that the run was trained on.

    Args:
      config: the configuration of the run; older ones have no checksums.
      splits: the data.
      name: what the message calls the run.
    """
    which = "data_crc32"
    if not splits.source().in_memory and config.get("held_out_crc32") is not None:
        which = "held_out_crc32"
    stored, parts = config.get(which), PARTS if which == "data_crc32" else PARTS[1:]
    if stored is not None and splits.fingerprint(parts) != stored:
        causes = "rows have changed, were added or left out"
        if config.get("division") is None:  # By the order of the rows.
            causes += ", or stand in another order"
        raise ValueError(
            f"{splits.name} is no longer the data that {name} was trained on: {causes}, so that "
            "its test rows can be rows of the training. Restore the data; `tfnvp evaluate "
            "--all-rows` takes all rows as new, and a copy of another name, given by an option, is "
            "other data"
        )


def with_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a configuration with absolute paths of data, and the inode numbers of files there.

    A path of another file system, such as gs://bucket, stays as it is.
    """
    source = config.get("source_of_data", {})
    inodes = {name: _inode(source[name]) for name in _PATHS if name in source}
    if not inodes:
        return config
    local = {name: os.path.abspath(source[name]) for name, known in inodes.items() if known}
    return {**config, "source_of_data": {**source, **local}, "inodes": inodes}


def followed(
    config: Mapping[str, Any], given: Mapping[str, Any], file: pathlib.Path
) -> dict[str, Any]:
    """Returns where data comes from: what is `given`, and the rest from a configuration.

    Names of data sets are followed. A path is followed if it leads to the file or folder that
    training has read, by its inode number, which the author of a foreign run folder does not
    know.

    Args:
      config: the configuration.
      given: the entries that a user gives.
      file: path of the configuration, for messages.

    Raises:
      ValueError: for another path, which the user has to give.
    """
    stored = config.get("source_of_data", {})
    if not _NAMES.isdisjoint(given):
        stored = {name: value for name, value in stored.items() if name not in _NAMES}
    source = {**stored, **given}
    for name in set(_PATHS) & (source.keys() - given.keys()):
        known = config.get("inodes", {}).get(name)
        if known is None or known != _inode(source[name]):
            raise ValueError(
                f"{file} names data that is not followed, {source[name]}: it is not the file or "
                "folder that this run was trained on, or the run folder is of another machine. "
                f"Give the data by `{name}`"
            )
    return source


def _inode(path):
    """Returns the number of a file or folder, the same for one until it is replaced, or None."""
    with contextlib.suppress(OSError, TypeError, ValueError):
        return pathlib.Path(path).stat().st_ino
