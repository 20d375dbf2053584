"""Data for Keras' methods: arrays as data sets of batches, validation rows, samples of any data."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_int

#: Number of reads (of one or more batches) that run in parallel, and of prefetched batches.
PREPARED = 2

# Numbers in one read, which gets several batches where batches are small.
_READ_AT_ONCE = 2**16

_BATCH_SIZE = 32


class Data(NamedTuple):
    """Data of Keras' methods: arrays of equal length, or another kind of data as `x` alone."""

    x: Any
    condition: Any = None
    sample_weight: Any = None

    @classmethod
    def of(cls, batch: Any) -> "Data":
        """Returns the parts of a batch of a data set."""
        return cls(*batch) if isinstance(batch, (tuple, list)) else cls(batch)

    @property
    def is_arrays(self) -> bool:
        """Whether all given parts are arrays, or dictionaries of arrays."""
        leaves = [leaf for leaf in tf.nest.flatten(tuple(self)) if leaf is not None]
        lengths = {len(v) if isinstance(v, (np.ndarray, tf.Tensor)) else 0 for v in leaves}
        return len(lengths) == 1 and min(lengths) > 0

    @property
    def rows(self) -> int | None:
        """The number of rows of arrays, None for other data."""
        return len(tf.nest.flatten(self.x)[0]) if self.is_arrays else None

    @property
    def parts(self) -> tuple:
        """The data points and conditions, also where both are in a dictionary."""
        if isinstance(self.x, dict):
            return self.x["x"], self.x.get("condition")
        return self.x, self.condition

    def map(self, function: Callable) -> "Data":
        """Applies a function to every array."""
        return Data(
            *tf.nest.map_structure(lambda v: None if v is None else function(v), tuple(self))
        )

    @property
    def targets(self) -> Any:
        """What Keras takes as targets: conditions, or empty ones beside weights.

        Keras silently drops sample weights of data without targets.
        """
        if self.condition is None and self.sample_weight is not None:
            return np.zeros((len(self.sample_weight), 0), "float32")
        return self.condition


def split_validation(data: Data, fraction: float | None) -> tuple[Data, Data | None]:
    """Returns training data, and the last rows of arrays for validation, as Keras divides them.

    Raises:
      ValueError: for other data, and where rows of one of the two are missing.
    """
    if not fraction:
        return data, None
    if not data.is_arrays:
        raise ValueError(
            "`validation_split` must be of arrays: give `validation_data` for data sets and "
            f"generators. Received: {type(data.x).__name__}"
        )
    train = math.floor(data.rows * (1.0 - fraction))
    if not 0 < train < data.rows:
        raise ValueError(
            "`validation_split` must leave rows for training and for validation. Received: "
            f"{fraction} of {data.rows} rows"
        )
    return data.map(lambda part: part[:train]), data.map(lambda part: part[train:])


def sample(data: Data, rows: int) -> tuple[np.ndarray, Any]:
    """Returns at most `rows` data points and conditions: spread over arrays, else the first ones.

    Rows of weight 0 are left out.

    Raises:
      ValueError: for a generator, which cannot be read twice, and data without rows.
    """
    if data.is_arrays:
        data = _with_weight(data)
        step = math.ceil(data.rows / rows)
        x, condition = data.map(lambda part: part[::step]).parts
        return np.asarray(x), _arrays(condition)
    pieces, count = [], 0
    for piece in _batches(data.x):
        pieces.append(piece)
        count += len(piece[0])
        if count >= rows:
            break
    if not count:
        raise ValueError("the training data is empty: it has no row with a weight above 0")
    x, condition = zip(*pieces, strict=True)
    x = np.concatenate(x)[:rows]
    if condition[0] is None:
        return x, None
    return x, tf.nest.map_structure(lambda *parts: np.concatenate(parts)[:rows], *condition)


def _arrays(condition: Any) -> Any:
    return None if condition is None else tf.nest.map_structure(np.asarray, condition)


