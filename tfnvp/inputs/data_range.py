"""Whether data lies where a flow can have it: grey levels from 0 on, floats inside of its logit."""

import warnings

import numpy as np

from tfnvp import _internals
from tfnvp.bijectors import Logit
from tfnvp.bijectors.compose import members
from tfnvp.quantization import check_levels

# Rows that are looked at for grey levels: noise shows in the first.
_LOOKED_AT = 64
_LEVELS = 256


def check(flow, x, name):
    """Raises `ValueError` for grey levels that are none, and for floats beyond a logit.

    One training step on either ends in NaN or, worse, in likelihoods of something else.

    Args:
      flow: a `tfnvp.Flow`.
      x: array of data.
      name: what the message calls it.
    """
    if np.asarray(x).dtype.kind in "iub":
        check_levels(np.asarray(x), flow.levels, name)
    elif wrong := _beyond_logit(flow, x):
        levels = "; or grey levels, as whole numbers" if flow.accepts_integers else ""
        raise ValueError(
            f"`{name}` must hold floats in [0, 1], since the flow has a logit{levels}. "
            f"Received: {wrong}"
        )


def warn(flow, x, name="x"):
    """Warns of floats whose answers mean nothing: beyond a logit, and grey levels without noise.

    The levels are looked for where the flow says how many there are.

    Args:
      flow: a `tfnvp.Flow`.
      x: float array of data, or tensor with a value.
      name: what the warning calls it.
    """
    if wrong := _beyond_logit(flow, x):
        levels = ", or as whole numbers" if flow.accepts_integers else ""
        warnings.warn(
            f"`{name}` holds {wrong}: the flow has a logit, and rows outside of [0, 1] get NaN. "
            f"Grey levels go in by `tfnvp.data.dequantize`{levels}",
            stacklevel=4,
        )
    elif flow.levels is not None:
        warn_of_levels(np.asarray(x), flow.levels, name)


def warn_of_levels(x, levels=None, name="x"):
    """Warns of floats that are grey levels, which lack the noise that gives them a density.

    Args:
      x: float array of data.
      levels: int, the flow's number of grey levels, or None; then whole numbers are left to others.
      name: what the warning calls it.
    """
    x = x[:_LOOKED_AT]
    for steps in ((levels or _LEVELS) - 1, levels or _LEVELS):
        if not _are_multiples(x, steps) or (levels is None and _are_multiples(x, 1)):
            continue
        if x.size and np.ptp(x):  # One value may be anything.
            warnings.warn(
                f"`{name}` holds {_called(steps, x)} alone: grey levels have no density, and "
                f"their likelihood can grow without bound. `tfnvp.data.dequantize(pixels, "
                f"{levels or _LEVELS})` makes real numbers of the whole ones",
                stacklevel=4,
            )
            return


def warn_of_few_levels(x, levels):
    """Warns of grey levels that are 0 and 1 alone, where the flow counts more of them.

    Args:
      x: array of whole grey levels.
      levels: int, the flow's number of grey levels.
    """
    if levels is not None and levels > 2 and x.size and x.max() == 1:
        warnings.warn(
            f"`x` holds 0 and 1 alone, which are nearly black among {levels} grey levels: give the "
            "flow levels=2 for images of two values",
            stacklevel=4,
        )


def _called(steps, x):
    if steps > 1:
        return f"multiples of 1/{steps}"
    return "0 and 1" if x.min() >= 0 and x.max() <= 1 else "whole numbers"


def _are_multiples(x, steps):
    # One row tells nearly always, and this is asked in every call.
    for rows in (x[:1], x):
        whole = rows * steps
        if not (np.abs(whole - np.rint(whole)) <= 1e-3).all():
            return False
    return True


def limits(flow):
    """Returns the smallest and largest data that the flow's logit takes, or None without one."""
    first = next(iter(members(flow.bijector)), None)
    if not (_internals.is_invert(first) and isinstance(first.bijector, Logit)):
        return None
    alpha = first.bijector.alpha
    margin = alpha / (1 - 2 * alpha)
    return -margin, 1 + margin


def _beyond_logit(flow, x):
    """Says what values there are, if some are finite and beyond the logit that data meets first."""
    if (allowed := limits(flow)) is None:
        return None
    x = np.asarray(x)
    low, high = x.min(initial=np.inf), x.max(initial=-np.inf)
    if not (np.isfinite(low) and np.isfinite(high)):  # Slower, and only then.
        finite = x[np.isfinite(x)]
        low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    if low >= allowed[0] and high <= allowed[1]:
        return None
    return f"values from {low:.4g} to {high:.4g}"
