"""Small bijectors with noisy weights, and one dictionary of them for generic tests."""

import math

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conftest import perturb
from tfnvp.bijectors import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Angles,
    BatchNormalization,
    Bounds,
    Chain,
    DiagonalScaling,
    LearnedDequantization,
    Logit,
    LULinear,
    MultiScale,
    SplineCoupling,
    Squeeze,
    Standardization,
    Whitening,
)
from tfnvp.conditioners import MLP, GatedConvNet
from tfnvp.partitions import Channels, Checkerboard, EvenOdd, Mask, Split

tfb = tfp.bijectors
KINDS = {"additive": AdditiveCoupling, "affine": AffineCoupling, "spline": SplineCoupling}


def outputs_of(kind, partition, event_shape, **kwargs):
    """Shape of what the network of a coupling gives."""
    *rest, moved = partition.parameters_shape(event_shape)
    count = kind(keras.layers.Identity(), partition, **kwargs).parameters_per_variable
    return (*rest, moved * count)


def coupling(
    kind="affine", size=4, partition=None, dtype="float32", units=(8,), network=MLP, **kwargs
):
    kind = KINDS[kind]
    event_shape = (size,) if isinstance(size, int) else size
    partition = EvenOdd() if partition is None else partition
    conditioner = network(outputs_of(kind, partition, event_shape, **kwargs), units, dtype=dtype)
    # Wide events sum many products: less noise keeps the parameters of order 1.
    stddev = 0.3 if math.prod(event_shape) < 100 else 0.1
    return perturb(kind(conditioner, partition, event_shape, **kwargs), stddev)


def spline(tails="circular", size=4, partition=None, bins=3, stddev=0.3):
    event_shape = (size,) if isinstance(size, int) else size
    partition = EvenOdd() if partition is None else partition
    *rest, moved = partition.parameters_shape(event_shape)
    network = MLP((*rest, moved * (3 * bins + (-1 if tails == "linear" else 1))), (8,))
    return perturb(SplineCoupling(network, partition, event_shape, bins, tails=tails), stddev)


def scaling(size=4):
    return perturb(DiagonalScaling(size))


def act_norm(event_shape=4):
    return perturb(ActNorm(event_shape, data_init=False))


def points(*shape, seed=1, dtype=tf.float32):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), dtype)


def adapted(bijector):
    """Initialises a bijector from data, and moves its weights away from there."""
    bijector.adapt(2.0 * points(50, *bijector.event_shape) + 1.0)
    return perturb(bijector)


def mixed(size=4, **kwargs):
    """Members of a chain: affine and additive couplings, a normalisation and a scaling."""
    return [
        coupling("affine", size, **kwargs),
        act_norm(size),
        coupling("additive", size, EvenOdd(swapped=True), **kwargs),
        scaling(size),
    ]


def multi_scale():
    """Three scales of a 4 x 4 image with 2 channels: a `MultiScale` in another."""
    innermost = Chain([coupling(size=(1, 1, 8), partition=Channels()), act_norm((1, 1, 8))])
    middle = [coupling("additive", (2, 2, 4), Channels()), MultiScale(innermost)]
    return MultiScale(Chain(middle, name="middle"))


def learned_dequantization():
    """Noise of four grey levels, moved by a coupling and a map of the channels."""
    seen = (1, 2, 4)
    network = GatedConvNet(4, filters=2, blocks=1)
    members = [
        AffineCoupling(network, Channels(), seen, condition_shape=seen),
        LULinear(seen, per_pixel=True),
    ]
    return perturb(LearnedDequantization(Chain(members), (2, 4, 1), levels=4))


_IMAGE_MASK = np.arange(6).reshape(2, 3) % 2 == 0

#: Constructors by name, with the shape of one event.
BIJECTORS = {
    "additive": (lambda: coupling("additive", 5, Split(2)), (5,)),
    "affine tanh": (lambda: coupling(scale="tanh"), (4,)),
    "affine sigmoid": (lambda: coupling(scale="sigmoid", partition=Split(-1)), (4,)),
    "affine softclamp": (lambda: coupling(scale="softclamp"), (4,)),
    "affine exp": (lambda: coupling(scale="exp", partition=Split(2, swapped=True)), (4,)),
    "affine of rows": (lambda: coupling(size=(2, 3), partition=Mask(_IMAGE_MASK)), (2, 3)),
    "affine checkerboard": (lambda: coupling(size=(2, 3, 1), partition=Checkerboard()), (2, 3, 1)),
    "affine channels": (lambda: coupling(size=(2, 2, 2), partition=Channels()), (2, 2, 2)),
    "spline": (lambda: coupling("spline", partition=Split(-1), bins=2), (4,)),
    # Some of the points are beyond this bound.
    "spline of rows": (
        lambda: coupling("spline", (2, 3), Mask(_IMAGE_MASK), bins=3, bound=0.7),
        (2, 3),
    ),
    "spline checkerboard": (
        lambda: coupling("spline", (2, 3, 1), Checkerboard(), bins=2),
        (2, 3, 1),
    ),
    "spline channels": (lambda: coupling("spline", (2, 2, 2), Channels(), bins=2), (2, 2, 2)),
    "spline of angles and numbers": (
        lambda: coupling("spline", 3, bins=2, tails=["circular", "affine", "linear"]),
        (3,),
    ),
    "diagonal scaling": (scaling, (4,)),
    "act norm": (act_norm, (4,)),
    "act norm of rows": (lambda: act_norm((3, 2)), (3, 2)),
    "act norm from data": (lambda: ActNorm(4), (4,)),
    "batch normalization": (lambda: adapted(BatchNormalization((2, 3))), (2, 3)),
    "whitening": (lambda: adapted(Whitening((3, 2))), (3, 2)),
    "standardization": (lambda: adapted(Standardization((3, 2))), (3, 2)),
    "lu linear": (lambda: perturb(LULinear(4, (2, 0, 3, 1))), (4,)),
    "lu linear of channels": (
        lambda: perturb(LULinear((2, 1, 3), (2, 0, 1), per_pixel=True)),
        (2, 1, 3),
    ),
    "learned dequantization": (learned_dequantization, (2, 4, 1)),
    "logit": (Logit, (4,)),
    "bounds": (lambda: Bounds([0.0, None, -1.5, None], [None, 2.0, 0.1, None]), (4,)),
    "angles": (lambda: Angles([-2.0, None, 0.0], [5.0, None, 1.0]), (3,)),
    "squeeze": (Squeeze, (4, 4, 1)),
    "multi-scale": (multi_scale, (4, 4, 2)),
    "chain": (lambda: Chain(mixed()), (4,)),
    "chain with TFP's": (
        lambda: Chain([tfb.Chain([tfb.Softplus(), coupling()]), Logit(), tfb.Scale(0.5)]),
        (4,),
    ),
    "TFP's chain": (lambda: tfb.Chain([tfb.Invert(Logit(0.01)), coupling(), scaling()]), (4,)),
    "TFP's inversion": (lambda: tfb.Invert(Chain([coupling(), tfb.Permute([2, 0, 3, 1])])), (4,)),
}
#: Those of our own classes, which remember what they computed.
OURS = [name for name in BIJECTORS if not name.startswith("TFP")]


def at(name, batch=3, seed=1, dtype=tf.float32):
    """Points in (0, 1), which is in the domain of every bijector of the dictionary."""
    return tf.sigmoid(points(batch, *BIJECTORS[name][1], seed=seed, dtype=dtype))
