"""Checks of conditions: are they there, and can the networks make something of them?"""

import warnings

import numpy as np
import tensorflow as tf

# Means and standard deviations of a network's inputs above which it is told.
_FAR = 10.0


def check_presence(flow, condition, where=""):
    """Raises `ValueError` where a flow lacks its condition, or has no use for one.

    Args:
      flow: a `tfnvp.Flow`.
      condition: array or tensor, or None.
      where: what the message adds on where a condition goes.
    """
    if (condition is None) != (flow.condition_shape is None):
        raise ValueError(
            f"`condition` is missing: the flow has condition_shape={flow.condition_shape}{where}"
            if condition is None
            else "`condition` is given, and the flow has no condition_shape. "
            f"Received: condition=an array of shape {np.shape(condition)}"
        )


def refuse_labels(condition, rows, condition_shape):
    """Raises `ValueError` for whole numbers, one for each row, that would pass for one condition.

    That is where there are as many rows as a condition has entries.
    """
    if tf.is_tensor(condition) or np.shape(condition) != condition_shape or rows == 1:
        return
    labels = np.asarray(condition)
    if labels.shape == (rows,) and labels.dtype.kind in "iu" and labels.sum() != 1:
        raise ValueError(
            f"`condition` holds {rows} whole numbers, one for each row: labels go in as one-hot "
            "vectors, as `keras.utils.to_categorical` makes them, and one condition for all rows "
            f"as floats. Received: {labels}"
        )


def check_finite(condition):
    """Raises `ValueError` for NaN, which a network may hide: ReLU can make zeros of it."""
    bad = np.argwhere(~np.isfinite(condition))
    if len(bad):
        raise ValueError(
            f"`condition` must be finite. Received: {len(bad)} values that are not, the first is "
            f"condition[{', '.join(map(str, bad[0]))}]"
        )


def warn_of_labels(condition):
    """Warns of whole numbers of more than two kinds, whose order means nothing if they are labels.

    Args:
      condition: array.
    """
    if condition.dtype.kind in "iu" and condition.max(initial=0) > 1:
        _warn(
            "`condition` holds whole numbers. If they are labels, they go in as one-hot vectors, "
            "as `keras.utils.to_categorical` makes them; if they mean an amount, as floats, by "
            "`condition.astype('float32')`"
        )


def warn_of_scale(flow, condition):
    """Warns of conditions that the networks know nothing of, or learn slowly or not from.

    Those are, of a flow that standardises conditions, such that are farther from the ones it was
    started with than these are from each other; and of others, numbers far from 1. Of few rows,
    means and deviations may be larger by chance.

    Args:
      flow: a `tfnvp.Flow` with a condition.
      condition: array, or tensor with a value, `[n, *condition_shape]`.
    """
    rows = len(condition)
    if not rows:
        return
    values = np.asarray(condition)
    if (seen := flow.condition_scale.seen()) is not None:
        _warn_of_distance(values.reshape(-1, len(seen[0])), *seen)
        return
    values = values.reshape(rows, -1).astype("float64")
    with np.errstate(invalid="ignore"):
        center, spread = values.mean(axis=0), values.std(axis=0)
    limit = _FAR * (1 + 3 / rows**0.5)
    far = np.flatnonzero(np.maximum(np.abs(center), spread) > limit)
    if not len(far):
        return
    how = (
        "The flow standardises conditions once `fit` or `flow.adapt(x, condition)` has seen some"
        if flow.condition_scale
        else "Make the flow with `standardize_condition=True`, or its couplings with "
        "`tfnvp.conditioners.StandardizedCondition` around their networks"
    )
    _warn(
        f"`condition` holds values far from 1, of which networks make little: variable {far[0]} "
        f"has the mean {center[far[0]]:.4g}, standard deviation {spread[far[0]]:.4g}. {how}"
    )


def _warn_of_distance(values, low, high):
    width = high - low
    far = (values < low - width) | (values > high + width)
    if not far.any():
        return
    row, i = np.argwhere(far)[0]
    _warn(
        f"`condition` is far from those that the flow was started with: variable {i} is "
        f"{values[row, i]:.8g} (one of {far[:, i].sum()} such), and was from {low[i]:.8g} to "
        f"{high[i]:.8g}. Conditions go in as in training; the flow standardises them itself"
    )


def _warn(message):
    warnings.warn(message, stacklevel=4)
