"""Walks data through a bijector, whose members with `adapt` start from what they see."""

import tensorflow as tf

from tfnvp.bijectors.bijector import check_shape
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
    members = getattr(bijector, "bijectors", None)
    if members is not None:
        return any(adapts(member) for member in members)
    # A composition with an `adapt` of its own says whether it has anything to do.
    return getattr(bijector, "adapts", hasattr(bijector, "adapt"))


def adapt(bijector, y, condition=None):
    """Adapts the members one after the other, each to what its inverse will see.

    Args:
      bijector: any `tfb.Bijector`; members of chains with a method `adapt(y)` are adapted.
      y: `[batch, ...]`, data.
      condition: `[batch, ...]`, for the members that take one.

    Returns:
      `bijector.inverse(y)` after adaptation.
    """
    members = getattr(bijector, "bijectors", None)
    if members is not None:
        for member in members:
            y = adapt(member, y, condition)
        return y
    kwargs = condition_kwargs(bijector, condition)
    if adapts(bijector):
        bijector.adapt(y, **kwargs)
    return bijector.inverse(y, **kwargs)
