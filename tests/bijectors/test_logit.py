import numpy as np
import tensorflow as tf

from tfnvp.bijectors import Logit


def test_logit_is_congruent_to_its_derivative():
    b = Logit()
    x = tf.linspace(tf.constant(0.0, tf.float64), 1.0, 2001)
    y = b.forward(x)
    assert (np.diff(y) > 0).all()
    slopes = np.diff(y) / np.diff(x)
    middle = (x[1:] + x[:-1]) / 2
    np.testing.assert_allclose(slopes, tf.exp(b.forward_log_det_jacobian(middle)), rtol=1e-4)


def test_the_ends_of_the_interval_are_in_the_domain():
    x = tf.constant([0.0, 0.3, 1.0])
    y, log_det = Logit().forward_and_log_det(x)
    assert np.isfinite(y).all()
    assert np.isfinite(log_det).all()
    np.testing.assert_allclose(Logit().inverse(y), x, atol=1e-6)
