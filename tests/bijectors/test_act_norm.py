import numpy as np
import pytest
import tensorflow as tf

from tests.bijector_builders import points
from tfnvp.bijectors import ActNorm


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("event_shape", [(3,), (2, 3)])
def test_act_norm_normalises_its_first_batch(direction, event_shape):
    b = ActNorm(event_shape)
    x = 5.0 * points(500, *event_shape) + 2.0
    normalised = tf.reshape(getattr(b, direction)(x), (-1, 3))
    np.testing.assert_allclose(tf.reduce_mean(normalised, 0), 0.0, atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(normalised, 0), 1.0, rtol=5e-5)
    second = tf.reshape(getattr(b, direction)(x + 1.0), (-1, 3))
    assert (np.abs(tf.reduce_mean(second, 0)) > 0.1).all()


def test_a_batch_without_rows_initialises_nothing():
    b = ActNorm(3)
    b.inverse(tf.zeros([0, 3]))
    assert not b.is_initialized
    np.testing.assert_allclose(tf.reduce_mean(b.inverse(points(50, 3)), 0), 0.0, atol=1e-5)
