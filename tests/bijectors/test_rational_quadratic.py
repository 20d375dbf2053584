"""Rational-quadratic splines: TFP's are the reference; exact inverses, even of extreme splines."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bijectors import rational_quadratic
from tfnvp.bijectors.rational_quadratic import factor

BINS = 5


def splines(scale, n=4000, dtype="float32"):
    """Positions `[n]`, each with its own spline of random raw parameters."""
    generator = np.random.default_rng(0)
    raw = scale * generator.normal(size=(3 * BINS - 1, n))
    return tf.constant(generator.uniform(size=n), dtype), tf.constant(raw, dtype)


def test_agrees_with_tfp():
    x, raw = splines(1.0, dtype="float64")
    widths, heights, slopes = tf.split(tf.transpose(raw), [BINS, BINS, BINS - 1], axis=-1)
    sides = [
        factor(r) / tf.reduce_sum(factor(r), axis=-1, keepdims=True) for r in (widths, heights)
    ]
    means = sides[1] / sides[0]
    # The harmonic mean of the mean slopes of both bins.
    slopes = factor(slopes) * 2.0 / (1.0 / means[:, :-1] + 1.0 / means[:, 1:])
    theirs = tfp.bijectors.RationalQuadraticSpline(*sides, slopes, range_min=0.0)
    y, log_slope = rational_quadratic.forward(x, raw)
    np.testing.assert_allclose(y, theirs.forward(x), rtol=1e-10)
    np.testing.assert_allclose(log_slope, theirs.forward_log_det_jacobian(x), atol=1e-10)


@pytest.mark.parametrize("scale", [0.5, 10.0])
def test_float32_inverts_every_spline(scale):
    x, raw = splines(scale, n=100_000)
    y, log_slope = rational_quadratic.forward(x, raw)
    back, log_inverse_slope = rational_quadratic.inverse(y, raw)
    # In an interval from -5 to 5, which is ten times as long.
    assert np.abs(back - x).max() < (1e-6 if scale < 1 else 2e-5)
    assert np.quantile(np.abs(back - x), 0.999) < 5e-6
    assert np.quantile(np.abs(log_slope + log_inverse_slope), 0.999) < 1e-3


@pytest.mark.parametrize("function", [rational_quadratic.forward, rational_quadratic.inverse])
def test_gradients_of_first_and_second_order_are_right(function):
    x, raw = splines(1.0, n=3, dtype="float64")

    @tf.function
    def gradients(x, raw):
        with tf.GradientTape() as tape:
            tape.watch((x, raw))
            value, log_slope = function(x, raw)
            total = tf.reduce_sum(tf.sin(value) + log_slope)
        return tape.gradient(total, (x, raw))

    def loss(x, raw):
        value, log_slope = function(x, raw)
        return tf.reduce_sum(tf.sin(value) + log_slope)

    for f in (loss, lambda x, raw: tf.reduce_sum([tf.reduce_sum(g**2) for g in gradients(x, raw)])):
        for theoretical, numerical in zip(
            *tf.test.compute_gradient(f, [x, raw], 1e-6), strict=True
        ):
            np.testing.assert_allclose(theoretical, numerical, rtol=1e-5, atol=1e-5)


def test_zeros_are_the_identity():
    x, raw = splines(0.0)
    for function in (rational_quadratic.forward, rational_quadratic.inverse):
        y, log_slope = function(x, raw)
        np.testing.assert_allclose(y, x, atol=1e-6)
        np.testing.assert_allclose(log_slope, np.zeros_like(x), atol=1e-5)
