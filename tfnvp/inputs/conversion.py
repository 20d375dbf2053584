"""Conversion of what users hand in to arrays: one table of the kinds that need a rule."""

import decimal
import inspect
import numbers
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfnvp.arguments import unmasked


class Kind(NamedTuple):
    """A kind of object that becomes an array by a rule of its own, or is refused.

    Attributes:
      name: what messages call it.
      matches: function that recognises an object of the kind.
      convert: function that makes an array or tensor of it, or None if it is refused.
      cure: what messages advise where it is refused.
    """

    name: str
    matches: Callable[[Any], bool]
    convert: Callable[[Any], Any] | None = None
    cure: str = ""


def _has_dtype(test):
    return lambda x: isinstance(getattr(x, "dtype", None), np.dtype) and test(x.dtype)


def _is_small_float(dtype):
    """Whether a type is of half precision, or of less."""
    return "float" in dtype.name and dtype.itemsize < 4


_NUMBERS = "give an array of numbers"
_ROWS = "give rows, `numpy.column_stack(list(columns.values()))`"

#: Kinds of objects by name, the first that matches decides. All others are converted by NumPy or
#: TensorFlow.
KINDS = (
    Kind("a masked array", lambda x: isinstance(x, np.ma.MaskedArray), unmasked),
    Kind(
        "a variable",
        lambda x: isinstance(x, (tf.Variable, keras.Variable)),
        lambda x: tf.convert_to_tensor(x.value if isinstance(x, keras.Variable) else x),
    ),
    Kind(
        "a structured array",
        _has_dtype(lambda dtype: dtype.names is not None),
        cure="`numpy.lib.recfunctions.structured_to_unstructured(x)` makes rows of it",
    ),
    Kind(
        "an array of long doubles",
        _has_dtype(lambda dtype: dtype.kind == "f" and dtype.itemsize > 8),
        lambda x: np.asarray(x, "float64"),
    ),
    Kind(
        "an array of another byte order",
        _has_dtype(lambda dtype: not dtype.isnative),
        lambda x: np.asarray(x).astype(x.dtype.newbyteorder("=")),
    ),
    Kind(
        "an array of small floats",
        _has_dtype(_is_small_float),
        lambda x: np.asarray(x).astype("float32"),
    ),
    Kind(
        "a sparse tensor",
        lambda x: isinstance(x, (tf.SparseTensor, tf.SparseTensorSpec)),
        cure="`tf.sparse.to_dense(x)` makes rows of it",
    ),
    Kind(
        "a sparse array",
        lambda x: type(x).__module__.startswith("scipy.sparse"),
        cure="`x.toarray()` makes rows of it",
    ),
    Kind(
        "a ragged tensor",
        lambda x: isinstance(x, (tf.RaggedTensor, tf.RaggedTensorSpec)),
        cure="rows of equal length become a tensor by `x.to_tensor()`",
    ),
    Kind(
        "a table with dates or times",
        lambda x: any(getattr(kind, "is_temporal", bool)() for kind in getattr(x, "dtypes", ())),
        cure="polars counts microseconds since 1970: leave them out, or write days as numbers",
    ),
    Kind("a dictionary", lambda x: isinstance(x, dict), cure=_ROWS),
    Kind(
        "a text or path",
        lambda x: isinstance(x, (str, bytes, pathlib.PurePath)),
        cure="`tfnvp.data.load_table(path)` and `load_images(path)` read files",
    ),
    Kind("a set", lambda x: isinstance(x, (set, frozenset)), cure=f"it has no order: {_NUMBERS}"),
    Kind("a stream of batches", lambda x: is_stream(x), cure="give all parts in one stream"),
    Kind("an iterator", lambda x: hasattr(x, "__next__"), cure="call `numpy.stack(list(x))` first"),
    Kind("a function", inspect.isroutine, cure=f"{_NUMBERS}, or call it first"),
)

#: Types of arrays that need no rule: most calls have one.
_PLAIN = {np.dtype(name).str for name in ("float32", "float64", "int32", "int64", "uint8")}


