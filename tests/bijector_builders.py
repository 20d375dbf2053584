"""Small bijectors with noisy weights, shared by the tests of bijectors."""

import math

import numpy as np
import tensorflow as tf

from tests.conftest import perturb
from tfnvp.bijectors import ActNorm, AdditiveCoupling, AffineCoupling, DiagonalScaling
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd

KINDS = {"additive": AdditiveCoupling, "affine": AffineCoupling}


def coupling(kind="affine", size=4, partition=None, dtype="float32", units=(8,), **kwargs):
    kind = KINDS[kind]
    event_shape = (size,) if isinstance(size, int) else size
    partition = EvenOdd() if partition is None else partition
    *rest, moved = partition.parameters_shape(event_shape)
    outputs = (*rest, moved * kind.parameters_per_variable)
    conditioner = MLP(outputs, units, dtype=dtype)
    # Wide events sum many products: less noise keeps the parameters of order 1.
    stddev = 0.3 if math.prod(event_shape) < 100 else 0.1
    return perturb(kind(conditioner, partition, event_shape, **kwargs), stddev)


def scaling(size=4):
    return perturb(DiagonalScaling(size))


def act_norm(event_shape=4):
    return perturb(ActNorm(event_shape, data_init=False))


def points(*shape, seed=1, dtype=tf.float32):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)
