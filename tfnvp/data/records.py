"""Data sets larger than memory: rows in TFRecord shards, written and read in bounded memory.

A folder of records holds `records.json` and shards such as `train-00003-of-00016.tfrecord`. Every
record is a `tf.train.Example` with one feature `x`: the bytes of one row, little-endian and in C
order. `records.json` says what they mean: `name`, `dtype`, `event_shape`, `levels` (null for real
numbers), `columns` (the names of a table's columns, or null), `bounds` (of columns that have some,
by name), and of each shard its `rows` and `bytes`.
"""

import contextlib
import itertools
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfnvp.advice import warn_of_lost_records
from tfnvp.data import division
from tfnvp.data.foreign_files import whole_records
from tfnvp.data.record_description import DESCRIPTION, complete
from tfnvp.data.record_stream import RecordStream
from tfnvp.data.splits import PARTS, Splits
from tfnvp.inputs.bounds import Pair, bounds_of_columns
from tfnvp.inputs.outside import OutsideOfBounds

# About the most rows of validation, and of test, which are kept in memory; otherwise a tenth.
_MOST_HELD_OUT = 10_000

# Rows that are compared with bounds at a time.
_ROWS_TO_CHECK = 10_000

_FEWEST_SHARDS, _MOST_SHARDS, _SHARD_BYTES = 16, 256, 2**27


def write_records(
    chunks: Iterable[np.ndarray],
    count: int,
    folder: str | pathlib.Path,
    name: str | None = None,
    levels: int | None = None,
    seed: int = 0,
    columns: Sequence[str] | None = None,
    bounds: Mapping[str, Pair] | None = None,
) -> pathlib.Path:
    """Writes rows into shards, divided into training, validation and test rows.

    The contents of a row decide its part, as in `split_at_random`: equal rows are in one part.
    About a tenth of the rows are for validation and a tenth for test, of more than 100,000 about
    10,000 each. Every training row goes to a shard at random, and each shard is shuffled: the order
    in which rows are read does not depend on the one in which they came.

    Args:
      chunks: iterable of arrays `[n, *event_shape]` of one type and shape.
      count: int, the number of rows in all chunks.
      folder: path of a folder that does not exist yet, or is empty.
      name: what the data set is called. Default: the name of the folder.
      levels: int, number of grey levels of quantized data.
      seed: int, of the division.
      columns: names of a table's columns, or None. With `bounds` the default is "0", "1" and so on.
      bounds: mapping of names of columns to `(low, high)`, None for no bound, between which all
        values lie; or None. `read_records` gives them to `Splits`.

    Returns:
      The folder.

    Raises:
      ValueError: if the folder is not empty, there are fewer than ten rows, or fewer than three
        that differ, or the chunks do not have `count` rows of one type and shape; or for other
        bounds.

    >>> import numpy as np, tempfile
    >>> chunks = (np.full([10, 3], i, "float32") for i in range(10))
    >>> splits = read_records(write_records(chunks, 100, tempfile.mkdtemp() + "/records"))
    >>> len(splits.train), splits.validation.shape  # Of ten times the same row, all or none.
    (80, (10, 3))
    """
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already and is not overwritten: choose another")
    if count < 10:
        raise ValueError(
            f"{folder.name}: at least 10 rows are needed to split them. Received: {count}"
        )
    chunks = map(_little_endian, chunks)
    first = next(chunks)
    chunks = itertools.chain([first], chunks)
    if bounds and columns is None:
        columns = [str(i) for i in range(first.shape[-1])]
    pairs = bounds_of_columns(bounds or {}, columns or (), folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    share = min(0.1, _MOST_HELD_OUT / count)
    limits = division.cuts(share)
    if count <= division.FEW:
        chunks = list(chunks)
        hashes = [division.row_hashes(rows, seed) for rows in chunks]
        limits = division.cuts(share, np.concatenate(hashes))
    files = _files(count, first.dtype.itemsize * math.prod(first.shape[1:]))
    generator = np.random.default_rng(seed)
    rows_of_file = np.zeros(len(files), "int64")
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(tf.io.TFRecordWriter(str(folder / file))) for file in files]
        for rows in chunks:
            number, kind = rows_of_file.sum() + len(rows), (rows.dtype, rows.shape[1:])
            if kind != (first.dtype, first.shape[1:]) or number > count:
                raise ValueError(
                    f"`chunks` must hold {count} rows of {first.dtype} {first.shape[1:]}. "
                    f"Received: rows {number - len(rows) + 1} to {number} of {kind[0]} {kind[1]}"
                )
            parts = division.parts(division.row_hashes(rows, seed), limits)
            shards = generator.integers(0, len(files) - 2, len(rows))
            places = np.where(parts == 0, shards, len(files) - 3 + parts)
            rows_of_file += np.bincount(places, minlength=len(files))
            for row, place in zip(rows, places, strict=True):
                writers[place].write(_example(row))
    if number != count:
        raise ValueError(f"`chunks` must hold {count} rows. Received: {number}")
    if 0 in rows_of_file[-2:]:
        raise ValueError(f"three parts need more different rows. Received: {count} rows")
    shards = {}
    for file, rows in zip(files, rows_of_file.tolist(), strict=True):
        _shuffle(folder / file, np.random.default_rng(seed))
        shards[file] = {"rows": rows, "bytes": (folder / file).stat().st_size}
    description = {
        "name": name or folder.name,
        "dtype": first.dtype.name,
        "event_shape": list(first.shape[1:]),
        "levels": levels,
        "columns": columns and list(columns),
        "bounds": {name: pair for name, pair in zip(columns or (), pairs, strict=True) if pair},
        "shards": shards,
    }
    # Last, so that a folder that has it is complete.
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    return folder


