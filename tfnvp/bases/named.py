"""Bases by name or given, and their samples."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bases.with_angles import WithAngles

tfd = tfp.distributions

BASES = {"normal": tfd.Normal, "logistic": tfd.Logistic}


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
        angles = tf.random.stateless_uniform(shape, seed, -np.pi, np.pi, alg="philox")
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
