"""Rows without a density: -inf in every method, NaN only for NaN, and gradients of the others."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import Chain, Logit

tfb = tfp.bijectors
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*log-density of such rows"),
    pytest.mark.usefixtures("eagerly"),
]


def vectors(**options):
    return tfnvp.RealNVP(3, couplings=2, hidden_units=(4,), standardize=False, **options)


def behind(*bijectors):
    return tfnvp.Flow(Chain([*bijectors, *vectors().bijector.bijectors]), 3)


INSIDE = [0.2, 0.5, 0.7]
LARGE = [3e38, -3e38, 3e38]
# Flows with rows that have no density.
FLOWS = {
    "softplus": (lambda: behind(tfb.Softplus()), [[-1.0, 0.5, 0.5], [0.0, 0.5, 0.5]]),
    "a shifted exp": (lambda: behind(tfb.Shift(0.1), tfb.Exp()), [[0.05, 0.5, 0.5]]),
    "sigmoid": (lambda: behind(tfb.Sigmoid()), [[0.5, 1.0, 0.5], [0.5, 0.5, -0.1]]),
    "logit": (lambda: vectors(logit_alpha=0.05), [[0.5, 0.5, 1.1], LARGE]),
    "logit without a margin": (lambda: behind(tfb.Invert(Logit(0.0))), [[0.5, 0.0, 0.5]]),
    "an inverted chain": (
        lambda: behind(tfb.Invert(tfb.Chain([tfb.Scale(2.0), tfb.Log()]))),
        [[-1.0, 0.5, 0.5]],
    ),
    "blocks": (
        lambda: behind(tfb.Blockwise([tfb.Exp(), tfb.Identity()], [1, 2])),
        [[-1.0, -1.0, -1.0]],
    ),
    "scales without bound": (lambda: vectors(scale="exp"), [LARGE, [np.inf, 0.5, 0.5]]),
    "linear maps": (lambda: vectors(linear="lu"), [LARGE]),
    "splines": (
        lambda: tfnvp.NeuralSplineFlow(3, 2, (4,), bins=2, standardize=False),
        [[np.inf, 0.5, 0.5], [0.5, 0.5, -np.inf]],
    ),
    "whitening": (lambda: vectors(whiten=True), [LARGE]),
    "a logistic base": (lambda: vectors(base="logistic"), [LARGE]),
    "gelu": (lambda: vectors(activation="gelu"), [LARGE]),
}


def made(name):
    """Returns a flow, and rows: the first and the third have a density, the last is NaN."""
    make, (first, *others) = FLOWS[name]
    rows = [INSIDE, first, INSIDE[::-1], *others, [np.nan, 0.5, 0.5]]
    return perturb(make()), np.float32(rows)


@pytest.mark.parametrize("name", FLOWS)
def test_density_zero_is_minus_infinity(name):
    flow, rows = made(name)
    found, latents = flow.log_prob(rows).numpy(), flow.encode(rows).numpy()
    assert np.isfinite(found[[0, 2]]).all()
    assert (found[[1, *range(3, len(rows) - 1)]] == -np.inf).all()
    assert np.isnan(found[-1])
    np.testing.assert_array_equal(np.isnan(latents).all(axis=1), ~np.isfinite(found))
    assert np.isfinite(latents[[0, 2]]).all()


@pytest.mark.parametrize("name", ["softplus", "scales without bound"])
def test_other_rows_have_the_gradients_that_they_have_alone(name):
    flow, rows = made(name)

    def gradient(rows):
        with tf.GradientTape() as tape:
            nats = flow.log_prob(rows)
            kept = tf.reduce_sum(tf.where(tf.math.is_finite(nats), nats, 0.0))
        return tape.gradient(kept, flow.trainable_variables)

    expected = gradient(rows[[0, 2]])
    rows = np.roll(rows, -1, axis=0)  # The first row has no density.
    tf.config.run_functions_eagerly(False)
    # Within a graph, only rows outside of the support are known before the flow is computed.
    for function in (gradient, tf.function(gradient))[: 2 if name == "softplus" else 1]:
        for found, alone in zip(function(rows), expected, strict=True):
            np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-5)


def test_every_method_agrees(tmp_path):
    flow, rows = made("softplus")
    flow.compile("adam", jit_compile=False)
    assert flow.evaluate(rows[:3], verbose=0) == np.inf
    np.testing.assert_array_equal(flow.predict(rows, verbose=0), flow.log_prob(rows))
    # A row of weight 0 does not count.
    weighted = flow.evaluate(rows[:3], sample_weight=[1.0, 0.0, 1.0], verbose=0)
    np.testing.assert_allclose(weighted, -np.mean(flow.log_prob(rows[:3:2])), rtol=1e-5)
    tf.config.run_functions_eagerly(False)
    served = flow.export(tmp_path, signatures=["log_prob", "encode"])
    served = tf.saved_model.load(str(served)).signatures
    nats = served["log_prob"](x=tf.constant(rows))["log_prob"]
    np.testing.assert_allclose(nats, flow.log_prob(rows), rtol=1e-5)
    assert np.isnan(served["encode"](x=tf.constant(rows))["z"][1]).all()


def test_samples_that_overflow_have_density_zero():
    flow = tfnvp.Flow(tfb.Exp(), 1)
    x, nats = flow.decode_and_log_prob([[0.0], [100.0], [np.nan]])
    np.testing.assert_array_equal(x[:2, 0], [1.0, np.inf])
    np.testing.assert_allclose(nats[:2], flow.log_prob(x[:2]))
    assert np.isnan(nats[2])


def test_broken_weights_and_conditions_give_nan():
    flow = vectors(condition_shape=1)
    rows = np.float32([INSIDE, [np.inf] * 3])
    tf.config.run_functions_eagerly(False)
    log_prob = tf.function(flow.log_prob)  # In graphs, conditions that are not finite are no error.
    assert np.isfinite(log_prob(rows[:1], [[1.0]])).all()
    assert np.isnan(log_prob(rows, tf.constant([[np.nan], [1.0]]))[0])
    kernel = flow.trainable_variables[0]
    kernel.assign(np.nan * kernel)
    flow.trainable_variables[3].assign(np.nan * flow.trainable_variables[3])
    assert np.isnan(flow.log_prob(rows[:1], [[1.0]])).all()


def test_adapt_needs_rows_of_the_support():
    flow = behind(tfb.Exp(), tfnvp.bijectors.ActNorm(3))
    weights = flow.get_weights()
    for bad, message in ((0.0, r"support .* exp .*0\.0 in x\[1, 2\]"), (np.nan, r"x\[1, 2\]: nan")):
        with pytest.raises(ValueError, match=message):
            flow.adapt(np.float32([INSIDE, [0.5, 0.5, bad]]))
    for weight, before in zip(flow.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_training_stops_before_a_row_outside_of_the_support_does_harm():
    # Only `fit` has steps.
    rows = np.random.default_rng(0).gamma(2.0, size=(40, 3)).astype("float32")
    rows[33, 1] = 0.0
    flow = behind(tfb.Softplus())
    flow.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    before = flow.get_weights()
    with pytest.raises(ValueError, match=r"support .* softplus .*0\.0 in x\[33, 1\]"):
        flow.fit(rows, verbose=0)
    for weight, old in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(20)
    with pytest.raises(ValueError, match=r"In batch 2 .* softplus .*0\.0 in x\[13, 1\]"):
        flow.fit(batches, verbose=0)
    assert all(np.isfinite(weight).all() for weight in flow.get_weights())
    kept = tfnvp.data.FiniteRows(flow)
    assert sum(len(batch) for batch in batches.apply(kept)) == 39
    assert kept.skipped == 1
