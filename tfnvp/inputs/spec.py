"""Checks what users hand to a flow, and brings it into the form the graph code wants."""

import numbers

import numpy as np
import tensorflow as tf

from tfnvp.inputs import condition_checks, data_range
from tfnvp.quantization import dequantize

_MAX_SEED = 2**31 - 1

#: Sums of squares of numbers beyond overflow float32.
LARGEST = 1e15


def prepare(flow, x, condition, event_shape, name, warn=True):
    """Returns `(x, condition)` as float32 tensors `[batch, ...]`; raises on any other shape."""
    x = _with_shape(as_data(flow, x, name), event_shape, name)
    condition_checks.check_presence(flow, condition)
    if condition is None:
        return x, None
    condition_checks.refuse_labels(condition, x.shape[0], flow.condition_shape)
    condition = _as_floats(condition, "condition", integers=True)
    if condition.shape.rank == len(flow.condition_shape):
        if not condition.shape.is_compatible_with(flow.condition_shape):
            check_shape(condition.shape, flow.condition_shape, "condition")
        condition = condition[tf.newaxis]
    condition = _with_shape(condition, flow.condition_shape, "condition")
    if tf.executing_eagerly():
        condition_checks.check_finite(condition)
        if warn:
            condition_checks.warn_of_scale(flow, condition)
    if condition.shape[0] == 1 and x.shape[0] != 1:  # One for all.
        condition = tf.repeat(condition, tf.shape(x)[0], axis=0)
    if not condition.shape[:1].is_compatible_with(x.shape[:1]):
        raise ValueError(
            f"`condition` must have one row for each of `{name}`, or be one for all. "
            f"Received: {condition.shape[0]} conditions for {x.shape[0]} rows"
        )
    return x, condition


def as_data(flow, x, name="x"):
    """Returns data as floats, whole grey levels dequantized where the flow takes them."""
    if not flow.accepts_integers or name == "z":
        return _as_floats(x, name)
    x = x if tf.is_tensor(x) else np.asarray(x)
    dtype = tf.as_dtype(x.dtype)
    is_whole = dtype.is_integer or dtype.is_bool
    return dequantize(x, flow.levels) if is_whole else _as_floats(x, name)


def _as_floats(x, name, integers=False):
    if hasattr(x, "__array__") and not tf.is_tensor(x):
        x = of_table(x)
    if hasattr(x, "dtype"):
        check_dtype(x.dtype, name, integers)
    x = as_array(x, name, tf.convert_to_tensor)
    check_dtype(x.dtype, name, integers)
    return tf.cast(x, tf.float32)


def of_table(x):
    """Returns as an array what NumPy takes for one.

    Numbers of tables that mix types, or can have gaps, come as objects: they are floats, and NaN in
    the gaps, if there is nothing else.
    """
    array = np.asarray(x)
    if array.dtype != object:
        return array
    gaps = np.array([_is_gap(value) for value in array.flat], bool).reshape(array.shape)
    if not all(isinstance(value, numbers.Real) for value in array[~gaps]):
        return array
    return np.where(gaps, np.nan, array).astype("float64")


def _is_gap(value):
    """Whether a value is None or the `NA` of pandas, which need not be installed."""
    return value is None or type(value).__name__ == "NAType"


def as_array(x, name, convert=np.asarray):
    """Returns `convert(x)`; raises `ValueError` for what is no array of numbers."""
    try:
        return convert(x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers; a table of several types becomes one by "
            f"`.astype('float32')`. {error}"
        ) from None


def check_dtype(dtype, name, integers=False):
    """Raises `ValueError` for a type that is not of real numbers (or integers, where allowed)."""
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        raise ValueError(
            f"`{name}` must hold real numbers: choose the columns that do, and convert them, for "
            f"example by `{name}.astype('float32')`; texts and categories become numbers by "
            "`pandas.get_dummies`. Received dtype: object"
        )
    if isinstance(dtype, np.dtype) and dtype.kind in "Mm":
        raise ValueError(
            f"`{name}` must hold real numbers: dates and durations become some by division, for "
            "example `(dates - dates.min()) / pandas.Timedelta(days=1)`. Received "
            f"dtype: {dtype}"
        )
    dtype = tf.as_dtype(dtype)
    if integers and (dtype.is_integer or dtype.is_bool):
        return
    if dtype.is_integer or dtype.is_bool:
        raise ValueError(
            f"`{name}` holds integers, which have no density: dequantize them first, for example "
            f"by `tfnvp.data.dequantize(x, levels)`. Received dtype: {dtype.name}"
        )
    if not dtype.is_floating:
        raise ValueError(f"`{name}` must hold real numbers. Received dtype: {dtype.name}")


def check_shape(shape, event_shape, name):
    """Raises `ValueError` unless a shape is `[batch, *event_shape]`, as far as it is known."""
    shape = tf.TensorShape(shape)
    if shape.rank is not None and (
        shape.rank != 1 + len(event_shape) or not shape[1:].is_compatible_with(event_shape)
    ):
        expected = ", ".join(["batch", *map(str, event_shape)])
        hint = (
            "; labels go in as one-hot vectors, as `keras.utils.to_categorical` makes them of "
            "numbers from 0 on, and `pandas.get_dummies` of texts"
        )
        if shape.rank in (0, 1) and event_shape == (1,):
            hint = (
                "; one number for each row is a column, `condition[:, None]`, and one number for "
                f"all rows `[number]`{hint}"
            )
        raise ValueError(
            f"`{name}` must have the shape [{expected}]. Received shape: {shape}"
            + hint * (name == "condition")
        )


