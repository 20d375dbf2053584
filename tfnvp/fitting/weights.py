"""Weights of rows, which are relative: the loss is `sum(w * nll) / sum(w)` over the data set."""

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp.fitting.batches import Data
from tfnvp.inputs.conversion import MappedBatches
from tfnvp.inputs.rules import check_some_weight


def relative(data: Data, steps: int | None = None) -> Data:
    """Returns data whose weights have the mean 1, so that the mean of `w * nll` is the loss.

    The mean is that of the data set, not of each batch: a batch of unimportant rows must not count
    as much as one of important rows. So a `tf.data.Dataset` or a `PyDataset` with weights is read
    once beforehand. A generator can be read only once, and its first batch gives the mean.

    Args:
      data: data of any kind that Keras takes.
      steps: int, batches of a pass over endless data.

    Raises:
      ValueError: if all weights are 0.
    """
    x = data.x
    if data.sample_weight is not None:
        weights = np.asarray(data.sample_weight, "float64")
        return data._replace(sample_weight=_divided([weights], _mean([weights]))[0])
    if isinstance(x, tf.data.Dataset):
        if not isinstance(x.element_spec, tuple) or len(x.element_spec) < 3:
            return data
        batches = (x.take(steps) if steps else x).map(lambda *parts: parts[2])
        mean = _mean(batches.as_numpy_iterator())
        return data._replace(x=x.map(lambda *parts: _divided(parts, mean)))
    if isinstance(x, keras.utils.PyDataset):
        count = steps or x.num_batches
        if not count or not _has_weights(x[0]):
            return data
        mean = _mean(x[i][2] for i in range(count))
        return data._replace(x=MappedBatches(x, lambda batch: _divided(batch, mean)))
    if isinstance(x, Iterator):
        return data._replace(x=_relative_generator(x))
    return data


def _has_weights(batch):
    """Whether a batch is `(x, condition, weights)`, with weights."""
    return isinstance(batch, (tuple, list)) and len(batch) > 2 and batch[2] is not None


def _mean(batches):
    """Returns the mean of all usable weights; the loss reports the others."""
    total, rows = 0.0, 0
    for weights in batches:
        weights = np.asarray(weights, "float64")
        usable = weights[(weights >= 0) & (weights < np.inf)]
        total, rows = total + usable.sum(), rows + usable.size
    check_some_weight(total > 0 or not rows, rows)
    return total / rows if rows else 1.0


def _divided(parts: Any, mean: float) -> Any:
    """Returns a batch with its third part divided by the mean weight, in float64."""
    *others, weights = parts
    if tf.is_tensor(weights):
        return (*others, tf.cast(tf.cast(weights, tf.float64) / mean, tf.float32))
    return (*others, np.asarray(np.asarray(weights, "float64") / mean, "float32"))


def _relative_generator(batches):
    first = next(batches, None)
    if first is None:
        return
    if not _has_weights(first):
        yield first
        yield from batches
        return
    mean = _mean([first[2]])
    for batch in itertools.chain([first], batches):
        yield _divided(batch, mean)