def first_rows(data: Data, event_shape: tuple, rows: int = 1024) -> np.ndarray | None:
    """Returns the first finite rows of data that can be read twice, None for other data."""
    if not isinstance(data.x, (tf.data.Dataset, keras.utils.PyDataset)):
        return None
    x, _ = sample(data, rows)
    if x.shape[1:] != event_shape:
        return None
    return x[np.isfinite(x.reshape(len(x), -1)).all(axis=1)] if x.dtype.kind == "f" else x


def _batches(source: Any) -> Iterator[tuple[np.ndarray, Any]]:
    """Iterates over data points and conditions of data that is not arrays."""
    if isinstance(source, keras.utils.PyDataset):
        count = source.num_batches
        batches = (source[i] for i in (itertools.count() if count is None else range(count)))
    elif isinstance(source, tf.data.Dataset):
        batches = iter(source)
    else:
        raise ValueError(
            "a generator cannot be read twice, and the flow is initialised from data: call "
            "`flow.adapt(sample)`, with conditions if it takes any, before `fit`. "
            f"Received: {type(source).__name__}"
        )
    for batch in batches:
        x, condition = _with_weight(Data.of(batch)).parts
        yield np.asarray(x), _arrays(condition)


def _with_weight(data):
    """Returns data without the rows of weight 0, which nothing may depend on."""
    if data.sample_weight is None:
        return data
    counts = np.asarray(data.sample_weight) != 0.0
    return data.map(lambda part: np.asarray(part)[counts])


def count_batches(data: Data, batch_size: int | None) -> int | None:
    """Returns how many batches an epoch has, or None where that is not known."""
    if isinstance(data.x, keras.utils.PyDataset):
        return data.x.num_batches
    if isinstance(data.x, tf.data.Dataset):
        count = int(data.x.cardinality())
        return count if count > 0 else None
    return math.ceil(data.rows / (batch_size or _BATCH_SIZE)) if data.is_arrays else None


def as_dataset(data: Data, batch_size: int | None) -> tf.data.Dataset | None:
    """Returns training data as batches in their own order, or None where it is of another kind."""
    if isinstance(data.x, tf.data.Dataset):
        return data.x
    if not data.is_arrays:
        return None
    x = data.x if data.condition is None else (data.x, data.condition)
    return without_tuning(tf.data.Dataset.from_tensor_slices(x).batch(batch_size or _BATCH_SIZE))


def for_keras(data: Data, arguments: dict, shuffle: bool = False) -> dict:
    """Returns the arguments of a Keras method with its data: arrays as a data set of batches.

    Keras would make a data set of arrays too, but one that tf.data tunes: see `batched_arrays`.

    Args:
      data: data of any kind that Keras takes.
      arguments: the other arguments of `fit`, `evaluate` or `predict`, by their names.
      shuffle: whether rows come in another order in every epoch.
    """
    if arguments.get("steps_per_epoch") or arguments.get("steps") or not data.is_arrays:
        given = {"x": data.x, "y": data.targets, "sample_weight": data.sample_weight}
        # `predict` takes no targets.
        return arguments | {k: v for k, v in given.items() if k == "x" or v is not None}
    parts = (data.x, data.targets, data.sample_weight)
    parts = parts if parts[2] is not None else parts[:2] if parts[1] is not None else parts[:1]
    parts = tf.nest.map_structure(_in_single_precision, parts)
    batch_size = arguments.get("batch_size")
    batches = batched_arrays(
        parts if len(parts) > 1 else parts[0],
        _BATCH_SIZE if batch_size is None else batch_size,
        _seeds_of_epochs() if shuffle else None,
    )
    of_arrays = ("batch_size", "shuffle")
    return {"x": batches} | {k: v for k, v in arguments.items() if k not in of_arrays}


def validation_for_keras(data: Data, arguments: dict) -> tuple:
    """Returns `validation_data` as Keras' `fit` takes it, arrays as a data set."""
    found = for_keras(
        data,
        {
            "batch_size": arguments.get("validation_batch_size") or arguments.get("batch_size"),
            "steps": arguments.get("validation_steps"),
        },
    )
    return found["x"], found.get("y"), found.get("sample_weight")


