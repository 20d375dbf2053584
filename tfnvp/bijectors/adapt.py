"""Walks data through a bijector, whose members with `adapt` start from what they see."""

import tensorflow as tf

from tfnvp.bijectors.bijector import check_shape
from tfnvp.bijectors.compose import members
from tfnvp.bijectors.log_det import condition_kwargs


def check_sample(bijector, y):
    """Returns data as a tensor that the bijector can start from.

    Raises:
      ValueError: unless it is `[batch..., *event_shape]` of finite numbers, and not empty.
    """
    y = tf.convert_to_tensor(y)
    check_shape(bijector, y, bijector.event_shape)
    if not tf.size(y):
        raise ValueError(f"{bijector.name} needs data to start from. Received shape: {y.shape}")
    if y.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(y)):
        raise ValueError(f"{bijector.name} must start from finite numbers. Received: NaN or inf")
    return y


def adapts(bijector):
    """Tells whether any member of a bijector starts from data."""
    # A composition with an `adapt` of its own says whether it has anything to do.
    return any(getattr(m, "adapts", hasattr(m, "adapt")) for m in members(bijector))


def started(bijector):
    """Tells whether all members that start from data have values already, from data or training."""
    return all(getattr(m, "started", False) for m in members(bijector) if adapts(m))


def adapt(bijector, y, condition=None, again=True):
    """Adapts the members one after the other, each to what its inverse will see.

    Args:
      bijector: any `tfb.Bijector`; members of chains with a method `adapt(y)` are adapted.
      y: `[batch, ...]`, data.
      condition: `[batch, ...]`, for the members that take one.
      again: bool, also adapt those that have values already, which their property `started` tells.
    """
    found = members(bijector)
    # Nothing is computed beyond the last one that adapts.
    last = max((i for i, member in enumerate(found) if adapts(member)), default=-1)
    for i, member in enumerate(found[: last + 1]):
        kwargs = condition_kwargs(member, condition)
        if adapts(member) and (again or not started(member)):
            member.adapt(y, **kwargs)
        if i < last:
            y = member.inverse(y, **kwargs)
