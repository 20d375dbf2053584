import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.evaluation import evaluate


@pytest.fixture(scope="module")
def conditional():
    """A flow of four grey levels with a condition of two numbers."""
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,), condition_shape=2, levels=4)
    return perturb(flow)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 4, (1001, 2))


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001])
def test_one_condition_serves_every_row(conditional, pixels, rows):
    one = np.float32([0.5, -1.0])
    results = [
        evaluate(conditional, pixels[:rows], 1, condition=condition)
        for condition in (one, one[np.newaxis], np.tile(one, [rows, 1]))
    ]
    assert [result.rows for result in results] == [rows] * 3
    np.testing.assert_allclose([result.nats for result in results], results[0].nats, rtol=1e-6)
    other = evaluate(conditional, pixels[:rows], 1, condition=-one)
    assert other.nats != pytest.approx(results[0].nats, rel=1e-4)


def test_it_averages_rows_and_draws_of_noise(conditional, pixels):
    condition = np.random.default_rng(1).normal(size=(1001, 2)).astype("float32")
    found = evaluate(conditional, pixels, 2, condition=condition)
    # Every row has its own condition, also beyond the first thousand, and every chunk its seed.
    log_probs = []
    for first, last in ((0, 1000), (1000, 1001)):
        draws = [
            conditional.log_prob(
                tfnvp.data.dequantize(pixels[first:last], 4, seed=(2 + first, i)),
                condition[first:last],
            )
            for i in range(2)
        ]
        log_probs += list(np.mean(draws, axis=0))
    assert found.nats == pytest.approx(np.mean(log_probs), rel=1e-5)
    assert found.nats_standard_error == pytest.approx(
        np.std(log_probs, ddof=1) / np.sqrt(1001), rel=1e-4
    )
    assert found.bits_per_dim == pytest.approx(conditional.bits_per_dim(found.nats))
    assert found.bits_per_dim_standard_error == pytest.approx(
        found.nats_standard_error / (2 * np.log(2))
    )
    assert (found.rows, found.draws) == (1001, 2)


def test_arguments_that_give_no_likelihood_are_errors(conditional, pixels):
    for draws in (0, 2.5, True):
        with pytest.raises(ValueError, match="`draws` must be a positive int"):
            evaluate(conditional, pixels, draws)
    for rows, message in (
        (pixels / 4.0, "whole grey levels"),
        (pixels + 1, "grey levels from 0 to"),
    ):
        for given in (rows, rows.tolist(), tf.constant(rows), tf.Variable(rows)):
            with pytest.raises(ValueError, match=message):
                evaluate(conditional, given, condition=np.ones(2))


def test_the_importance_weighted_bound_is_the_mean_of_densities(conditional, pixels):
    rows, condition = pixels[:50], np.ones(2, "float32")
    found = evaluate(conditional, rows, 4, condition=condition, bound="iwae")
    draws = [
        conditional.log_prob(tfnvp.data.dequantize(rows, 4, seed=(2, i)), condition)
        for i in range(4)
    ]
    expected = np.log(np.mean(np.exp(np.float64(draws)), axis=0)).mean()
    assert found.nats == pytest.approx(expected, rel=1e-6)
    assert found.bound == "iwae"
    assert found.nats > evaluate(conditional, rows, 4, condition=condition).nats
    with pytest.raises(ValueError, match="`bound` must be one of elbo, iwae"):
        evaluate(conditional, rows, condition=condition, bound="best")
    with pytest.raises(ValueError, match=r"`seed` must be an int of 0 .* Received: \(1, 2\)"):
        evaluate(conditional, rows, condition=condition, seed=(1, 2))


def test_rows_without_a_finite_density_are_counted(conditional):
    import tensorflow_probability as tfp

    flow = tfnvp.Flow(tfp.bijectors.Exp(), 1)
    x = np.float32([[1.0], [0.0], [2.0]])
    with pytest.warns(UserWarning, match="1 of 3 rows have the log-density .*first is row 2"):
        assert not np.isfinite(evaluate(flow, x).nats)
    assert (evaluate(flow, x[:1]).draws, evaluate(flow, x[:1]).bits_per_dim) == (1, None)
    with pytest.raises(ValueError, match="`rows` must hold one row or more"):
        evaluate(flow, x[:0])


def test_rows_outside_of_the_support_are_warned_of_once():
    flow = tfnvp.RealNVP(2, 2, (4,), bounds={0: (0, None)})
    rows = np.ones((1500, 2), "float32")
    rows[[3, 1200], 0] = -1.0
    with pytest.warns(UserWarning, match="have the log-density -inf") as caught:
        evaluate(flow, rows)
    messages = [str(w.message) for w in caught if "must be above 0" in str(w.message)]
    assert len(messages) == 1
    assert "x[3, 0]; 2 of 1500 values" in messages[0]