def _in_single_precision(array: Any) -> np.ndarray:
    array = np.asarray(array)
    is_floating = tf.as_dtype(array.dtype).is_floating
    return array.astype("float32", copy=False) if is_floating else array


def _seeds_of_epochs() -> Callable[[], tuple[int, int]]:
    # From NumPy's generator, as `keras.utils.set_random_seed` seeds it.
    seed, passes = np.random.randint(2**31), itertools.count()
    return lambda: (seed, next(passes))


def batched_arrays(
    arrays: Any,
    batch_size: int,
    seed: Callable[[], tuple[int, int]] | None = None,
    finish: Callable | None = None,
) -> tf.data.Dataset:
    """Batches of arrays, in their order or shuffled anew in every epoch.

    tf.data sets up its operations again in every epoch, which can take longer than the epoch of a
    small flow. So there are few of them: NumPy shuffles an epoch, `unbatch` divides it into reads
    (a nested data set would be slower), and each read gets and finishes one batch or more.

    Args:
      arrays: array `[n, ...]`, or tuple or dictionary of such, with the same `n`.
      batch_size: int; the last, smaller batch of an epoch is kept.
      seed: function that gives the seed of an epoch, called when the epoch begins, a pair of ints.
        Default: rows stay in their order.
      finish: function of `(batch, key)`, with a random key `[2]` for each read, that returns what
        the data set yields. Default: the batch.

    Raises:
      ValueError: if `batch_size` is not a positive int.
    """
    check_int("batch_size", batch_size)
    # Rows and their order stay in the memory of the host, also where there is a GPU.
    with tf.device("CPU:0"):
        arrays = tf.nest.map_structure(tf.convert_to_tensor, arrays)
    leaves = tf.nest.flatten(arrays)
    n = len(leaves[0])
    size = min(batch_size, n)
    numbers = size * sum(math.prod(leaf.shape[1:]) for leaf in leaves)
    size *= max(1, min(_READ_AT_ONCE // max(1, numbers), math.ceil(n / size)))
    reads = math.ceil(n / size)

    def order():
        generator = np.random.default_rng(None if seed is None else seed())
        places = np.zeros(reads * size, "int32")
        places[:n] = np.arange(n) if seed is None else generator.permutation(n)
        sizes = np.minimum(size, n - size * np.arange(reads, dtype="int32"))
        keys = generator.integers(2**31, size=(reads, 2), dtype="int32")
        return places.reshape(reads, size), sizes, keys

    def epoch(_):
        places, sizes, keys = tf.numpy_function(order, (), (tf.int32,) * 3)
        return (
            tf.ensure_shape(places, (reads, size)),
            tf.ensure_shape(sizes, (reads,)),
            tf.ensure_shape(keys, (reads, 2)),
        )

    def read(places, size, key):
        batch = tf.nest.map_structure(lambda rows: tf.gather(rows, places[:size]), arrays)
        return batch if finish is None else finish(batch, key)

    epochs = tf.data.Dataset.range(1)
    if reads == 1:  # Small data is read by one function: each one takes milliseconds to trace.
        batches = epochs.map(lambda i: read(*(part[0] for part in epoch(i))))
    else:
        batches = epochs.map(epoch).unbatch().map(read, num_parallel_calls=PREPARED)
    batches = batches.rebatch(batch_size)
    return as_epoch(batches, math.ceil(n / batch_size))


def as_epoch(batches: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """Sets the number of batches, prefetches some, and turns off the autotuning of tf.data."""
    batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    options = tf.data.Options()
    # Workers divide each batch; if they divided files, some would have more steps than others.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return without_tuning(batches.prefetch(PREPARED).with_options(options))


def without_tuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turns off the autotuning of tf.data."""
    options = tf.data.Options()
    # Measured on two cores: with autotuning, some steps took twice as long. And the end of an
    # iterator waits for the thread of the autotuning, which sleeps for as long as a step has taken:
    # after a compilation for many seconds.
    options.autotune.enabled = False
    return dataset.with_options(options)
