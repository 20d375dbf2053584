"""Small bijectors with noisy weights, shared by the tests of bijectors."""

import math

import numpy as np
import tensorflow as tf

from tfnvp.bijectors import ActNorm, AdditiveCoupling, AffineCoupling, DiagonalScaling
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd

KINDS = {"additive": AdditiveCoupling, "affine": AffineCoupling}


def perturbed(bijector, stddev=0.3, seed=0):
    """Adds noise to the weights: at its zero initialisation a coupling hides most errors."""
    rng = np.random.default_rng(seed)
    for v in bijector.trainable_variables:
        v.assign_add(tf.cast(rng.normal(0.0, stddev, v.shape), v.dtype))
    return bijector


def coupling(kind="affine", size=4, partition=None, dtype="float32", units=(8,), **kwargs):
    kind = KINDS[kind]
    event_shape = (size,) if isinstance(size, int) else size
    partition = EvenOdd() if partition is None else partition
    *rest, moved = partition.parameters_shape(event_shape)
    outputs = (*rest, moved * kind.parameters_per_variable)
    conditioner = MLP(outputs, units, dtype=dtype)
    # Wide events sum many products: less noise keeps the parameters of order 1.
    stddev = 0.3 if math.prod(event_shape) < 100 else 0.1
    return perturbed(kind(conditioner, partition, event_shape, **kwargs), stddev)


def scaling(size=4):
    return perturbed(DiagonalScaling(size))


def act_norm(event_shape=4):
    return perturbed(ActNorm(event_shape, data_init=False))


def points(*shape, seed=1, dtype=tf.float32):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)
