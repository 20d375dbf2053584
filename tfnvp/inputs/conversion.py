"""Conversion of what users hand in to arrays: one table of the kinds that need a rule."""

import datetime
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
from tfnvp.inputs.rules import CURES


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
    Kind("a lazy table", lambda x: type(x).__name__ == "LazyFrame", cure="call `x.collect()`"),
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

# Kinds of NumPy that are real numbers, and types of Python.
_NUMERIC = "biuf"
_KNOWN = (numbers.Real, decimal.Decimal)
_DATES = (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)

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
      ValueError: for data that is not an array of numbers, with the name of the column of a table.
    """
    if kind := kind_of(x, name):
        return to_array(kind.convert(x), name)
    if tf.is_tensor(x):
        return x
    try:
        if not hasattr(x, "__array__"):
            return _list_to_array(x)
        array = None if _has_dates(x) else _without_objects(np.asarray(x))
        if array is not None and (array.dtype.kind in _NUMERIC or not _columns_of(x)):
            return array if kind_of(array) is None else to_array(array, name)
    except (TypeError, ValueError, RuntimeError) as error:
        if not _columns_of(x):
            raise _no_array(x, name, error) from None
    raise ValueError(f"`{name}` must hold real numbers{_other_column(x, name)}")


def to_numbers(x: Any, name: str = "x") -> np.ndarray | tf.Tensor:
    """Returns what `to_array` does, but a masked array of whole numbers as it is.

    They can be grey levels, which floats are not, and `dequantize` takes them.
    """
    whole = isinstance(x, np.ma.MaskedArray) and x.dtype.kind in "iub"
    return x if whole else to_array(x, name)


def _no_array(x, name, error):
    return ValueError(
        f"`{name}` must be an array of numbers; a table of several types becomes one by "
        f"`.astype('float32')`. Received: {type(x).__name__}. {error}"
    )


def _has_dates(x):
    """Whether a table of polars holds dates, which would become microseconds since 1970."""
    # A series of pandas has one `dtypes`.
    kinds = getattr(x, "dtypes", ()) if column_labels(x) else ()
    return any(getattr(kind, "is_temporal", bool)() for kind in kinds)


def _columns_of(x):
    """Returns the columns of a table of pandas, polars or Arrow; none of other data."""
    if not column_labels(x):
        return []
    if hasattr(x, "items"):
        return [column for _, column in x.items()]
    walk = getattr(x, "iter_columns", None) or getattr(x, "itercolumns", list)
    return list(walk())


def _other_column(x, name):
    """Describes the first column of a table that holds other values than numbers."""
    for i, (label, column) in enumerate(zip(column_labels(x), _columns_of(x), strict=True)):
        array = _without_objects(np.asarray(column))
        if array.dtype.kind in _NUMERIC and array.ndim == 1:
            continue
        other = [not (_is_gap(value) or isinstance(value, _KNOWN)) for value in array.flat]
        row = int(np.argmax(other))
        kind = "M" if isinstance(array[row], _DATES) else array.dtype.kind
        values = f"values of type {column.dtype if hasattr(column, 'dtype') else column.type}"
        return (
            f"{CURES.get(kind, '')}. Received: column {label!r} with {values}, such as "
            f"{str(array[row])!r} in {name}[{row}, {i}]"
        )
    return f". Received: {type(x).__name__}"


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
    names = column_labels(x.get("x") if isinstance(x, dict) else x)
    return names if names and len(set(names)) == len(names) else None


def column_labels(x: Any) -> list[str]:
    """Returns the names of a table's columns, which can be equal; none for other data."""
    # In `pyarrow.Table`, `columns` are the columns themselves.
    return [str(name) for name in getattr(x, "column_names", None) or getattr(x, "columns", ())]


def _without_objects(array: np.ndarray) -> np.ndarray:
    """Returns an array of objects as floats, or unchanged if it holds other values than numbers."""
    if array.dtype != object:
        return array
    gaps = np.array([_is_gap(value) for value in array.flat], bool).reshape(array.shape)
    if not all(isinstance(value, _KNOWN) for value in array[~gaps]):
        return array
    return np.where(gaps, np.nan, array).astype("float64")


def _is_gap(value: Any) -> bool:
    # The `NA` of pandas, which need not be installed.
    return value is None or value is np.ma.masked or type(value).__name__ == "NAType"
