"""What records are, in their `records.json`: read and checked without TensorFlow."""

import json
import math
import pathlib
from typing import Any

import numpy as np

from tfnvp.data.foreign_files import reading
from tfnvp.inputs.bounds import bounds_of_columns

#: File of a folder of records that describes them.
DESCRIPTION = "records.json"


def describe(folder: str | pathlib.Path) -> dict[str, Any]:
    """Returns the content of `records.json`.

    Raises:
      ValueError: if a folder has none, or its content does not describe records.
    """
    file = pathlib.Path(folder) / DESCRIPTION
    if not file.is_file():
        raise ValueError(f"no records in {folder}: it has no {DESCRIPTION} of `write_records`")
    with reading(file, "a description of records"):
        description = json.loads(file.read_text())
        if not isinstance(description, dict):
            raise ValueError("it holds no dictionary")
    return {"levels": None} | description


def complete(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the content of `records.json`, whose entries have the right types and sizes."""
    description = describe(folder)
    with reading(folder / DESCRIPTION, "a description of records"):
        if missing := {"name", "dtype", "event_shape", "shards"} - description.keys():
            raise ValueError(f"it lacks {sorted(missing)}")
        _check(**description)
    return description


def _check(name, dtype, event_shape, levels, shards, columns=None, bounds=None, **_):
    row_bytes = math.prod(event_shape) * np.dtype(dtype).itemsize
    valid = {
        "name": isinstance(name, str),
        "dtype": np.dtype(dtype).kind in "biuf",
        "event_shape": all(type(n) is int and n > 0 for n in event_shape),
        "levels": levels is None or type(levels) is int,
        "columns": columns is None or all(isinstance(column, str) for column in columns),
        "bounds": not bounds or any(bounds_of_columns(bounds, columns or (), name)),
        "names of shards": all(pathlib.PurePath(file).name == file for file in shards),
        # The records are not longer than their file.
        "sizes of shards": all(
            0 <= shard["rows"] * row_bytes <= shard["bytes"] for shard in shards.values()
        ),
    }
    if not all(valid.values()):
        raise ValueError(f"{', '.join(key for key, fits in valid.items() if not fits)} do not fit")
