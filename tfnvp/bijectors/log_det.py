"""A value together with its log-det, for any bijector: ours, TFP's, and compositions of both.

TFP gives the two by two calls, each of which walks the whole chain. These functions walk it once
and hand one `condition` to every member that takes one.
"""

from tensorflow_probability.python.bijectors.chain import _Chain
from tensorflow_probability.python.bijectors.invert import _Invert

from tfnvp.bijectors.bijector import Bijector


def forward_and_log_det(bijector, x, event_ndims, condition=None):
    """Returns `bijector.forward(x)` and its log-det, summed over the last `event_ndims` axes."""
    if isinstance(bijector, _Invert):
        return inverse_and_log_det(bijector.bijector, x, event_ndims, condition)
    if isinstance(bijector, _Chain):
        return _walk(
            forward_and_log_det,
            [(b, b.forward_event_ndims) for b in reversed(bijector.bijectors)],
            x,
            event_ndims,
            condition,
        )
    kwargs = condition_kwargs(bijector, condition)
    if isinstance(bijector, Bijector):
        return bijector.forward_and_log_det(x, event_ndims, **kwargs)
    y = bijector.forward(x, **kwargs)
    return y, bijector.forward_log_det_jacobian(x, event_ndims, **kwargs)


def inverse_and_log_det(bijector, y, event_ndims, condition=None):
    """Returns `bijector.inverse(y)` and its log-det, summed over the last `event_ndims` axes."""
    if isinstance(bijector, _Invert):
        return forward_and_log_det(bijector.bijector, y, event_ndims, condition)
    if isinstance(bijector, _Chain):
        return _walk(
            inverse_and_log_det,
            [(b, b.inverse_event_ndims) for b in bijector.bijectors],
            y,
            event_ndims,
            condition,
        )
    kwargs = condition_kwargs(bijector, condition)
    if isinstance(bijector, Bijector):
        return bijector.inverse_and_log_det(y, event_ndims, **kwargs)
    x = bijector.inverse(y, **kwargs)
    return x, bijector.inverse_log_det_jacobian(y, event_ndims, **kwargs)


def _walk(step, members, x, event_ndims, condition):
    total = 0.0
    for bijector, next_event_ndims in members:
        x, log_det = step(bijector, x, event_ndims, condition)
        event_ndims = next_event_ndims(event_ndims)
        total += log_det
    return x, total


def takes_condition(bijector):
    """Tells whether a bijector, or any member of a composition, takes `condition=...`."""
    if isinstance(bijector, _Invert):
        return takes_condition(bijector.bijector)
    if isinstance(bijector, _Chain):
        return any(takes_condition(b) for b in bijector.bijectors)
    return bool(getattr(bijector, "takes_condition", False))


def condition_kwargs(bijector, condition):
    """Returns the keyword arguments by which `condition` reaches a bijector's methods."""
    if condition is None or not takes_condition(bijector):
        return {}
    if isinstance(bijector, _Invert):
        return condition_kwargs(bijector.bijector, condition)
    if isinstance(bijector, _Chain) and not hasattr(bijector, "takes_condition"):
        # A plain `tfb.Chain` finds each member's arguments under the member's name.
        return {b.name: condition_kwargs(b, condition) for b in bijector.bijectors}
    return {"condition": condition}
