import numpy as np
import pytest
import tensorflow as tf

from tfnvp.bijectors import Standardization

DATA = np.random.default_rng(0).normal(2.0, 3.0, (100, 3)).astype("float32")


def test_it_is_the_formula():
    b = Standardization(3)
    b.adapt(DATA)
    mean, deviation = DATA.mean(axis=0, dtype="float64"), DATA.std(axis=0, dtype="float64")
    np.testing.assert_allclose(b.inverse(DATA), (DATA - mean) / deviation, atol=1e-6)
    np.testing.assert_allclose(b.inverse_log_det_jacobian(DATA), [-np.log(deviation).sum()] * 100)
    assert not b.trainable_variables


@pytest.mark.parametrize("robust", [False, True])
def test_powers_of_two_change_no_bit(robust):
    units = np.float32([2.0**-40, 2.0**40, 8.0])
    b, scaled = Standardization(3, robust), Standardization(3, robust)
    b.adapt(DATA)
    scaled.adapt(DATA * units)
    z = b.inverse(DATA)
    np.testing.assert_array_equal(scaled.inverse(DATA * units), z)
    np.testing.assert_array_equal(scaled.forward(tf.identity(z)), b.forward(tf.identity(z)) * units)
    np.testing.assert_allclose(scaled.log_det - b.log_det, -3 * np.log(2), rtol=1e-12)


def test_a_robust_one_does_not_see_a_few_extreme_values():
    b, plain = Standardization(3, robust=True), Standardization(3, robust=True)
    plain.adapt(DATA[10:])
    b.adapt(np.concatenate([np.full((10, 3), 1e9, "float32"), DATA[10:]]))
    np.testing.assert_allclose(b.deviation, plain.deviation, rtol=0.3)
    np.testing.assert_allclose(b.mean, plain.mean, atol=1.0)
    assert len(np.unique(b.inverse(DATA[10:, :])[:, 0])) == 90
