"""Checks what users hand to a flow, and brings it into the form the graph code wants."""

import math

import keras
import numpy as np
import tensorflow as tf

from tfnvp.data.dequantization import dequantize

_MAX_SEED = 2**31 - 1


def prepare(flow, x, condition, event_shape, name):
    """Returns `(x, condition)` as float32 tensors `[batch, ...]`; raises on any other shape."""
    x = as_data(flow, x, name)
    _check_shape(x.shape, event_shape, name)
    if (condition is None) != (flow.condition_shape is None):
        received = "None" if condition is None else f"an array of shape {np.shape(condition)}"
        raise ValueError(
            f"`condition` must be given exactly where the flow has a condition_shape (here: "
            f"{flow.condition_shape}). Received: condition={received}"
        )
    if condition is None:
        return x, None
    condition = _as_floats(condition, "condition", integers=True)
    if condition.shape.rank == len(flow.condition_shape):
        condition = tf.broadcast_to(
            condition, tf.concat([tf.shape(x)[:1], tf.shape(condition)], axis=0)
        )
    _check_shape(condition.shape, flow.condition_shape, "condition")
    return x, condition


def as_data(flow, x, name="x"):
    """Returns data as floats, whole grey levels dequantized where the flow takes them."""
    if not flow.accepts_integers or name == "z":
        return _as_floats(x, name)
    x = x if tf.is_tensor(x) else np.asarray(x)
    is_integer = tf.as_dtype(x.dtype).is_integer
    return dequantize(x, flow.levels) if is_integer else _as_floats(x, name)


def _as_floats(x, name, integers=False):
    try:
        x = tf.convert_to_tensor(x)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be an array of numbers. {error}") from None
    _check_dtype(x.dtype, name, integers)
    return tf.cast(x, tf.float32)


def _check_dtype(dtype, name, integers=False):
    dtype = tf.as_dtype(dtype)
    if integers and dtype.is_integer:
        return
    if dtype.is_integer or dtype.is_bool:
        raise ValueError(
            f"`{name}` holds integers, which have no density: dequantize them first, for example "
            f"by `tfnvp.data.dequantize(x, levels=256)`. Received dtype: {dtype.name}"
        )
    if not dtype.is_floating:
        raise ValueError(f"`{name}` must hold real numbers. Received dtype: {dtype.name}")


def _check_shape(shape, event_shape, name):
    shape = tf.TensorShape(shape)
    if shape.rank is not None and (
        shape.rank != 1 + len(event_shape) or not shape[1:].is_compatible_with(event_shape)
    ):
        expected = ", ".join(["batch", *map(str, event_shape)])
        raise ValueError(f"`{name}` must have the shape [{expected}]. Received shape: {shape}")


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
    return prepare(flow, x, condition, flow.event_shape, "x")


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
    if flow.condition_shape is None:
        raise ValueError(
            "the flow has no condition_shape, and so no use for the second element of the data "
            "(targets or labels). Map the data to its first element, or make the flow conditional"
        )
    return {"x": x, "condition": y}, None, sample_weight


def check_training_data(flow, x, y, name="x"):
    """Raises `ValueError` for data that cannot be trained on, as far as can be seen beforehand."""
    if isinstance(x, tf.data.Dataset):
        if int(x.cardinality()) == 0:
            raise ValueError(f"`{name}` must not be empty. Received: {x}")
        first = as_pair(x.element_spec)[0]
        first = first.get("x") if isinstance(first, dict) else first
        if isinstance(first, tf.TensorSpec):
            _check_dtype(first.dtype, name, flow.accepts_integers)
            _check_shape(first.shape, flow.event_shape, name)
        return
    if isinstance(x, dict):
        x, y = x.get("x"), x.get("condition")
    if not isinstance(x, (np.ndarray, tf.Tensor, list)):
        return
    x = np.asarray(x)
    _check_dtype(x.dtype, name, flow.accepts_integers)
    _check_shape(x.shape, flow.event_shape, name)
    if len(x) == 0:
        raise ValueError(f"`{name}` must not be empty. Received shape: {x.shape}")
    for array, what in ((x, name), (None if y is None else np.asarray(y), "condition")):
        if array is None or array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        where = np.argwhere(~np.isfinite(array))
        raise ValueError(
            f"`{what}` must be finite. Received: {len(where)} values that are not, the first at "
            f"row {where[0][0]}, position {tuple(int(i) for i in where[0][1:])}: "
            f"{array[tuple(where[0])]}"
        )


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
        rows = flow.adaptation_rows
        for i in range(0, len(x), rows):
            condition = None if y is None else tf.cast(y[i : i + rows], tf.float32)
            yield as_data(flow, x[i : i + rows]), condition
    elif isinstance(x, dict):
        yield from batches(flow, x["x"], x.get("condition"))
    elif isinstance(x, keras.utils.PyDataset):
        for i in range(len(x)):
            yield from batches(flow, *as_pair(x[i]))
    elif isinstance(x, tf.data.Dataset):
        for batch in x:
            yield from batches(flow, *as_pair(batch))
    else:
        raise ValueError(
            "a generator cannot be read twice, and the flow starts from data: call "
            f"`flow.adapt(sample)` before `fit`. Received: {type(x).__name__}"
        )


def check_sampling(flow, n, seed, temperature):
    """Returns the seed as a pair of ints; raises on arguments out of range."""
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(f"`n` must be an int of 0 or more. Received: {n!r}")
    if not temperature >= 0:
        raise ValueError(f"`temperature` must be 0 or more. Received: {temperature!r}")
    if temperature != 1.0 and not isinstance(flow.base, str):
        raise ValueError(
            'a temperature needs the base "normal" or "logistic". '
            f"Received: temperature={temperature} and base={flow.base}"
        )
    if seed is None:
        return tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)
    seed = np.atleast_1d(np.asarray(seed))
    if seed.dtype.kind not in "iu" or seed.shape not in ((1,), (2,)):
        raise ValueError(f"`seed` must be an int or a pair of ints. Received: {seed!r}")
    return tf.constant([int(s) % _MAX_SEED for s in (*seed, 0)[:2]], tf.int32)
