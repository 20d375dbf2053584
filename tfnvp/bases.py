"""Base distributions of flows: by name, given, or learned with the flow."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.arguments import unmasked
from tfnvp.precision import location_and_scale

__all__ = ["logistic_mixture"]

tfb, tfd = tfp.bijectors, tfp.distributions

BASES = {"normal": tfd.Normal, "logistic": tfd.Logistic}

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
      ValueError: if `components` is below 1 or above the number of rows.

    >>> import numpy as np, tfnvp
    >>> z = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    >>> base = tfnvp.bases.logistic_mixture(z, components=4)
    >>> flow = tfnvp.NICE(2, couplings=4, hidden_units=(8,), base=base)
    >>> flow.log_prob(z).shape.as_list()
    [1000]

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 3.4, where the prior may be learned.
    """
    z = np.asarray(unmasked(z))
    if not 1 <= components <= len(z):
        raise ValueError(
            f"`components` must be from 1 to the number of rows, {len(z)}. Received: {components}"
        )
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


def make_base(base: str | tfd.Distribution, event_shape: tuple[int, ...]) -> tfd.Distribution:
    """Returns the base as a distribution over `event_shape`.

    Args:
      base: "normal" or "logistic" (independent, location 0 and scale 1), or a
        `tfd.Distribution` over events of `event_shape`.
      event_shape: tuple of ints.

    Raises:
      TypeError: if `base` is neither a name nor a distribution.
      ValueError: if the name is unknown, or the distribution has another event shape or dtype.
    """
    if isinstance(base, str):
        if base not in BASES:
            raise ValueError(
                f"`base` must be one of {sorted(BASES)} or a tfd.Distribution. Received: {base!r}"
            )
        # Not `tfd.Sample`, whose log_prob ONNX Runtime rejects.
        standard = BASES[base](loc=tf.zeros(event_shape), scale=tf.ones(event_shape))
        return tfd.Independent(standard, len(event_shape), name=f"standard_{base}")
    if not isinstance(base, tfd.Distribution):
        raise TypeError(f"`base` must be a name or a tfd.Distribution. Received: {base!r}")
    if tuple(base.event_shape) != tuple(event_shape) or tuple(base.batch_shape):
        raise ValueError(f"`base` must have event shape {event_shape}, no batch. Received: {base}")
    if base.dtype != tf.float32:
        raise ValueError(
            f"`base` must be of float32: only bijectors are of other types. Received: {base}"
        )
    return base


def sample_base(
    base: str | tfd.Distribution,
    distribution: tfd.Distribution,
    n: int | tf.Tensor,
    seed: Sequence[int] | tf.Tensor,
    temperature: float | tf.Tensor,
) -> tf.Tensor:
    """Draws `[n, *event_shape]` from the base, its standard deviation times `temperature`.

    The generator is always Philox: XLA's default would give other numbers than TensorFlow's for the
    same seed.
    """
    if not isinstance(base, str):
        return distribution.sample(n, seed=seed)
    shape = tf.concat([[n], distribution.event_shape], axis=0)
    if base == "normal":
        noise = tf.random.stateless_normal(shape, seed, alg="philox")
    else:
        uniform = tf.random.stateless_uniform(shape, seed, alg="philox")
        # The open interval: the logit of exactly 0 is infinite.
        uniform = tf.clip_by_value(uniform, 2.0**-25, 1.0 - 2.0**-24)
        noise = tf.math.log(uniform) - tf.math.log1p(-uniform)
    return temperature * noise
