import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability.python.math.gradient import batch_jacobian

import tfnvp
from tfnvp.bijectors import ActNorm, BatchNormalization, Chain, DiagonalScaling, Whitening

MIXING = np.array([[3.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.2, 0.0, 0.3]])


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(500, 3)) @ MIXING + [1.0, -2.0, 5.0]


def test_data_comes_out_white(data):
    whitening = Whitening(3, epsilon=1e-8)
    whitening.adapt(data)
    z = whitening.inverse(data).numpy()
    np.testing.assert_allclose(z.mean(axis=0), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(np.cov(z.T, ddof=0), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(whitening.forward(tf.constant(z)), data, rtol=1e-5, atol=1e-5)


def test_the_map_is_symmetric_and_regularised(data):
    whitening = Whitening(3, epsilon=0.1)
    whitening.adapt(data)
    matrix = whitening.matrix.numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    covariance = np.cov(data.T, ddof=0)
    np.testing.assert_allclose(
        np.linalg.inv(matrix @ matrix), covariance + 0.1 * np.eye(3), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", [Whitening, ActNorm, BatchNormalization])
def test_only_fitting_data_starts_a_bijector(kind, data):
    bijector = kind(2)
    before = [np.array(v) for v in bijector.variables]
    for wrong in (data, data[:, 0]):
        with pytest.raises(ValueError, match=r"expected a tensor of shape \[\.\.\., 2\]"):
            bijector.adapt(wrong)
    with pytest.raises(ValueError, match="needs data to start from"):
        bijector.adapt(data[:0, :2])
    with pytest.raises(ValueError, match="must start from finite numbers"):
        bijector.adapt(np.where(data[:, :2] > 1.4, np.nan, data[:, :2]))
    np.testing.assert_equal([np.array(v) for v in bijector.variables], before)


@pytest.mark.parametrize("event_shape", [(6,), (3, 2)])
def test_log_det_is_that_of_autodiff(event_shape):
    generator = np.random.default_rng(0)
    whitening = Whitening(event_shape)
    y = generator.normal(size=(50, 6)) @ generator.normal(size=(6, 6))
    y = y.reshape((-1, *event_shape))
    whitening.adapt(y)
    y = tf.constant(y[:4])
    jacobian = batch_jacobian(lambda y: whitening.inverse(tf.identity(y)), y)
    expected = np.linalg.slogdet(np.reshape(jacobian, (4, 6, 6)))[1]
    assert (np.abs(expected) > 0.1).all()
    np.testing.assert_allclose(whitening.inverse_log_det_jacobian(y), expected, rtol=1e-9)
    z = whitening.inverse(y)
    assert z.shape == (4, *event_shape)
    np.testing.assert_allclose(
        whitening.forward_log_det_jacobian(tf.identity(z)), -expected, rtol=1e-9
    )
    np.testing.assert_allclose(whitening.forward(tf.identity(z)), y, rtol=1e-4, atol=1e-5)


def test_given_mean_and_matrix():
    matrix = [[2.0, 1.0], [0.0, 4.0]]
    whitening = Whitening(2, mean=[1.0, 1.0], matrix=matrix)
    np.testing.assert_allclose(whitening.inverse(tf.constant([[2.0, 3.0]])), [[4.0, 8.0]])
    np.testing.assert_allclose(whitening.inverse_log_det_jacobian([[0.0, 0.0]]), [np.log(8.0)])
    np.testing.assert_allclose(whitening.forward(tf.constant([[4.0, 8.0]])), [[2.0, 3.0]])


def test_without_data_it_is_the_identity():
    y = tf.constant([[1.0, -2.0]])
    np.testing.assert_array_equal(Whitening(2).inverse(y), y)
    np.testing.assert_array_equal(Whitening(2).inverse_log_det_jacobian(y), [0.0])


def test_constant_variables_are_harmless():
    y = np.concatenate([np.random.default_rng(0).normal(size=(20, 1)), np.ones((20, 2))], axis=1)
    whitening = Whitening(3)
    whitening.adapt(y)
    assert np.isfinite(whitening.inverse(y)).all()
    np.testing.assert_allclose(whitening.forward(whitening.inverse(y)), y, rtol=1e-4, atol=1e-4)


def test_a_flow_fits_saves_and_loads_it(data, tmp_path):
    data = data.astype("float32")
    flow = tfnvp.Flow(Chain([Whitening(3), DiagonalScaling(3)]), 3)
    assert len(flow.trainable_variables) == 1
    flow.compile()
    flow.fit(data, epochs=1, verbose=0)
    # Whitening is that of the data: the flow is the best normal distribution, but for a step.
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(data.T, ddof=0))[1]
    assert flow.evaluate(data, verbose=0) == pytest.approx(entropy, abs=0.05)
    flow.save(tmp_path / "flow.keras")
    restored = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(restored.log_prob(data), flow.log_prob(data))


@pytest.mark.parametrize("kind", [tfnvp.NICE, tfnvp.RealNVP])
def test_flows_start_from_the_whitening_that_is_asked_for(kind, data):
    flow = kind(3, couplings=2, hidden_units=(4,), standardize=False, whiten=1e-5)
    flow.adapt((0.1 * data).astype("float32"))
    latents = flow.encode((0.1 * data).astype("float32")).numpy()
    np.testing.assert_allclose(np.cov(latents.T, ddof=0), np.eye(3), atol=0.1)
    with pytest.raises(ValueError, match="`whiten` must be True, False or the ridge"):
        kind(3, whiten=None)


def test_copies_are_whole(data):
    whitening = Whitening(3)
    whitening.adapt(data)
    copied = copy.deepcopy(whitening)
    np.testing.assert_array_equal(copied.inverse(data), whitening.inverse(data))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": [1.0]}, r"mean.*\(2,\).*\(1,\)"),
        ({"matrix": np.eye(3)}, r"matrix.*\(2, 2\).*\(3, 3\)"),
        ({"matrix": np.ones((2, 2))}, "invertible"),
        ({"epsilon": 0.0}, "epsilon"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Whitening(2, **arguments)
