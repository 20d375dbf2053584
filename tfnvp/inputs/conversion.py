"""Conversion of data to arrays: tables, lists, objects with gaps."""

import numbers
from typing import Any

import numpy as np
import tensorflow as tf


def to_array(x: Any, name: str = "x") -> np.ndarray | tf.Tensor:
    """Returns an array, table or list of numbers as an array; a tensor stays one.

    Numbers of tables that mix types, or can have gaps, come as objects: if all are
    numbers, they become floats, with NaN in the gaps.

    Raises:
      ValueError: for data that is not an array of numbers.
    """
    if tf.is_tensor(x):
        return x
    try:
        if hasattr(x, "__array__"):
            return _without_objects(np.asarray(x))
        return tf.convert_to_tensor(x)  # Lists, also of symbolic tensors.
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers; a table of several types becomes one by "
            f"`.astype('float32')`. {error}"
        ) from None


def to_arrays(data: Any, name: str = "x") -> Any:
    """Returns tables, and lists of numbers, as arrays; all other data of Keras as it is.

    Args:
      data: array, table, or a tuple or dictionary of them, or other data of Keras.
      name: what messages call it.
    """
    if isinstance(data, tuple):
        return tuple(to_arrays(part, name) for part in data)
    if isinstance(data, dict):
        return {key: to_arrays(part, name) for key, part in data.items()}
    if _is_list_of_numbers(data):
        return np.asarray(to_array(data, name))
    return to_array(data, name) if hasattr(data, "__array__") else data


def column_names(x: Any) -> list[str] | None:
    """Returns the names of a table's columns, or None for data without names."""
    x = x.get("x") if isinstance(x, dict) else x
    # In `pyarrow.Table`, `columns` are the columns themselves.
    names = [str(name) for name in getattr(x, "column_names", None) or getattr(x, "columns", ())]
    return names if names and len(set(names)) == len(names) else None


def _is_list_of_numbers(data: Any) -> bool:
    if not isinstance(data, list):
        return False
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, numbers.Real)


def _without_objects(array: np.ndarray) -> np.ndarray:
    """Returns an array of objects as floats, or unchanged if it holds other values than numbers."""
    if array.dtype != object:
        return array
    gaps = np.array([_is_gap(value) for value in array.flat], bool).reshape(array.shape)
    if not all(isinstance(value, numbers.Real) for value in array[~gaps]):
        return array
    return np.where(gaps, np.nan, array).astype("float64")


def _is_gap(value: Any) -> bool:
    # The `NA` of pandas, which need not be installed.
    return value is None or type(value).__name__ == "NAType"
