"""Rows in TFRecord shards as a source of data, in bounded memory."""

import contextlib
import math
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_int
from tfnvp.data.foreign_files import DamagedRecordsError, whole_records
from tfnvp.fitting.batches import PREPARED, as_epoch, without_tuning


class RecordStream:
    """Training rows in shards, which every epoch reads anew: a `tfnvp.data.DataSource`.

    Has the length and the `shape` of the array that it stands for.

    Args:
      files: paths of the shards.
      count: int, rows in all of them.
      dtype: NumPy type of the rows.
      event_shape: tuple, shape of one row.
      skip_bad: bool; leave out what follows a broken record in its shard.
    """

    in_memory = False

    # Shards that are read in turn, rows of each in one turn, and bytes that are shuffled in memory.
    interleaved = 8
    block = 16
    shuffled_bytes = 2**26

    def __init__(
        self,
        files: Iterable[str | pathlib.Path],
        count: int,
        dtype: Any,
        event_shape: Sequence[int],
        skip_bad: bool = False,
    ):
        self.files = [str(file) for file in files]
        self.shape = (count, *event_shape)
        self.dtype = np.dtype(dtype)
        self.skip_bad = skip_bad
        self._whole: dict[bytes, int] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, n: int, seed: int | None = None) -> np.ndarray:
        """Returns `n` rows as an array, or all where there are fewer.

        Args:
          n: int.
          seed: int, for other rows than the first. Their order in the shards is random already.
        """
        n = min(n, len(self))
        if n < 1:
            return np.zeros((0, *self.shape[1:]), self.dtype)
        rows = self._read_all(n) if seed is None else self._shuffled(n, (0, seed))
        with damage_named(self):
            return next(rows.take(1).as_numpy_iterator())

    def chunks(self, rows: int = 1000) -> Iterator[np.ndarray]:
        """Yields all rows in the order of the shards, at most `rows` at a time."""
        with damage_named(self):
            yield from self._read_all(rows).as_numpy_iterator()

    def batches(self, batch_size: int, key: Any, finish: Callable | None = None) -> tf.data.Dataset:
        """Batches of an epoch, in an order that depends only on the key.

        The order of the shards is random, several are read in turn, and their rows are shuffled
        in pieces of `shuffled_bytes`. Their order in the shards is random already.

        Args:
          batch_size: int; the last, smaller batch is kept.
          key: int32 `[2]`, of the random order; or a function without arguments that returns it
            when an epoch begins.
          finish: function of `(batch, key)`, with a random key `[2]`, that returns the rows of a
            batch as the data set yields them. Default: the batch.

        Returns:
          `tf.data.Dataset` of `[batch, *event_shape]` in the type of the records, or of what
          `finish` returns.

        Raises:
          ValueError: if `batch_size` is not a positive int.
        """
        check_int("batch_size", batch_size)
        current = key if callable(key) else lambda: key

        def epoch(_):
            now = tf.numpy_function(lambda: np.array(current(), "int32"), (), tf.int32)
            now = tf.ensure_shape(now, (2,))
            return _with_keys(self._shuffled(batch_size, now), now)

        batches = tf.data.Dataset.range(1).flat_map(epoch)
        finish = finish or (lambda batch, _: batch)
        batches = batches.map(finish, num_parallel_calls=PREPARED)
        return as_epoch(batches, math.ceil(len(self) / batch_size))

    def fingerprint(self, start: int = 0) -> int | None:
        """Returns a checksum of the shards that continues `start`; reads all of them."""
        for file in self.files:
            with open(file, "rb") as shard:
                while piece := shard.read(2**20):
                    start = zlib.crc32(piece, start)
        return start

    def check(self) -> int:
        """Reads all rows, and returns their number.

        Raises:
          ValueError: if one is broken; the message names its file and its place there.
        """
        total = 0
        for file in self.files:
            whole_records(pathlib.Path(file))
            count = 0
            try:
                for record in without_tuning(tf.data.TFRecordDataset(file)).as_numpy_iterator():
                    (row,) = (
                        tf.train.Example.FromString(record).features.feature["x"].bytes_list.value
                    )
                    np.frombuffer(row, self.dtype).reshape(self.shape[1:])
                    count += 1
            except Exception as error:  # Of TensorFlow, of Protocol Buffers, or of NumPy.
                text = f"{file} is broken after {count} of its records"
                raise DamagedRecordsError(text) from error
            total += count
        return total

    def _shuffled(self, batch_size, key):
        """Returns the batches of one epoch; `key` is int32 `[2]`."""
        shuffle = tf.random.experimental.stateless_shuffle
        rows = tf.data.Dataset.from_tensor_slices(shuffle(tf.constant(self.files), key)).interleave(
            self._records, self.interleaved, self.block, tf.data.AUTOTUNE, deterministic=True
        )
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        piece = max(batch_size, self.shuffled_bytes // row_bytes)
        pieces = _with_keys(rows.batch(min(piece, len(self))), key)
        batches = pieces.map(shuffle).rebatch(batch_size).map(self._parse, tf.data.AUTOTUNE)
        return without_tuning(batches)

    def _read_all(self, rows):
        files = tf.data.Dataset.from_tensor_slices(tf.constant(self.files))
        return without_tuning(files.flat_map(self._records).batch(rows).map(self._parse))

    def _records(self, file):
        # Counted first: TensorFlow would believe in any length.
        whole = tf.numpy_function(self._count_whole, [file], tf.int64)
        records = tf.data.TFRecordDataset(file)
        return (records.ignore_errors() if self.skip_bad else records).take(whole)

    def _count_whole(self, file):
        """Counts the records of a file once."""
        if file not in self._whole:
            path = pathlib.Path(file.decode())
            self._whole[file] = np.int64(whole_records(path, self.skip_bad))
        return self._whole[file]

    def _parse(self, records):
        feature = {"x": tf.io.FixedLenFeature((), tf.string)}
        texts = tf.io.parse_example(records, feature)["x"]
        return tf.reshape(tf.io.decode_raw(texts, tf.as_dtype(self.dtype)), (-1, *self.shape[1:]))


def _with_keys(batches, key):
    """Returns batches with a key each, made of `key` and their number."""

    def with_key(i, batch):
        return batch, tf.random.fold_in(tf.cast(key, tf.int32), tf.cast(i, tf.int32))

    return batches.enumerate().map(with_key)


@contextlib.contextmanager
def damage_named(rows: Any) -> Iterator[None]:
    """Raises TensorFlow's errors of a broken `RecordStream` as one that names file and record.

    Args:
      rows: the stream that is read, or other rows, whose errors stay as they are.
    """
    try:
        yield
    except tf.errors.OpError:
        if isinstance(rows, RecordStream):
            rows.check()
        raise