def kind_of(x: Any, name: str = "x") -> Kind | None:
    """Returns the first of `KINDS` that matches, or None; raises `ValueError` if it is refused."""
    if isinstance(x, tf.Tensor) or (type(x) is np.ndarray and x.dtype.str in _PLAIN):
        return None
    kind = next((kind for kind in KINDS if kind.matches(x)), None)
    if kind is not None and kind.convert is None:
        raise ValueError(
            f"`{name}` must be an array of numbers: {kind.cure}. Received: {kind.name} of type "
            f"{type(x).__name__}"
        )
    return kind


def to_array(x: Any, name: str = "x") -> np.ndarray | tf.Tensor:
    """Returns an array, table or list of numbers as an array; a tensor stays one.

    Numbers of tables that mix types, or can have gaps, come as objects: if all are
    numbers, they become floats, with NaN in the gaps. So do masked arrays.

    Raises:
      ValueError: for data that is not an array of numbers.
    """
    if kind := kind_of(x, name):
        return to_array(kind.convert(x), name)
    if tf.is_tensor(x):
        return x
    try:
        if hasattr(x, "__array__"):
            array = _without_objects(np.asarray(x))
            return array if kind_of(array) is None else to_array(array, name)
        return _list_to_array(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers; a table of several types becomes one by "
            f"`.astype('float32')`. Received: {type(x).__name__}. {error}"
        ) from None


def _list_to_array(x):
    try:
        return tf.convert_to_tensor(x)  # Lists, also of symbolic tensors.
    except (TypeError, ValueError):
        array = _without_objects(np.array(x, dtype=object))
        if array.dtype == object:
            raise
        return array


def is_stream(data: Any) -> bool:
    """Whether data comes in batches of its own, as one of Keras' kinds that are not arrays."""
    streams = (tf.data.Dataset, tf.distribute.DistributedDataset, keras.utils.PyDataset)
    loader = type(data).__module__.startswith("torch.") and not hasattr(data, "__array__")
    return isinstance(data, streams) or inspect.isgenerator(data) or loader


class MappedBatches(keras.utils.PyDataset):
    """The batches of a `PyDataset`, each changed by a function."""

    def __init__(self, source: keras.utils.PyDataset, function: Callable[[Any], Any]):
        super().__init__(source.workers, source.use_multiprocessing, source.max_queue_size)
        self._source, self._function = source, function

    @property
    def num_batches(self) -> int | None:
        return self._source.num_batches

    def __getitem__(self, index):
        return self._function(self._source[index])

    def on_epoch_begin(self) -> None:
        self._source.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._source.on_epoch_end()


def with_arrays(stream: Any) -> Any:
    """Returns a stream whose batches are converted by `to_array`, where they are Python objects."""

    def convert(batch):
        return tf.nest.map_structure(lambda part: part if part is None else to_array(part), batch)

    if isinstance(stream, keras.utils.PyDataset):
        return MappedBatches(stream, convert)
    return (convert(batch) for batch in stream) if inspect.isgenerator(stream) else stream


def column_names(x: Any) -> list[str] | None:
    """Returns the names of a table's columns, or None for data without names."""
    x = x.get("x") if isinstance(x, dict) else x
    # In `pyarrow.Table`, `columns` are the columns themselves.
    names = [str(name) for name in getattr(x, "column_names", None) or getattr(x, "columns", ())]
    return names if names and len(set(names)) == len(names) else None


def _without_objects(array: np.ndarray) -> np.ndarray:
    """Returns an array of objects as floats, or unchanged if it holds other values than numbers."""
    if array.dtype != object:
        return array
    gaps = np.array([_is_gap(value) for value in array.flat], bool).reshape(array.shape)
    known = (numbers.Real, decimal.Decimal)
    if not all(isinstance(value, known) for value in array[~gaps]):
        return array
    return np.where(gaps, np.nan, array).astype("float64")


def _is_gap(value: Any) -> bool:
    # The `NA` of pandas, which need not be installed.
    return value is None or value is np.ma.masked or type(value).__name__ == "NAType"
