"""Independent latents, of which some are angles."""

import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bases.unbatched import Unbatched

tfd = tfp.distributions


class WithAngles(Unbatched):
    """Independent latents, of which some are angles: these are uniform on [-pi, pi).

    Angles are taken modulo 2 pi: the log-density of any number is `-log(2 pi)`.

    Args:
      others: `tfd.Distribution` of numbers, over the same events: that of the other latents.
      is_angle: array of bools of the shape of one event.
    """

    def __init__(self, others: tfd.Distribution, is_angle: npt.ArrayLike):
        parameters = dict(locals())
        self.others, self.is_angle = others, np.asarray(is_angle)
        name = f"{others.name}_with_angles"
        super().__init__(self.is_angle.shape, parameters, name, tfd.FULLY_REPARAMETERIZED)

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
