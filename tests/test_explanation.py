"""Which variables make rows unusual, and which values would be likely instead."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import tfnvp
from tests.conftest import perturb
from tfnvp import scoring
from tfnvp.scoring import replacement_gains

CORRELATIONS = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.9], [0.9, 0.9, 1.0]])


@pytest.fixture(scope="module")
def gaussian():
    """A flow with the density of correlated normal variables."""
    root = np.linalg.cholesky(CORRELATIONS).astype("float32")
    return tfnvp.Flow(tfp.bijectors.ScaleMatvecTriL(root), 3)


@pytest.fixture(scope="module")
def conditional():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), condition_shape=(1,))
    return perturb(flow)


@pytest.fixture(scope="module")
def positive():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,), bounds={0: (0, None)})
    return perturb(flow, 0.1)


def test_gains_are_those_of_the_likeliest_value_given_the_others(gaussian):
    rows = np.random.default_rng(0).normal(size=(50, 3)) @ np.linalg.cholesky(CORRELATIONS).T
    rows[0] = [1.0, -1.0, 1.0]  # Each is usual by itself.
    gains, values = replacement_gains(gaussian, rows)
    precision = np.linalg.inv(CORRELATIONS)
    slope, curvature = rows @ precision, np.diag(precision)
    exact = slope**2 / (2 * curvature)
    assert (gains >= 0).all()
    assert (gains <= exact + 1e-4).all()
    # Of candidates with steps of 0.2, the next one is at most 0.1 away, but for chance.
    np.testing.assert_allclose(gains, exact, atol=curvature.max() * 0.2**2 / 2)
    unusual = gains > 1
    likely = rows - slope / curvature
    np.testing.assert_allclose(values[unusual], likely[unusual], atol=0.2)
    assert gains[0].argmax() == 1
    assert gains[0, 1] > 10
    # By itself, a value of 1 would be explained by at most this.
    assert gains[0, 1] > stats.norm.logpdf(0) - stats.norm.logpdf(1)


def test_the_gain_is_that_of_the_row_with_the_new_value(conditional, positive):
    rows = np.random.default_rng(1).uniform(0.5, 3.0, size=(6, 2)).astype("float32")
    conditions = np.linspace(-1, 1, 6, dtype="float32")[:, np.newaxis]
    for flow, condition in [(conditional, conditions), (conditional, [0.3]), (positive, None)]:
        gains, values = replacement_gains(flow, rows, condition)
        nats = flow.log_prob(rows, condition).numpy()
        for j in range(2):
            replaced = rows.copy()
            replaced[:, j] = values[:, j]
            rise = flow.log_prob(replaced, condition).numpy() - nats
            np.testing.assert_allclose(gains[:, j], rise, rtol=1e-4, atol=1e-5)
            again = replacement_gains(flow, replaced, condition).gains[:, j]
            np.testing.assert_allclose(again, 0.0, atol=1e-5)
    assert gains.max() > 1


def test_a_piece_at_a_time_gives_the_same(conditional, monkeypatch):
    rows, conditions = np.float32([[3, 0], [0, 3], [np.nan, 0], [1, -3]]), np.eye(4, 1)
    whole = replacement_gains(conditional, rows, conditions)
    monkeypatch.setattr("tfnvp.scoring.explanation._ELEMENTS", 2 * 34 * 2)
    for part, expected in zip(replacement_gains(conditional, rows, conditions), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


def test_grey_levels_are_replaced_by_grey_levels():
    flow = perturb(tfnvp.NICE((2, 2), couplings=2, hidden_units=(8,), levels=4))
    rows = np.array([[[0, 3], [1, 2]], [[3, 3], [3, 0]]], "uint8")
    gains, values = replacement_gains(flow, rows)
    assert gains.shape == values.shape == (2, 2, 2)
    assert values.dtype == "uint8"
    assert values.max() <= 3
    assert gains.max() > 0.1
    np.testing.assert_array_equal(values[gains == 0], rows[gains == 0])
    which, largest, _ = scoring.Explanation(gains, values).largest(1)
    replaced = rows.copy().reshape(2, 4)
    replaced[[0, 1], which[:, 0]] = values.reshape(2, 4)[[0, 1], which[:, 0]]
    again = replacement_gains(flow, replaced.reshape(2, 2, 2)).gains.reshape(2, 4)
    assert (largest > 0).all()
    np.testing.assert_allclose(again[[0, 1], which[:, 0]], 0.0, atol=1e-5)


def test_rows_without_a_density(positive):
    rows = np.array([[-1.0, 0.5], [1.0, 1e300], [-1.0, 1e300], [np.nan, 0.5], [1.0, np.inf]])
    with pytest.warns(UserWarning, match="must be above 0") as given:
        gains, values = replacement_gains(positive, rows)
    assert len(given) == 1
    np.testing.assert_array_equal(gains[:3], [[np.inf, 0.0], [0.0, np.inf], [0.0, 0.0]])
    assert values[0, 0] > 0
    assert np.isfinite(positive.log_prob([[values[0, 0], 0.5], [1.0, values[1, 1]]])).all()
    assert np.isnan(gains[3:]).all()
    np.testing.assert_array_equal(values[2:], rows[2:])
    # Nothing is known of a flow whose weights are not finite.
    broken = tfnvp.Flow(tfp.bijectors.Shift(tf.Variable([np.nan, 0.0])), 2)
    assert np.isnan(replacement_gains(broken, [[0.0, 0.0]]).gains).all()


def test_what_does_not_fit_is_an_error(conditional):
    with pytest.raises(ValueError, match="`rows` must have the shape"):
        replacement_gains(conditional, np.zeros((1, 3)), [0.0])
    with pytest.raises(ValueError, match="`condition` is missing"):
        replacement_gains(conditional, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="`most` must be a positive int"):
        scoring.Explanation(np.zeros((1, 2)), np.zeros((1, 2))).largest(0)
