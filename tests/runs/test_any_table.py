import types

import keras
import numpy as np
import pytest

import tfnvp
from tfnvp.runs import any_table
from tfnvp.runs.any_table import NOISES, fit_table


def flow_of(columns):
    """A small flow, whose networks always start with the same weights."""
    keras.utils.set_random_seed(0)
    return tfnvp.RealNVP(columns, couplings=2, hidden_units=(8,))


def normal(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype("float32")


class Stub:
    """A training whose flow is best with the noise 0.2, as held-out rows see it."""

    def __init__(self, *args):
        self.runs = []
        self.flow = types.SimpleNamespace(log_prob=self._log_prob)

    def run(self, rows, weight, noise):
        self.runs.append((len(rows), noise))

    def _log_prob(self, rows):
        nats = -abs(self.runs[-1][1] - 0.2) * np.ones(len(rows), "float32")
        return types.SimpleNamespace(numpy=lambda: nats)


@pytest.mark.parametrize("rows", [9, 40])
def test_held_out_rows_choose_the_noise_and_all_rows_train(monkeypatch, rows):
    stub = Stub()
    monkeypatch.setattr(any_table, "_Training", lambda *args: stub)
    monkeypatch.setattr(any_table, "SMALL", 40)
    monkeypatch.setattr(any_table, "NOISE", 0.3)
    found = fit_table(flow_of(2), normal(rows, 2))
    assert found.noise == (0.2 if rows == 40 else 0.3)
    trials = [(36, noise) for noise in NOISES] if rows == 40 else []
    assert stub.runs == [*trials, (rows, found.noise)]


def test_trials_leave_nothing_behind(monkeypatch):
    monkeypatch.setattr(any_table, "SMALL", 30)
    x = normal(30, 3)
    chosen, fixed = flow_of(3), flow_of(3)
    noise = fit_table(chosen, x, steps=10).noise
    fit_table(fixed, x, noise=noise, steps=10)
    np.testing.assert_allclose(chosen.log_prob(x), fixed.log_prob(x), rtol=1e-5)
    assert np.mean(chosen.log_prob(x)) != pytest.approx(np.mean(flow_of(3).log_prob(x)), abs=0.01)


def test_weights_are_repetitions_in_any_order():
    x, weight = normal(20, 2), np.arange(20) % 3
    repeated = np.repeat(x, weight, axis=0)[::-1]
    first, second = flow_of(2), flow_of(2)
    fit_table(first, x, weight / 7, noise=0.1, steps=10)
    fit_table(second, repeated, noise=0.1, steps=10)
    np.testing.assert_allclose(first.log_prob(x), second.log_prob(x), rtol=1e-5)


def test_few_rows_with_constant_columns_have_a_density():
    x = normal(33, 19)
    x[:, 3] = 7.0
    x[:, 5] = 0.0
    flow = flow_of(19)
    fit_table(flow, x, noise=0.2, steps=60)
    moved = x.copy()
    moved[:, 3] += 3.0
    usual = flow.log_prob(x).numpy()
    assert np.isfinite(usual).all()
    assert (flow.log_prob(moved).numpy() < usual - 3.0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise": -0.1}, '`noise` must be "auto" or a number of 0 or more. Received: -0.1'),
        ({"noise": "small"}, "`noise` must be"),
        ({"steps": 0}, "`steps` must be a positive int. Received: 0"),
        ({"validation_fraction": 1.0}, "`validation_fraction` must be between 0 and 1"),
        ({"sample_weight": np.zeros(12)}, "`sample_weight` must not be 0 for all rows"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_table(flow_of(2), normal(12, 2), **arguments)
