import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import LULinear

pytestmark = pytest.mark.usefixtures("eagerly")


def mixed(event_shape=4, permutation=(2, 0, 3, 1)):
    return perturb(LULinear(event_shape, permutation), 0.3)


@pytest.mark.parametrize("event_shape", [4, (2, 2)])
def test_it_is_the_product_of_its_factors(event_shape):
    linear = mixed(event_shape)
    y = np.random.default_rng(0).normal(size=(5, 4))
    lower = np.tril(linear.lower.numpy(), -1) + np.eye(4)
    upper = np.triu(linear.upper.numpy(), 1) + np.diag(np.exp(linear.log_diagonal.numpy()))
    matrix = lower @ upper @ np.eye(4)[[2, 0, 3, 1]]
    x = linear.inverse(tf.constant(y.reshape(5, *linear.event_shape)))
    expected = (y @ matrix.T + linear.bias.numpy()).reshape(x.shape)
    np.testing.assert_allclose(x, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        linear.inverse_log_det_jacobian(x), np.full(5, np.linalg.slogdet(matrix)[1]), rtol=1e-6
    )


def test_a_map_of_channels_is_the_same_at_every_pixel():
    of_pixels = perturb(LULinear((2, 3, 4), per_pixel=True))
    of_one = LULinear(4)
    for mine, other in zip(of_one.variables, of_pixels.variables, strict=True):
        mine.assign(other)
    y = tf.constant(np.random.default_rng(0).normal(size=(5, 2, 3, 4)), tf.float32)
    x, log_det = of_pixels.inverse_and_log_det(y)
    expected, log_det_of_one = of_one.inverse_and_log_det(tf.reshape(y, (-1, 4)))
    np.testing.assert_allclose(tf.reshape(x, (-1, 4)), expected, rtol=1e-6)
    np.testing.assert_allclose(log_det, 6 * log_det_of_one[:5], rtol=1e-6)


def test_it_starts_as_its_permutation():
    linear = LULinear(3, [1, 2, 0])
    y = tf.constant([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(linear.inverse(y), [[2.0, 3.0, 1.0]])
    np.testing.assert_array_equal(linear.forward_log_det_jacobian(y), [0.0])


@pytest.mark.parametrize("permutation", [[0, 0, 1], [0, 1], [1, 2, 3]])
def test_what_is_no_permutation_is_refused(permutation):
    with pytest.raises(ValueError, match="`permutation` must hold each of 0 to 2 once"):
        LULinear(3, permutation)


def test_a_real_nvp_with_linear_maps_trains_inverts_and_is_restored(tmp_path):
    flow = tfnvp.RealNVP(5, couplings=2, hidden_units=(8,), linear="lu", whiten=True)
    kinds = [type(bijector).__name__ for bijector in flow.bijector.bijectors]
    assert kinds[2:] == ["LULinear", "AffineCoupling"] * 2 + ["LULinear"]
    x = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")
    before = flow.bijector.bijectors[-1].lower.numpy()
    flow.compile("adam")
    flow.fit(x, epochs=1, verbose=0)
    assert (flow.bijector.bijectors[-1].lower.numpy() != before).any()
    perturb(flow, 0.1)
    np.testing.assert_allclose(flow.decode(flow.encode(x)), x, atol=1e-4)
    flow.save(tmp_path / "flow.keras")
    restored = tf.keras.models.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(restored.log_prob(x), flow.log_prob(x))


def test_other_names_of_linear_maps_are_refused():
    with pytest.raises(ValueError, match="`linear` must be one of lu, None"):
        tfnvp.RealNVP(4, linear="qr")
