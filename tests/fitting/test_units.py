"""The units of data and conditions change log-densities by a constant, and nothing else."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.bijectors import AffineCoupling, BatchNormalization, Chain, Whitening
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

RNG = np.random.default_rng(0)
X = np.stack([RNG.normal(size=128), RNG.gamma(2.0, size=128), RNG.normal(size=128)], axis=1)
X[:, 2] += 0.9 * X[:, 0]
X = (X * [3.0, 2.0, 1.0] + [20.0, 5.0, 0.0]).astype("float32")
CONDITION = (RNG.normal(size=(128, 2)) * [5.0, 1.0] + [50.0, 0.0]).astype("float32")
SMALL = {"couplings": 2, "hidden_units": (4,)}


def own(first):
    """Couplings of one's own after another bijector than those of NICE and RealNVP."""
    couplings = [
        AffineCoupling(MLP(2 * moved, (4,)), Split(1, swapped=moved == 1), 3) for moved in (2, 1)
    ]
    return tfnvp.Flow(Chain([first, couplings[0], BatchNormalization(3), couplings[1]]), 3)


FLOWS = {
    "NICE": lambda: tfnvp.NICE(3, **SMALL),
    "NICE, whitened": lambda: tfnvp.NICE(3, whiten=True, **SMALL),
    "RealNVP": lambda: tfnvp.RealNVP(3, **SMALL),
    "RealNVP, robust": lambda: tfnvp.RealNVP(3, standardize="robust", **SMALL),
    "RealNVP, LU": lambda: tfnvp.RealNVP(3, linear="lu", whiten=True, **SMALL),
    "NeuralSplineFlow": lambda: tfnvp.NeuralSplineFlow(3, bins=3, **SMALL),
    "RealNVP, conditional": lambda: tfnvp.RealNVP(3, condition_shape=2, **SMALL),
    "RealNVP, condition network": lambda: tfnvp.RealNVP(
        3, condition_shape=2, condition_network=keras.layers.Dense(4, "tanh"), **SMALL
    ),
    "batch-normalised": lambda: own(BatchNormalization(3)),
    "own, whitened": lambda: own(Whitening(3)),
}
# Factors of the variables and of the conditions.
POWERS_OF_TWO = [2.0**-40, 2.0**40, 2.0**-40], [2.0**40, 2.0**-40]
OTHERS = [1e-9, 1e6, 1e-4], [1e-7, 1e5]


def trained(make, units, condition_units):
    """Log-densities after two steps, in the units of `X`; `fit` would take ten times as long."""
    keras.utils.set_random_seed(1)
    flow = make()
    x = (X * np.float64(units)).astype("float32")
    condition = (CONDITION * np.float64(condition_units)).astype("float32")
    condition = condition if flow.condition_shape else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.adapt(x, condition)
    for rows in (slice(64), slice(64, 128)):
        with tf.GradientTape() as tape:
            part = None if condition is None else condition[rows]
            loss = -tf.reduce_mean(flow(x[rows], part, training=True))
        variables = flow.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(0.05 * gradient)
    return flow(x, condition).numpy() + np.log(units).sum()


@pytest.mark.parametrize("name", FLOWS)
def test_units_shift_log_densities_by_a_constant(name):
    expected = trained(FLOWS[name], np.ones(3), np.ones(2))
    np.testing.assert_allclose(trained(FLOWS[name], *POWERS_OF_TWO), expected, rtol=0, atol=1e-5)
    mean = trained(FLOWS[name], *OTHERS).mean()
    assert mean == pytest.approx(expected.mean(), abs=0.01)


def test_columns_of_very_different_units_are_fitted():
    # This fits: it is what users see.
    x = RNG.normal(size=(256, 2)) * [3.0, 2e-9] + [20.0, 5e-9]
    keras.utils.set_random_seed(0)
    flow = tfnvp.RealNVP(2, **SMALL)
    flow.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    flow.fit(x, batch_size=64, verbose=0)
    entropy = np.log([3.0, 2e-9]).sum() + np.log(2 * np.pi * np.e)
    assert flow.log_prob(x).numpy().mean() == pytest.approx(-entropy, abs=0.3)
    np.testing.assert_allclose(flow.sample(500, seed=0).numpy().std(0), [3.0, 2e-9], rtol=0.3)
