"""Arrays for Keras as data sets of batches, as `fit`, `evaluate` and `predict` divide them."""

import itertools
import math

import numpy as np
import tensorflow as tf

from tfnvp.fitting import training_data
from tfnvp.fitting.dataset_batches import batched_arrays
from tfnvp.inputs import spec as inputs


def in_batches(x, y, arguments, shuffle=False):
    """Returns arrays as a data set of batches, and all else as it is.

    Keras would make a data set of them too, but one that tf.data tunes: see
    `tfnvp.fitting.dataset_batches`.

    Args:
      x: data of any Keras kind.
      y: conditions or other targets, or None.
      arguments: of `fit`, `evaluate` or `predict`, by their names.
      shuffle: bool, whether in another order in every epoch.

    Returns:
      `(x, y, arguments)`, without the arguments that are for arrays.
    """
    given = (x, y, arguments.get("sample_weight"))
    steps = arguments.get("steps_per_epoch") or arguments.get("steps")
    if steps or not _are_arrays(given):
        return x, y, arguments
    given = given if given[2] is not None else given[:2] if y is not None else (x,)
    given = tf.nest.map_structure(_as_keras_has_it, given)
    batch_size = arguments.get("batch_size")
    batches = batched_arrays(
        given if len(given) > 1 else given[0],
        32 if batch_size is None else batch_size,
        _seeds_of_epochs() if shuffle else None,
    )
    taken = ("sample_weight", "batch_size", "shuffle")
    return batches, None, {k: v for k, v in arguments.items() if k not in taken}


def spread_rows(x, y, rows):
    """Returns at most so many rows of arrays, evenly spread, as arrays may be sorted; else all."""
    if not _are_arrays((x, y)):
        return x, y
    step = math.ceil(len(tf.nest.flatten(x)[0]) / rows)
    return _map(lambda part: part[::step], (x, y))


def _seeds_of_epochs():
    # From NumPy's generator, as `keras.utils.set_random_seed` seeds it.
    seed, passes = np.random.randint(2**31), itertools.count()
    return lambda: (seed, next(passes))


def without_validation_rows(x, y, arguments):
    """Makes the last rows of arrays validation data, as `validation_split` of `fit` says."""
    given = (x, y, arguments.get("sample_weight"))
    split = arguments.get("validation_split")
    if not split or arguments.get("validation_data") is not None or not _are_arrays(given):
        return x, y, arguments
    rows = len(tf.nest.flatten(x)[0])
    train = math.floor(rows * (1.0 - split))
    if not 0 < train < rows:
        return x, y, arguments
    last = _map(lambda part: part[train:], given)
    x, y, weights = _map(lambda part: part[:train], given)
    left = {k: v for k, v in arguments.items() if k != "validation_split"}
    return x, y, {**left, "sample_weight": weights, "validation_data": last}


def checked_validation(flow, data):
    """Returns the `validation_data` of `fit` as `(x, y, sample_weight)`.

    Raises:
      ValueError: for data that the flow cannot use.
    """
    if isinstance(data, list) and all(hasattr(part, "__array__") for part in data):
        data = tuple(data)  # As Keras takes it.
    data = training_data.from_tables(data)
    x, y, weights = (*data, None, None)[:3] if isinstance(data, tuple) else (data, None, None)
    training_data.check(flow, x, y, name="validation_data")
    return x, y, weights


def validation_in_batches(arguments):
    """Returns the `(x, y, sample_weight)` that `checked_validation` gave, arrays as a data set."""
    x, y, weights = arguments["validation_data"]
    left = {
        "sample_weight": weights,
        "batch_size": arguments.get("validation_batch_size") or arguments.get("batch_size"),
        "steps": arguments.get("validation_steps"),
    }
    x, y, left = in_batches(x, inputs.targets_beside_weights(y, weights), left)
    return x, y, left.get("sample_weight")


def _map(function, parts):
    return tf.nest.map_structure(lambda part: None if part is None else function(part), parts)


def _are_arrays(parts):
    """Whether all parts that are there are arrays, or dictionaries of arrays, of equal length."""
    leaves = [leaf for leaf in tf.nest.flatten(parts) if leaf is not None]
    lengths = {len(leaf) if isinstance(leaf, (np.ndarray, tf.Tensor)) else 0 for leaf in leaves}
    return len(lengths) == 1 and min(lengths) > 0


def _as_keras_has_it(array):
    """An array of the host, floats in single precision."""
    array = np.asarray(array)
    is_floating = tf.as_dtype(array.dtype).is_floating
    return array.astype("float32", copy=False) if is_floating else array
