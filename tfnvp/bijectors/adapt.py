"""Walks data through a bijector, whose members with `adapt` start from what they see."""

from tfnvp.bijectors.log_det import condition_kwargs


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