def _with_shape(x, event_shape, name):
    """Returns `x`, of shape `[batch, *event_shape]`; where it is not known, a runtime checks."""
    check_shape(x.shape, event_shape, name)
    known = x.shape.rank is not None and x.shape[1:].is_fully_defined()
    return x if known else tf.ensure_shape(x, (None, *event_shape))


def unpack(flow, x, condition):
    """Splits a Keras input, which may be a dictionary, into data and condition."""
    if isinstance(x, dict):
        unknown = set(x) - {"x", "condition"}
        if "x" not in x or unknown:
            raise ValueError(
                'a dictionary of inputs must have the keys "x" and "condition". '
                f"Received: {sorted(x)}"
            )
        x, condition = x["x"], x.get("condition", condition)
    refuse_parts(flow, x, "x")
    return prepare(flow, x, condition, flow.event_shape, "x")


def refuse_parts(flow, x, name):
    """Raises `ValueError` for a tuple or list of data and conditions."""
    if not isinstance(x, (list, tuple)):
        return
    if any(np.ndim(part) > len(flow.event_shape) for part in x):
        raise ValueError(
            f'`{name}` must be one array; with conditions, a dictionary {{"x": ..., '
            f'"condition": ...}}. Received: a {type(x).__name__} of {len(x)} arrays'
        )


def without_gaps(flow, x, condition):
    """Returns data and conditions with harmless numbers in rows that are none, and which are some.

    Those hold NaN, numbers whose squares leave float32, or data beyond the flow's logit.

    Args:
      flow: a `tfnvp.Flow`.
      x: `[batch, *event_shape]`.
      condition: `[batch, *condition_shape]`, or None.

    Returns:
      `(x, condition, good)`, the last of them bool `[batch]`.
    """
    low, high = data_range.limits(flow) or (-LARGEST, LARGEST)
    parts = [(x, (x >= low) & (x <= high))]  # Both are false for NaN.
    if condition is not None:
        parts.append((condition, tf.abs(condition) <= LARGEST))
    good = tf.reduce_all(
        [tf.reduce_all(is_good, list(range(1, is_good.shape.rank))) for _, is_good in parts], axis=0
    )
    # Inside of every logit, and positive.
    x, *rest = [
        tf.where(tf.reshape(good, (-1, *[1] * (part.shape.rank - 1))), part, 0.5)
        for part, _ in parts
    ]
    return x, rest[0] if rest else None, good


def as_pair(data):
    """Splits Keras data into `(x, y)`, leaving out sample weights."""
    if isinstance(data, (tuple, list)):
        return data[0], data[1] if len(data) > 1 else None
    return data, None


def targets_beside_weights(y, sample_weight):
    """Returns `y`, or empty targets where there are only weights.

    Keras drops sample weights, silently, from data without targets.
    """
    if y is None and sample_weight is not None:
        return np.zeros((len(sample_weight), 0), "float32")
    return y


def condition_from_targets(flow, data):
    """Moves Keras' "targets" to where a conditional flow expects its condition."""
    if not isinstance(data, tuple):
        return (data,)
    x, y, sample_weight = (*data, None, None)[:3]
    if y is None or y.shape[-1] == 0:
        return x, None, sample_weight
    if isinstance(x, dict):
        raise ValueError("the condition is given twice: in a dictionary, and beside it")
    if flow.condition_shape is None:
        raise ValueError(
            "the flow has no condition_shape, and so no use for the second element of the data "
            "(targets or labels). Call `fit(x)`, with `validation_data=x` alone, map a "
            "tf.data.Dataset to its first element, or make the flow conditional"
        )
    return {"x": x, "condition": y}, None, sample_weight


def check_sampling(flow, n, seed, temperature, condition):
    """Returns the seed as a pair of ints; raises on arguments out of range."""
    if isinstance(n, (list, tuple)):
        raise ValueError(
            "`n` must be an int: draw them all, and reshape. For shapes of samples there is "
            f"`flow.distribution.sample`. Received: {n!r}"
        )
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"`n` must be an int of 0 or more. Received: {n!r}")
    if isinstance(temperature, str) or np.ndim(temperature) or not temperature >= 0:
        raise ValueError(f"`temperature` must be a number of 0 or more. Received: {temperature!r}")
    if temperature != 1.0 and not isinstance(flow.base, str):
        raise ValueError(
            'a temperature needs the base "normal" or "logistic". '
            f"Received: temperature={temperature} and base={flow.base}"
        )
    rank = None if flow.condition_shape is None else len(flow.condition_shape)
    if rank is not None and np.ndim(condition) == rank + 1 and len(condition) not in (1, n):
        raise ValueError(
            f"`condition` must have one row for each of the {n} samples, or be one for all. "
            f"Received: {len(condition)} conditions"
        )
    if seed is None:
        return tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)
    seed = np.atleast_1d(np.asarray(seed))
    if seed.dtype.kind not in "iu" or seed.shape not in ((1,), (2,)):
        raise ValueError(f"`seed` must be an int or a pair of ints. Received: {seed!r}")
    return tf.constant([int(s) % _MAX_SEED for s in (*seed, 0)[:2]], tf.int32)
