"""Checks of the arguments of `Flow.sample`."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.inputs.conditions import ConditionSpec
from tfnvp.inputs.rules import check_count

_MAX_SEED = 2**31 - 1


def check_sampling(n: Any, temperature: Any, base: Any) -> None:
    """Raises `ValueError` for a number of samples or a temperature that is out of range."""
    if not isinstance(n, (int, np.integer)) or n < 0:
        raise ValueError(
            "`n` must be an int of 0 or more: draw all samples, and reshape; shapes are for "
            f"`flow.distribution.sample`. Received: {n!r}"
        )
    if isinstance(temperature, str) or np.ndim(temperature):
        raise ValueError(f"`temperature` must be a number of 0 or more. Received: {temperature!r}")
    checked_temperature(temperature)
    if temperature != 1.0 and not isinstance(base, str):
        raise ValueError(
            'a temperature needs the base "normal" or "logistic". '
            f"Received: temperature={temperature} and base={base}"
        )


def checked_temperature(temperature: Any) -> tf.Tensor:
    """Returns one temperature, or several, as float32.

    Raises:
      ValueError: if one is NaN, infinite or negative; where only the run of a graph knows it, that
        raises `InvalidArgumentError`.
    """
    temperature = tf.cast(temperature, tf.float32)
    rule = "`temperature` must be a number of 0 or more. Received:"
    known = tf.get_static_value(temperature)
    if known is None:
        allowed = tf.reduce_all((temperature >= 0.0) & (temperature < np.inf))
        with tf.control_dependencies([tf.debugging.Assert(allowed, [rule, temperature])]):
            return tf.identity(temperature)
    if not np.all((known >= 0.0) & (known < np.inf)):
        raise ValueError(f"{rule} {known}")
    return temperature


def check_conditions(condition: Any, n: int, conditions: ConditionSpec | None) -> None:
    """Raises `ValueError` unless there is one condition, or one for each sample."""
    if conditions is None or condition is None:
        return
    for part, array in conditions.parts(condition):
        if part.has_rows(np.ndim(array)):
            check_count(len(array), n, "the samples")


def seed_pair(seed: Any) -> tf.Tensor:
    """Returns a seed as a pair of ints, by default one from TensorFlow's global generator."""
    if seed is None:
        return tf.random.uniform([2], maxval=_MAX_SEED, dtype=tf.int32)
    seed = np.atleast_1d(np.asarray(seed))
    if seed.dtype.kind not in "iu" or seed.shape not in ((1,), (2,)):
        raise ValueError(f"`seed` must be an int or a pair of ints. Received: {seed!r}")
    return tf.constant([int(s) % _MAX_SEED for s in (*seed, 0)[:2]], tf.int32)
