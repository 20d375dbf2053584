"""The base distributions of a flow, and seeded draws from them that are the same everywhere."""

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions

BASES = {"normal": tfd.Normal, "logistic": tfd.Logistic}


def make_base(base, event_shape):
    """Returns the base as a distribution over `event_shape`.

    Args:
      base: "normal" or "logistic" (independent, location 0 and scale 1), or a
        `tfd.Distribution` over events of `event_shape`.
      event_shape: tuple of ints.

    Raises:
      ValueError: if the name is unknown or the distribution has another event shape.
    """
    if isinstance(base, str):
        if base not in BASES:
            raise ValueError(
                f"`base` must be one of {sorted(BASES)} or a tfd.Distribution. Received: {base!r}"
            )
        # Not `tfd.Sample`, whose log_prob ONNX Runtime rejects.
        return tfd.Independent(
            BASES[base](loc=tf.zeros(event_shape), scale=tf.ones(event_shape)),
            reinterpreted_batch_ndims=len(event_shape),
            name=f"standard_{base}",
        )
    if not isinstance(base, tfd.Distribution):
        raise TypeError(f"`base` must be a name or a tfd.Distribution. Received: {base!r}")
    if tuple(base.event_shape) != tuple(event_shape) or tuple(base.batch_shape):
        raise ValueError(
            f"`base` must have batch shape () and the event shape of the latents, "
            f"{tuple(event_shape)}. Received: {base}"
        )
    if base.dtype != tf.float32:
        raise ValueError(
            "`base` must be of float32, as flows are; for other types take the bijectors and a "
            f"tfd.TransformedDistribution. Received: {base}"
        )
    return base


def sample_base(base, distribution, n, seed, temperature):
    """Draws `[n, *event_shape]` from the base, standard deviations times `temperature`.

    The generator is pinned to Philox: XLA's default would give other numbers than the plain
    graph for the same seed.
    """
    if not isinstance(base, str):
        return distribution.sample(n, seed=seed)
    shape = tf.concat([[n], distribution.event_shape], axis=0)
    if base == "normal":
        noise = tf.random.stateless_normal(shape, seed, alg="philox")
    else:
        # The open interval: a draw of exactly 0 would be an infinite latent.
        tiny = 2.0**-25
        uniform = tf.random.stateless_uniform(shape, seed, minval=0.0, maxval=1.0, alg="philox")
        uniform = tf.clip_by_value(uniform, tiny, 1.0 - 2.0**-24)
        noise = tf.math.log(uniform) - tf.math.log1p(-uniform)
    return temperature * noise
