"""Bijectors that start from data: whether they have, and that flows do not start them twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import (
    ActNorm,
    BatchNormalization,
    Chain,
    DiagonalScaling,
    MultiScale,
    Whitening,
)
from tfnvp.bijectors.compose import adapts
from tfnvp.bijectors.compose import is_initialized as started

X = np.random.default_rng(0).normal(2.0, 3.0, (100, 3)).astype("float32")
KINDS = {
    "act norm": lambda: ActNorm(3, data_init=False),
    "act norm of the first batch": lambda: ActNorm(3),
    "batch normalization": lambda: BatchNormalization(3),
    "diagonal scaling": lambda: DiagonalScaling(3),
    "whitening": lambda: Whitening(3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_started_is_known(kind):
    bijector = KINDS[kind]()
    assert adapts(bijector)
    assert not started(bijector)
    bijector.adapt(X)
    assert started(bijector)
    trained = KINDS[kind]()
    if trained.trainable_variables:
        assert started(perturb(trained))
    assert not started(Chain([bijector, KINDS[kind]()]))
    assert started(Chain([bijector, tfnvp.bijectors.LULinear(3)]))


def test_given_values_are_a_start():
    assert started(Whitening(3, mean=[1.0, 0.0, 0.0]))
    assert started(Whitening(3, matrix=2 * np.eye(3)))
    assert started(DiagonalScaling(3, initial_log_scale=0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_fit_starts_a_bijector_once(kind):
    bijector = KINDS[kind]()

    def fit(x):
        flow = tfnvp.Flow(Chain([bijector]), 3)
        flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
        flow.adaptation.run_once(flow, x, None)
        return [v.numpy() for v in bijector.variables]

    first = fit(X)
    assert started(bijector)
    for old, new in zip(first, fit(X + 5), strict=True):
        np.testing.assert_array_equal(old, new)


def test_scales_of_images_know_it_of_their_members():
    inner = ActNorm((2, 2, 2), data_init=False)
    scale = MultiScale(Chain([inner]))
    assert adapts(scale)
    assert not started(scale)
    scale.adapt(tf.random.normal((10, 4, 4, 1), mean=3.0))
    assert started(scale)
