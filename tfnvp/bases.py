"""Base distributions of flows: by name, given, or learned with the flow."""

import math
from collections.abc import Callable, Sequence

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


class WithAngles(tfd.Distribution):
    """Independent latents, of which some are angles: these are uniform on [-pi, pi).

    Angles are taken modulo 2 pi: the log-density of any number is `-log(2 pi)`.

    Args:
      others: `tfd.Distribution` of numbers, over the same events: that of the other latents.
      is_angle: array of bools of the shape of one event.
    """

    def __init__(self, others: tfd.Distribution, is_angle: npt.ArrayLike):
        parameters = dict(locals())
        self.others, self.is_angle = others, np.asarray(is_angle)
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=f"{others.name}_with_angles",
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {}

    def _event_shape_tensor(self):
        return tf.constant(self.is_angle.shape, tf.int32)

    def _event_shape(self):
        return tf.TensorShape(self.is_angle.shape)

    def _batch_shape_tensor(self):
        return tf.zeros([0], tf.int32)

    def _batch_shape(self):
        return tf.TensorShape([])

    def _log_prob(self, z):
        # NaN stays NaN.
        nats = tf.where(self.is_angle, 0.0 * z - math.log(2.0 * math.pi), self.others.log_prob(z))
        return tf.reduce_sum(nats, list(range(-self.is_angle.ndim, 0)))

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=2)
        angles = tfd.Uniform(-math.pi, math.pi).sample((n, *self.is_angle.shape), seed=seeds[0])
        return tf.where(self.is_angle, angles, self.others.sample(n, seed=seeds[1]))

    def _mean(self):
        return tf.where(self.is_angle, 0.0, self.others.mean())

    def _variance(self):
        return tf.where(self.is_angle, math.pi**2 / 3.0, self.others.variance())


def make_base(
    base: str | tfd.Distribution,
    event_shape: tuple[int, ...],
    is_angle: npt.ArrayLike | None = None,
) -> tfd.Distribution:
    """Returns the base as a distribution over `event_shape`.

    Args:
      base: "normal" or "logistic" (independent, location 0 and scale 1), or a
        `tfd.Distribution` over events of `event_shape`.
      event_shape: tuple of ints.
      is_angle: bools of `event_shape`, true for latents that are angles; or None.

    Raises:
      TypeError: if `base` is neither a name nor a distribution.
      ValueError: if the name is unknown, or the distribution has another event shape or dtype; if
        `is_angle` has another shape, or is given with a distribution.
    """
    if is_angle is not None and (np.shape(is_angle) != event_shape or not isinstance(base, str)):
        raise ValueError(
            f"`angles` must have the shape of the latents, {event_shape}, and need the base "
            f'"normal" or "logistic". Received: angles of shape {np.shape(is_angle)}, base={base!r}'
        )
    if isinstance(base, str):
        if base not in BASES:
            raise ValueError(
                f"`base` must be one of {sorted(BASES)} or a tfd.Distribution. Received: {base!r}"
            )
        # Not `tfd.Sample`, whose log_prob ONNX Runtime rejects.
        standard = BASES[base](loc=tf.zeros(event_shape), scale=tf.ones(event_shape))
        if is_angle is not None:
            return WithAngles(standard, is_angle)
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
    if isinstance(distribution, WithAngles):
        # Of another seed: numbers of one would depend on each other.
        seed = tf.random.experimental.stateless_fold_in(seed, 1, alg="philox")
        angles = tf.random.stateless_uniform(shape, seed, -math.pi, math.pi, alg="philox")
        noise = tf.where(distribution.is_angle, angles, noise)
    return heated(distribution, noise, temperature)


def heated(
    distribution: tfd.Distribution, z: tf.Tensor, temperature: float | tf.Tensor
) -> tf.Tensor:
    """Returns latents times a temperature, but angles as they are."""
    if isinstance(distribution, WithAngles):
        return tf.where(distribution.is_angle, z, temperature * z)
    return temperature * z


def combined(
    distribution: tfd.Distribution, z: tf.Tensor, combine: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Returns a linear combination of latents, and for angles the direction of that of vectors."""
    if not isinstance(distribution, WithAngles):
        return combine(z)
    angles = tf.atan2(combine(tf.sin(z)), combine(tf.cos(z)))
    return tf.where(distribution.is_angle, angles, combine(z))
