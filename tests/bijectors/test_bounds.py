"""Bounds: equations, the numbers next to a bound and beyond it, units."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bijectors import Bounds

# Between both, above, below, and free.
LOW, HIGH = [-1.0, 2.0, None, None], [3.0, None, 2.0, None]


def test_equations():
    u = np.array([0.3, -0.7, 0.4, 5.0])
    p = 1 / (1 + np.exp(-0.3))
    x, log_det = Bounds(LOW, HIGH).forward_and_log_det(u)
    np.testing.assert_allclose(x, [-1 + 4 * p, 2 + np.exp(-0.7), 2 - np.exp(-0.4), 5.0])
    np.testing.assert_allclose(log_det, [np.log(4 * p * (1 - p)), -0.7, -0.4, 0.0])


@pytest.mark.parametrize("size", [1.0, 5.0, 30.0])
def test_distances_from_the_nearer_bound_keep_their_digits(size):
    # Bounds at 0 lose nothing in float32: distances can be as small as its numbers.
    b = Bounds([0.0, -100.0, 0.0, None], [100.0, 0.0, None, 0.0])
    u = np.array([-size, size, -size, size])
    exact, exact_log_det = b.forward_and_log_det(tf.constant(u))
    found, log_det = b.forward_and_log_det(tf.constant(u, tf.float32))
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    np.testing.assert_allclose(log_det, exact_log_det, rtol=1e-6)
    np.testing.assert_allclose(b.inverse(tf.identity(found)), u, rtol=1e-6)


def test_log_dets_are_right_one_step_from_a_bound():
    b = Bounds([0.1, 0.1, -7.0], [0.9, None, 7.0])
    for inward, bounds in ((np.inf, b.low), (-np.inf, b.high)):
        x = np.nextafter(bounds.astype("float32"), np.float32(inward))
        x = np.where(np.isinf(x), np.float32(1.0), x)
        # The bounds as float32 has them.
        rounded = Bounds(*(end.astype("float32").astype("float64") for end in (b.low, b.high)))
        exact = rounded.inverse_and_log_det(tf.constant(x, tf.float64))
        for found, right in zip(b.inverse_and_log_det(tf.constant(x)), exact, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("xla", [False, True])
def test_what_forward_gives_is_inside_and_has_a_finite_inverse(dtype, xla):
    b = Bounds([0.0, 1e-9, 0.1, 100.0, None, -5e-30, None], [1.0, 3e-9, 0.9, None, 7.0, 1e9, None])
    u = tf.constant([[s * e] * 7 for s in (-1, 1) for e in (9.0, 90.0, 5e3)], dtype)
    x = tf.function(b.forward, jit_compile=xla, autograph=False)(u).numpy()
    assert (x > b.low.astype(dtype)).all()
    assert (x < b.high.astype(dtype)).all()
    for found in b.inverse_and_log_det(tf.constant(x)):
        assert np.isfinite(found).all()
    assert np.isnan(b.forward(tf.fill([7], np.array(np.nan, dtype)))).all()


def test_no_density_on_a_bound_and_beyond():
    b = Bounds([0.1, 0.1, None], [0.7, None, 0.7])
    # As float64 has them: rounded to float32 they are on the bound, neither inside nor beyond.
    on = tf.cast(np.array([[0.1, 0.1, 0.7], [0.7, 0.1, 0.7]]), tf.float32)
    assert np.isinf(b.inverse(on)).all()
    assert np.isnan(b.inverse([0.0, 0.0, 1.0])).all()
    assert np.isnan(b.inverse([0.8, 0.0, 1.0])).all()


@pytest.mark.parametrize("power", [-40, 30])
def test_units_shift_log_dets_and_nothing_else(power):
    c = 2.0**power
    x = np.float32([[0.3, 0.2, 0.6, 1.0], [0.4, 1e-6, 0.9, -2.0]])
    low, high = [0.25, 0.0, -1.0, -np.inf], [0.5, np.inf, 1.0, np.inf]
    u, log_det = Bounds(low, high).inverse_and_log_det(x)
    scaled = Bounds(c * np.array(low), c * np.array(high))
    v, scaled_log_det = scaled.inverse_and_log_det(np.float32(c) * x)
    shift = np.log(c)
    np.testing.assert_array_equal(v.numpy()[:, [0, 2]], u.numpy()[:, [0, 2]])
    np.testing.assert_allclose(v.numpy()[:, 1], u.numpy()[:, 1] + shift, rtol=3e-7)
    np.testing.assert_allclose(
        scaled_log_det, log_det - shift * np.float32([1, 1, 1, 0]), rtol=3e-7, atol=3e-6
    )


def test_second_derivatives():
    b, u = Bounds(LOW, HIGH), tf.constant([0.0, -0.7, 0.4, 5.0], tf.float64)
    with tf.GradientTape() as outer:
        outer.watch(u)
        with tf.GradientTape() as tape:
            tape.watch(u)
            x = b.forward(u)
        slope = tape.gradient(x, u)
    # The slope is the exponential of the log-det.
    np.testing.assert_allclose(slope, tf.exp(b.forward_log_det_jacobian(u)), rtol=1e-10)
    p = tf.sigmoid(u[0])
    curvature = [4 * p * (1 - p) * (1 - 2 * p), np.exp(-0.7), -np.exp(-0.4), 0.0]
    np.testing.assert_allclose(outer.gradient(slope, u), curvature, atol=1e-10)


def test_a_lone_number_bounds_data_of_any_shape_and_has_a_distribution_function():
    b = Bounds(0.0)
    assert b.forward(tf.zeros([2, 3])).shape == (2, 3)
    distribution = tfp.distributions.TransformedDistribution(tfp.distributions.Normal(0.0, 1.0), b)
    np.testing.assert_allclose(distribution.cdf([1.0, 1e9]), [0.5, 1.0])
    below = tfp.distributions.TransformedDistribution(
        tfp.distributions.Normal(0.0, 1.0), Bounds(high=3.0)
    )
    np.testing.assert_allclose(below.cdf([2.0, -1e9]), [0.5, 0.0], atol=1e-6)
    assert Bounds([0.0, 1.0]) == Bounds([0.0, 1.0]) != Bounds([0.0, 2.0])


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (1.0, 1.0, r"low below high, .*float32.* Received: \(1.0, 1.0\)"),
        ([0.0, 2.0], [1.0, 1.0], r"variable 1 must have low below high.*\(2.0, 1.0\)"),
        ([0.0, np.nan], None, "variable 1 must have low below high"),
        (np.inf, None, "low below high"),
        (0.1, 0.1 + 1e-9, "numbers of float32 between"),
        (-3e38, 3e38, "numbers of float32 between"),
        ([0.0, 1.0], [1.0, 2.0, 3.0], "`low` and `high` must be numbers or None, or arrays"),
        (["a"], None, "`low` and `high` must be numbers"),
    ],
)
def test_bounds_without_numbers_between_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        Bounds(low, high)


def test_events_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"bounds: expected a tensor of shape \[..., 4\]"):
        Bounds(LOW, HIGH).forward(tf.zeros([2, 3]))