def read_records(
    folder: str | pathlib.Path,
    skip_bad: bool = False,
    bounds: Mapping[str, Pair] | None = None,
) -> Splits:
    """Opens a folder of records: training rows as a stream, the others in memory.

    Args:
      folder: path of a folder that `write_records` made.
      skip_bad: bool; leave out broken records and what follows them in their shards, with a
        warning that says how many rows are lost. It reads everything once, to count them.
      bounds: mapping of names of columns to `(low, high)`, None for no bound. Default: those that
        the records were written with. For others, all rows are read once.

    Returns:
      `Splits` whose `train` is a `RecordStream`.

    Raises:
      ValueError: if it is not such a folder, or, without `skip_bad`, a shard is missing or has
        another size than it was written with; the message names the file. `check_records` also
        finds records whose bytes have changed. And if rows are not inside of the bounds.
    """
    folder = pathlib.Path(folder)
    description = complete(folder)
    shards = (_readable if skip_bad else _checked)(folder, description["shards"])
    dtype, shape = description["dtype"], tuple(description["event_shape"])

    def stream(files):
        rows = {folder / file: shards[file] for file in files if shards.get(file)}
        return RecordStream(rows, sum(rows.values()), dtype, shape, skip_bad)

    def in_memory(file):
        rows = stream([file])
        batches = rows.batches(1000, (0, 0)) if len(rows) else ()
        return np.concatenate([np.zeros((0, *shape), dtype), *batches])

    train = stream(file for file in shards if file.startswith("train-"))
    held_out = (in_memory(f"{part}.tfrecord") for part in ("validation", "test"))
    columns = description.get("columns")  # Older records have none.
    columns = columns and tuple(columns)
    splits = Splits(description["name"], train, *held_out, description["levels"], columns=columns)
    known, given = (
        bounds_of_columns(pairs or {}, columns or (), folder)
        for pairs in (description.get("bounds"), bounds)
    )
    chosen = known if bounds is None else given
    if chosen != known:
        _check_bounds(splits, chosen, folder)
    return splits._replace(bounds=chosen if any(chosen) else None)


def check_records(folder: str | pathlib.Path) -> None:
    """Reads all records of a folder.

    Raises:
      ValueError: if one is broken; the message names its file and its place there.
    """
    folder = pathlib.Path(folder)
    description = complete(folder)
    dtype, shape = description["dtype"], description["event_shape"]
    for file, expected in _checked(folder, description["shards"]).items():
        rows = RecordStream([folder / file], expected, dtype, shape).check()
        if rows != expected:
            raise ValueError(f"{folder / file} has {rows} records. Expected: {expected}")


def _check_bounds(splits, bounds, folder):
    """Raises `ValueError` if rows are not inside of the bounds of their columns."""
    outside = OutsideOfBounds(bounds)
    for part in PARTS:
        for rows in splits.source(part).chunks(_ROWS_TO_CHECK):
            outside.add(rows)
    for i in outside.columns:
        fault = outside.describe(i, lambda row: f"row {row + 1} of its parts")
        raise ValueError(
            f"{folder}: column {splits.columns[i]!r} {fault}. Write the records with `bounds` and "
            "`skip_bad`, which leaves such rows out, or correct the bounds"
        )


def _little_endian(chunk):
    chunk = np.asarray(chunk)
    return chunk.astype(chunk.dtype.newbyteorder("<"), order="C", copy=False)


def _files(count, row_bytes):
    """Returns the names of all shards, the last two of validation and test rows."""
    shards = int(np.clip(count * row_bytes // _SHARD_BYTES, _FEWEST_SHARDS, _MOST_SHARDS))
    train = [f"train-{i:05}-of-{shards:05}.tfrecord" for i in range(shards)]
    return [*train, "validation.tfrecord", "test.tfrecord"]


def _shuffle(file, generator):
    """Shuffles the records of a shard, which fit into memory, in place."""
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    generator.shuffle(records)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)


def _example(row):
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[row.tobytes()]))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()


def _checked(folder, shards):
    """Returns the rows of each shard, all of which must have the size they were written with."""
    for file, shard in shards.items():
        size = (folder / file).stat().st_size if (folder / file).is_file() else None
        if size != shard["bytes"]:
            found = "it is missing" if size is None else f"it has {size} bytes"
            raise ValueError(
                f"{folder / file} was written with {shard['bytes']} bytes, and {found}: write the "
                "records again, or read them with `skip_bad`"
            )
    return {file: shard["rows"] for file, shard in shards.items()}


def _readable(folder, shards):
    """Returns the rows that can be read of each shard."""
    found = {file: _count(folder / file) for file in shards if (folder / file).is_file()}
    lost = {file: shard["rows"] - found.get(file, 0) for file, shard in shards.items()}
    if any(lost.values()):
        warn_of_lost_records(folder, {file: rows for file, rows in lost.items() if rows})
    return found


def _count(file):
    records = tf.data.TFRecordDataset(str(file)).take(whole_records(file, skip_bad=True))
    return sum(1 for _ in records.ignore_errors().batch(1000).unbatch())
