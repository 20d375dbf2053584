"""The fused parts of batch normalization against the plain formulas, values and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from tfnvp import running_statistics

WRAPPERS = {
    "eager": lambda f: f,
    "function": tf.function,
    "xla": lambda f: tf.function(f, jit_compile=True),
}


def plain_moments(x):
    return tf.nn.moments(x, list(range(x.shape.rank - 1)))


def plain_map(x, scale, shift):
    return x * scale + shift


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4, 5, 6, 16), "float32"),
        ((1, 1, 1, 16), "float32"),
        ((4, 5, 6, 3), "float32"),
        ((4, 5, 6, 16), "float64"),
        ((9, 16), "float32"),
    ],
)
def test_values_and_gradients_are_those_of_the_formulas(shape, dtype, wrapper):
    generator = np.random.default_rng(0)
    x = tf.constant(generator.normal(2.0, 3.0, shape), dtype)
    scale, shift, weights = (tf.constant(generator.normal(size=shape[-1:]), dtype) for _ in "123")

    def evaluate(moments, scale_and_shift):
        with tf.GradientTape() as tape:
            tape.watch([x, scale, shift])
            mean, variance = moments(x)
            y = scale_and_shift(x, scale * mean, shift + variance)
            loss = tf.reduce_sum(y * tf.sin(x)) + tf.reduce_sum(weights * mean * variance)
        return [mean, variance, y, *tape.gradient(loss, [x, scale, shift])]

    fused = (running_statistics.moments, running_statistics.scale_and_shift)
    got = WRAPPERS[wrapper](lambda: evaluate(*fused))()
    for found, expected in zip(got, evaluate(plain_moments, plain_map), strict=True):
        size = np.abs(expected).max() + 1e-6
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * size)


def test_half_precision_keeps_its_type():
    x = tf.ones((2, 3, 3, 16), tf.bfloat16)
    y = running_statistics.scale_and_shift(x, tf.fill([16], 2.0), tf.fill([16], 1.0))
    assert y.dtype == tf.bfloat16
    np.testing.assert_array_equal(tf.cast(y, tf.float32), np.full(x.shape, 3.0))


def test_no_images_stay_none():
    x = tf.ones((0, 3, 3, 16))
    assert running_statistics.scale_and_shift(x, tf.ones(16), tf.ones(16)).shape == x.shape


def test_batches_without_rows_change_nothing():
    x = tf.random.stateless_normal([6, 3], (1, 2))
    with_empty, without = (running_statistics.RunningStatistics(3) for _ in range(2))
    for batch in (x[:0], x, x[:0], 2 * x):
        moments = with_empty(batch, training=True)
    for batch in (x, 2 * x):
        expected = without(batch, training=True)
    np.testing.assert_allclose(moments, expected)
    for mine, other in zip(with_empty.weights, without.weights, strict=True):
        np.testing.assert_allclose(mine, other)
