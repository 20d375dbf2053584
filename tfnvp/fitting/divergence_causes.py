"""Finds what made a loss NaN or infinite: the data, or a bijector whose output is not finite."""

import contextlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.compose import walk
from tfnvp.fitting.batches import Data

#: How a data set is freed of rows that cannot be trained on.
REMEDY = (
    "`dataset.apply(tfnvp.data.FiniteRows(flow))` leaves out rows that are not finite, outside of "
    "the flow's support, too large for float32, or with unknown labels"
)


def find_bad_data(flow: Any, data: Any, batches: int) -> str | None:
    """Looks for the first batch that holds values the flow cannot use.

    Args:
      flow: a `tfnvp.Flow`.
      data: `tf.data.Dataset` of batches, or None; only the beginning of an endless one is read.
      batches: int, how many batches of an endless data set to read.

    Returns:
      A sentence that names the batch and the fault, or None if there is none.
    """
    if data is None:
        return None
    if int(data.cardinality()) == tf.data.INFINITE_CARDINALITY:
        data = data.take(batches)
    for i, batch in enumerate(data):
        if fault := flow.data_spec.find_fault(*_unpack(flow, batch)):
            return f"In batch {i + 1} of the epoch, {fault}. {REMEDY}"
    return None


def find_explosion(flow: Any, data: Any, batches: int) -> str | None:
    """Repeats the steps of an epoch until a likelihood is not finite.

    The flow must have the weights, and the optimizer the state, that the epoch began with; both
    are changed by the steps.

    Args:
      flow: a `tfnvp.Flow`, during its `fit`.
      data: `tf.data.Dataset` of batches, or None.
      batches: int, how many steps to repeat at most.

    Returns:
      A sentence that names the bijector, or None if all likelihoods were finite this time.
    """
    if data is None or flow.distribute_strategy.num_replicas_in_sync > 1:
        return None
    steps = iter(data)
    with _single_steps(flow):
        for batch in data.take(batches):
            x, condition, _ = _unpack(flow, batch)
            if not np.isfinite(flow.log_prob(x, condition)).all():
                return name_explosion(flow, x, condition)
            flow.train_function(steps)
    return None


@contextlib.contextmanager
def _single_steps(flow):
    """Lets `train_function` run one batch at a time."""
    before = flow.steps_per_execution, flow.train_function
    if flow.steps_per_execution > 1:
        flow.steps_per_execution = 1
        flow.make_train_function(force=True)
    try:
        yield
    finally:
        flow.steps_per_execution, flow.train_function = before


def name_explosion(flow: Any, x: tf.Tensor, condition: Any = None) -> str:
    """Names the first bijector whose output is not finite, or the largest log-scale.

    Args:
      flow: a `tfnvp.Flow`.
      x: `[batch, *event_shape]`.
      condition: as for `flow.log_prob`.

    Returns:
      A sentence.

    >>> import tensorflow as tf, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(), scale="exp", standardize=False)
    >>> _ = flow.trainable_variables[-1].assign([0.0, -200.0])
    >>> print(name_explosion(flow, tf.ones([3, 2])))
    The log-scale of coupling_1 exploded: it reached 200
    """
    x, condition = flow.data_spec.prepare(x, condition, flow.embed_condition)
    largest = {}
    for step in walk(flow.bijector, x, len(flow.event_shape), condition):
        name = step.bijector.name
        if step.log_scale is not None:
            largest[name] = float(np.abs(step.log_scale).max())
        if not (np.isfinite(step.output).all() and np.isfinite(step.log_det).all()):
            return _sentence({name: largest.get(name, 0.0)}, name)
    return _sentence(largest, "the base distribution")


def _sentence(largest, otherwise):
    """Describes the largest log-scale in `largest` (by name); if all are small, `otherwise`."""
    # NaN, where a network overflowed, counts as the largest.
    name = max(largest, key=lambda n: np.nan_to_num(largest[n], nan=np.inf), default=None)
    if name is None or largest[name] < 10.0:
        return f"The first numbers that are not finite come from {otherwise}"
    return f"The log-scale of {name} exploded: it reached {largest[name]:.3g}"


def _unpack(flow, batch):
    data = Data.of(batch)
    x, condition = data.parts
    return x, condition if flow.condition_shape is not None else None, data.sample_weight
