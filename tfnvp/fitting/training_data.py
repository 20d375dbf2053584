"""Data as it comes to `fit`, `evaluate` and `predict`: what can be said of it before Keras."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice as table_checks
from tfnvp.inputs import condition_checks, data_range
from tfnvp.inputs import spec as inputs

# Where a condition goes.
_WHERE = (
    ". In `fit` and `evaluate` it is the second argument, or of each batch the second part; "
    'for `predict` it goes with the data, {"x": x, "condition": condition}'
)


def from_tables(data):
    """Returns pandas' tables, and what else NumPy takes for an array, as arrays; all else as it is.

    Lists of numbers, or of such lists, are arrays too; Keras takes lists for several inputs.

    Args:
      data: array, table, or a tuple or dictionary of them, or other data of Keras.
    """
    if isinstance(data, tuple):
        return tuple(from_tables(part) for part in data)
    if isinstance(data, dict):
        return {name: from_tables(part) for name, part in data.items()}
    if _is_list_of_numbers(data):
        return inputs.as_array(data, "x")
    keep = data is None or tf.is_tensor(data) or not hasattr(data, "__array__")
    return data if keep else inputs.of_table(data)


def _is_list_of_numbers(data):
    if not isinstance(data, list):
        return False
    while isinstance(data, list) and data:
        data = data[0]
    return isinstance(data, numbers.Real)


def check_weights(x, sample_weight):
    """Raises `ValueError` for weights of arrays that are not one for each row."""
    x = x.get("x") if isinstance(x, dict) else x
    if sample_weight is None or not isinstance(x, (np.ndarray, tf.Tensor)):
        return
    if np.shape(sample_weight) != (len(x),):
        raise ValueError(
            f"`sample_weight` must be one weight for each row, of shape ({len(x)},). "
            f"Received shape: {np.shape(sample_weight)}"
        )
    if not (np.isfinite(sample_weight).all() and np.min(sample_weight, initial=0) >= 0):
        raise ValueError(
            "`sample_weight` must be finite and 0 or more. Received: values that are not"
        )


def check(flow, x, y, name="x", finite=True):
    """Raises `ValueError` for data that a flow cannot use, as far as can be seen beforehand.

    Args:
      flow: a `tfnvp.Flow`.
      x: data of any Keras kind.
      y: conditions, or None.
      name: what messages call it.
      finite: bool, whether arrays must be finite.
    """
    if x is None:
        raise ValueError(f"`{name}` is missing: an array, a tf.data.Dataset or other Keras data")
    if isinstance(x, tf.data.Dataset):
        if int(x.cardinality()) == 0:
            raise ValueError(f"`{name}` must not be empty. Received: {x}")
        first = inputs.as_pair(x.element_spec)[0]
        first = first.get("x") if isinstance(first, dict) else first
        if isinstance(first, tf.TensorSpec):
            inputs.check_dtype(first.dtype, name, flow.accepts_integers)
            if tuple(first.shape.dims or ()) == flow.event_shape:
                raise ValueError(
                    f"`{name}` must come in batches: `dataset.batch(rows)` makes them. "
                    f"Received: a data set of tensors of shape {first.shape}"
                )
            inputs.check_shape(first.shape, flow.event_shape, name)
            if isinstance(x.element_spec, tf.TensorSpec):
                condition_checks.check_presence(flow, None, _WHERE)
        return
    if isinstance(x, dict):
        if y is not None:
            raise ValueError(f"the condition is given twice, in `{name}` and beside it")
        x, y = x.get("x"), x.get("condition")
    inputs.refuse_parts(flow, x, name)
    if not isinstance(x, (np.ndarray, tf.Tensor, list)):
        return
    x = np.asarray(x)
    # Variables and conditions of `fit` are looked at by `check_variables`.
    of_fit = name == "x" and finite
    inputs.check_dtype(x.dtype, name, flow.accepts_integers)
    inputs.check_shape(x.shape, flow.event_shape, name)
    if len(x) == 0:
        raise ValueError(f"`{name}` must not be empty. Received shape: {x.shape}")
    if finite or x.dtype.kind in "iub":
        data_range.check(flow, x, name)
    if x.dtype.kind == "f" and not of_fit:
        data_range.warn(flow, x, name)
    if y is None:
        condition_checks.check_presence(flow, None, _WHERE)
    elif np.ndim(y) and len(y) != len(x):
        raise ValueError(
            f"`condition` must have one row for each of `{name}`. "
            f"Received: {len(y)} conditions for {len(x)} rows"
        )
    if y is not None and flow.condition_shape is not None and np.shape(y)[1:] != (0,):
        inputs.check_shape(np.shape(y), flow.condition_shape, "condition")
        inputs.check_dtype(np.asarray(y).dtype, "condition", integers=True)
    if not finite:
        return
    for array, what in ((x, name), (None if y is None else np.asarray(y), "condition")):
        if array is None or array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        where = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"`{what}` must be finite. Received: {len(where)} values that are not, the first is "
            f"{what}[{', '.join(map(str, where[0]))}]: {array[tuple(where[0])]}"
        )


def variable_names(x):
    """Returns what a table of pandas, or the like, calls its columns, or None for other data."""
    x = x.get("x") if isinstance(x, dict) else x
    # Of `pyarrow.Table`, `columns` are the columns themselves.
    names = [str(name) for name in getattr(x, "column_names", None) or getattr(x, "columns", ())]
    return names if names and len(set(names)) == len(names) else None


def check_variables(flow, x, y, names):
    """Looks at the variables of training data, where it is one array.

    Raises `ValueError` for one that float32 would flatten, and warns of those of a table that have
    no density, of grey levels of another number than the flow's, and of conditions that are codes.

    Args:
      flow: a `tfnvp.Flow`.
      x: data of any Keras kind.
      y: conditions, or None.
      names: those of the columns of `x`, or None.
    """
    if isinstance(x, dict):
        x, y = x.get("x"), x.get("condition")
    if isinstance(y, np.ndarray) and flow.condition_shape is not None:
        condition_checks.warn_of_labels(y)
    if not isinstance(x, np.ndarray):
        return

    def called(place):
        return f"column {names[int(place[0])]!r}" if names else f"variable {', '.join(place)}"

    table_checks.check_precision(x, called, "`x`")
    if x.dtype.kind != "f":
        data_range.warn_of_few_levels(x, flow.levels)
        return
    data_range.warn_of_levels(x, flow.levels)
    if flow.levels is None:
        places = names or [f"x[:, {', '.join(map(str, i))}]" for i in np.ndindex(x.shape[1:])]
        columns = x.reshape(len(x), -1).T
        table_checks.warn_of_columns(dict(zip(places, columns, strict=True)))


def warn_of_conditions(flow, x, y):
    """Warns of conditions of unusual size, where they are one array; `flow` knows the usual one.

    Args:
      flow: a `tfnvp.Flow`, adapted.
      x: data of any Keras kind that `check` passed.
      y: conditions, or None.
    """
    y = x.get("condition") if isinstance(x, dict) else y
    is_array = isinstance(y, (np.ndarray, tf.Tensor))
    if is_array and flow.condition_shape is not None and np.shape(y)[1:] != (0,):
        condition_checks.warn_of_scale(flow, y)


def as_dataset(x, y, batch_size):
    """Returns training data as a `tf.data.Dataset` of batches, or None where it is of other kind.

    Arrays come in their own order, not in the one that `fit` shuffles them to.
    """
    if isinstance(x, tf.data.Dataset):
        return x
    if not isinstance(x, (np.ndarray, tf.Tensor, list, dict)):
        return None
    return tf.data.Dataset.from_tensor_slices(x if y is None else (x, y)).batch(batch_size or 32)


def count_batches(x, arguments):
    """Returns how many batches `fit` makes of training data in an epoch, or None if unknown.

    Args:
      x: training data of any Keras kind.
      arguments: of `fit`, by their names.
    """
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    if isinstance(x, tf.data.Dataset):
        count = int(x.cardinality())
        return count if count > 0 else None
    if not isinstance(x, (np.ndarray, tf.Tensor, list)):
        return None
    rows = math.ceil(len(x) * (1.0 - (arguments.get("validation_split") or 0.0)))
    return math.ceil(rows / (arguments.get("batch_size") or 32))


def batches(flow, x, y):
    """Iterates over training data of any Keras kind as pairs `(x, condition or None)`."""
    if isinstance(x, (np.ndarray, tf.Tensor, list)):
        x = np.asarray(x)  # Whose grey levels are checked where they go.
        if tf.as_dtype(x.dtype).is_floating:
            data_range.check(flow, x, "x")
        yield inputs.as_data(flow, x), None if y is None else tf.cast(y, tf.float32)
    elif isinstance(x, dict):
        yield from batches(flow, x["x"], x.get("condition"))
    elif isinstance(x, keras.utils.PyDataset):
        for i in range(len(x)):
            yield from batches(flow, *inputs.as_pair(x[i]))
    elif isinstance(x, tf.data.Dataset):
        for batch in x:
            yield from batches(flow, *inputs.as_pair(batch))
    else:
        raise ValueError(
            "a generator cannot be read twice, and the flow starts from data: call "
            "`flow.adapt(sample)`, with conditions if it takes any, before `fit`. "
            f"Received: {type(x).__name__}"
        )
