"""A learned base: for each latent a mixture of logistics."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.arguments import check_int, unmasked
from tfnvp.precision import location_and_scale

tfb, tfd = tfp.bijectors, tfp.distributions

# Ratio of the standard deviations of a uniform of width 1 and a logistic of scale 1.
_SCALE_OF_UNIFORM = 1.0 / (2.0 * np.pi)

# Of a component, in standard deviations of its variable.
_SMALLEST_SCALE = 1e-5


def logistic_mixture(z: npt.ArrayLike, components: int = 10) -> tfd.Independent:
    """Returns a learned factorial base: a mixture of logistics for each variable.

    ::

        log p(z) = sum_d log sum_k softmax(logits_d)_k Logistic(z_d; loc_dk, scale_dk)

    It is initialised from quantiles of a sample of latents: they divide the range of a variable
    into cells of equal probability, and each cell gets a component at its middle, as wide as the
    cell. The variables are independent, as NICE requires of its base.

    Args:
      z: `[n, ...]`, latents, such as `flow.encode(x)` of a flow that is adapted to its data.
      components: int, number of components for each variable.

    Returns:
      `tfd.Independent` over events of shape `z.shape[1:]`, with three variables.

    Raises:
      ValueError: if `z` has no rows or a number that is not finite, or `components` is not an int
        from 1 to the number of rows.

    >>> import numpy as np, tfnvp
    >>> z = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    >>> base = tfnvp.bases.logistic_mixture(z, components=4)
    >>> flow = tfnvp.NICE(2, couplings=4, hidden_units=(8,), base=base)
    >>> flow.log_prob(z).shape.as_list()
    [1000]

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 3.4, where the prior may be learned.
    """
    z = np.asarray(unmasked(z))
    if z.ndim < 2 or not len(z) or not np.isfinite(z).all():
        raise ValueError(f"`z` must be [n, ...], of finite numbers. Received: shape {z.shape}")
    check_int("components", components, most=len(z))
    edges = np.quantile(z, np.linspace(0.0, 1.0, components + 1), axis=0)
    centres = np.moveaxis((edges[1:] + edges[:-1]) / 2, 0, -1).astype("float32")
    widths = np.moveaxis(edges[1:] - edges[:-1], 0, -1)
    least = _SMALLEST_SCALE * location_and_scale(z)[1][..., None]
    scales = np.maximum(_SCALE_OF_UNIFORM * widths, least).astype("float32")
    logits = tf.Variable(tf.zeros(centres.shape), name="logits")
    loc = tf.Variable(centres, name="loc")
    scale = tfp.util.TransformedVariable(scales, tfb.Exp(), name="scale")
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits=logits), tfd.Logistic(loc, scale))
    return tfd.Independent(mixture, z.ndim - 1, name="logistic_mixture")
