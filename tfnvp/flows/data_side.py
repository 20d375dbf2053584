"""The bijectors between data and the vector that couplings transform, from a flow's options."""

import math
from collections.abc import Sequence

import tensorflow_probability as tfp

from tfnvp.arguments import is_number
from tfnvp.bijectors import ActNorm, Angles, Bounds, Logit, Standardization, Whitening
from tfnvp.inputs.bounds import Circle, Pair, are_circles, as_arrays

tfb = tfp.bijectors


def data_side(
    event_shape: tuple,
    logit_alpha: float | None,
    standardize: bool | str,
    whiten: bool | float = False,
    bounds: Sequence[Pair | None] | None = None,
    circular: Sequence[Circle | None] | None = None,
) -> list:
    """Returns the bijectors between data and the vector that the couplings transform."""
    size = math.prod(event_shape)
    bijectors = []
    for kind, pairs in ((Bounds, bounds), (Angles, circular)):
        if pairs is not None:
            bijectors.append(kind(*(end.reshape(event_shape).tolist() for end in as_arrays(pairs))))
    if logit_alpha is not None:
        bijectors.append(tfb.Invert(Logit(logit_alpha)))
    if len(event_shape) > 1:
        bijectors.append(tfb.Reshape(event_shape_out=event_shape, event_shape_in=(size,)))
    if standardize in (True, "robust"):
        robust = standardize == "robust"
        angles = None if circular is None else are_circles(circular)
        bijectors.append(Standardization(size, robust, name="standardize", unchanged=angles))
    if whiten is not False:
        if isinstance(whiten, bool):
            bijectors.append(Whitening(size))
        elif is_number(whiten) and whiten > 0:
            bijectors.append(Whitening(size, epsilon=whiten))
        else:
            raise ValueError(
                "`whiten` must be True, False or the ridge of the whitening, a number above 0. "
                f"Received: {whiten!r}"
            )
    if standardize == "trained":
        bijectors.append(ActNorm(size, data_init=False, name="standardize"))
    return bijectors
