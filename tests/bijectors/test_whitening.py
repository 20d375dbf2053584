import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.covariance import ledoit_wolf

import tfnvp
from tfnvp.bijectors import Chain, DiagonalScaling, Whitening

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


@pytest.mark.parametrize("epsilon", [None, 1e-5])
def test_fewer_rows_than_variables_are_shrunk(epsilon):
    x = np.random.default_rng(0).normal(size=(520, 50))
    whitening = Whitening(50, epsilon=epsilon)
    whitening.adapt(x[:20])
    rows = x[:20] - x[:20].mean(axis=0)
    scale = rows.std(axis=0) if epsilon is None else np.ones(50)
    covariance = ledoit_wolf(rows / scale, assume_centered=True)[0]
    matrix = np.asarray(whitening.matrix, "float64") * scale
    found = np.linalg.inv(matrix @ matrix.T)
    np.testing.assert_allclose(found, covariance + (epsilon or 1e-3) * np.eye(50), atol=1e-4)
    # Rows that it has not seen are not far outside.
    assert np.square(whitening.inverse(x[20:])).mean() < 3.0


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


@pytest.mark.parametrize("kind", [tfnvp.NICE, tfnvp.RealNVP, tfnvp.NeuralSplineFlow])
def test_flows_start_from_the_whitening_that_is_asked_for(kind, data):
    flow = kind(3, couplings=2, hidden_units=(4,), standardize=False, whiten=1e-5)
    flow.adapt((0.1 * data).astype("float32"))
    latents = flow.encode((0.1 * data).astype("float32")).numpy()
    np.testing.assert_allclose(np.cov(latents.T, ddof=0), np.eye(3), atol=0.1)
    with pytest.raises(ValueError, match="`whiten` must be True, False or the ridge"):
        kind(3, whiten=None)


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
