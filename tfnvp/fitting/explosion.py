"""Finds what made a loss NaN or infinite: the data, or the bijector that gave way first."""

import contextlib

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.compose import members
from tfnvp.bijectors.coupling import Coupling
from tfnvp.bijectors.log_det import inverse_and_log_det
from tfnvp.fitting.batches import Data


def find_bad_data(flow, data, batches):
    """Looks for the first batch that holds values the flow cannot use.

    Args:
      flow: a `tfnvp.Flow`.
      data: finite `tf.data.Dataset` of batches, or None; of an endless one the beginning is read.
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
            return f"In batch {i + 1} of the epoch, {fault}"
    return None


def find_explosion(flow, data, batches):
    """Repeats the steps of an epoch until the likelihood is not finite any more.

    The flow must have the weights, and the optimizer the state, that the epoch began with; both
    are changed by the steps.

    Args:
      flow: a `tfnvp.Flow`, inside of its `fit`.
      data: `tf.data.Dataset` of batches, or None.
      batches: int, how many steps to repeat at most.

    Returns:
      A sentence that names the bijector that gave way first, or None if none did this time.
    """
    if data is None or flow.distribute_strategy.num_replicas_in_sync > 1:
        return None
    steps = iter(data)
    with _single_steps(flow):
        for batch in data.take(batches):
            x, condition = _unpack(flow, batch)
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


def name_explosion(flow, x, condition=None):
    """Tells which bijector first gives numbers that are not finite, or else the largest log-scale.

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
    x, condition = flow.data_spec.prepare(x, condition)
    event_ndims = len(flow.event_shape)
    with _watched_couplings(flow) as scales:
        for member in members(flow.bijector):
            before = len(scales)
            x, log_det = inverse_and_log_det(member, x, event_ndims, condition)
            event_ndims = member.inverse_event_ndims(event_ndims)
            if not (np.isfinite(x).all() and np.isfinite(log_det).all()):
                return _sentence(scales[before:], member.name)
    return _sentence(scales, "the base distribution")


def _sentence(scales, otherwise):
    # NaN, where a network overflowed, comes before any number.
    worst = max(scales, key=lambda s: np.inf if np.isnan(s[1]) else s[1], default=None)
    if worst is None or worst[1] < 10.0:
        return f"The first numbers that are not finite come from {otherwise}"
    return f"The log-scale of {worst[0]} exploded: it reached {worst[1]:.3g}"


@contextlib.contextmanager
def _watched_couplings(flow):
    """Collects `(name, largest |log-scale|)` of every coupling that is evaluated meanwhile."""
    seen = []
    couplings = [m for m in flow.distribution.submodules if isinstance(m, Coupling)]

    def watch(coupling, transform):
        def watched(*args):
            moved, log_scale = transform(*args)
            if log_scale is not None:
                seen.append((coupling.name, float(np.abs(log_scale).max())))
            return moved, log_scale

        return watched

    for coupling in couplings:
        coupling._forward_moved = watch(coupling, coupling._forward_moved)
        coupling._inverse_moved = watch(coupling, coupling._inverse_moved)
    try:
        yield seen
    finally:
        for coupling in couplings:
            del coupling._forward_moved, coupling._inverse_moved


def _unpack(flow, batch):
    data = Data(*batch) if isinstance(batch, (tuple, list)) else Data(batch)
    x, condition = data.parts
    return x, condition if flow.condition_shape is not None else None
