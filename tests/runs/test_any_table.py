import functools

import numpy as np
import pytest

import tfnvp
from tfnvp.bases import GaussianMixture
from tfnvp.runs import any_table
from tfnvp.runs.any_table import TableSetting, fit_table

TINY = TableSetting(couplings=2, noise=0.1, steps=10, components=(1, 2))


def fit(rows, sample_weight=None, **setting):
    """A small flow of the rows."""
    make = functools.partial(tfnvp.RealNVP, rows.shape[1], hidden_units=(8,))
    return fit_table(make, rows, sample_weight, TINY._replace(**setting))


def normal(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype("float32")


@pytest.fixture
def _untrained(monkeypatch):
    """Flows as they are before their steps, which take longer than what is chosen for them."""
    monkeypatch.setattr(any_table, "_train", lambda *args: None)


@pytest.mark.usefixtures("_untrained")
def test_held_out_rows_or_a_rule_choose_the_noise():
    narrow = 0.01 * normal(100, 2) + np.sign(normal(100, 1, seed=1))
    assert fit(narrow, noise="auto", components=(2,)).noise == 0.02
    assert fit(normal(100, 2), noise="auto").noise == 0.4
    assert fit(narrow, noise="auto", bandwidth=3.0, components=(1,)).noise == pytest.approx(
        3 * 100 ** (-1 / 6)
    )
    assert fit(narrow, noise=0.3, bandwidth=3.0, components=(1,)).noise == 0.3


def test_flows_start_from_a_mixture_and_learn():
    x = normal(100, 2)
    x[:, 1] = 0.3 * x[:, 1] + x[:, 0] ** 2
    found = {}
    for base in ("normal", "gaussian_mixture"):
        for steps in (1, 300):
            flow = fit(x, base=base, steps=steps, components=(2,)).flows[0]
            found[base, steps] = np.mean(flow.log_prob(x))
    assert isinstance(flow.base, GaussianMixture)
    assert found["gaussian_mixture", 1] > found["normal", 1] + 0.1
    assert found["normal", 300] > found["normal", 1] + 0.1
    assert found["gaussian_mixture", 300] > found["gaussian_mixture", 1] + 0.1


@pytest.mark.usefixtures("_untrained")
def test_small_tables_have_fewer_couplings_and_all_have_steps(monkeypatch):
    monkeypatch.setattr(any_table, "SMALL", 30)
    for rows, couplings in ((29, 4), (30, 8)):
        # Rows of weight 0 and repeated ones do not count.
        x = np.tile(normal(rows + 1, 2), (2, 1))
        weight = np.tile(np.arange(rows + 1) > 0, 2)
        fitted = fit(x, weight, couplings="auto")
        assert fitted.flows[0].get_config()["couplings"] == couplings
    assert fit(normal(20, 2), steps="auto").steps == any_table.steps_for(20, 2)


def test_weights_are_repetitions_in_any_order():
    x, weight = normal(20, 2), np.arange(20) % 3
    repeated = np.repeat(x, weight, axis=0)[::-1]
    first, second = fit(x, weight / 7).flows[0], fit(repeated).flows[0]
    np.testing.assert_allclose(first.log_prob(x), second.log_prob(x), rtol=1e-5)
    assert (first.log_prob(x).numpy() != fit(x).flows[0].log_prob(x).numpy()).any()


@pytest.mark.usefixtures("_untrained")
@pytest.mark.parametrize("weight", [2.0, 1e-9], ids=["one is repeated", "one does not count"])
def test_weights_change_choices_only_as_rows_do(weight):
    """A mixture of copies fits each row by a Gaussian, and far rows would set the scale."""
    x, weights = normal(61, 4), np.append(np.ones(60), weight)
    x[60] += 1000.0 * (weight < 1.0)
    options = {"noise": "auto", "components": (1, 8, 64)}
    found, expected = fit(x, weights, **options), fit(x[:60], **options)
    assert found.noise == expected.noise == 0.4
    assert found.flows[0].base.loc.shape == expected.flows[0].base.loc.shape
    new = normal(100, 4, seed=1)
    densities = [np.mean(fitted.flows[0].log_prob(new)) for fitted in (found, expected)]
    np.testing.assert_allclose(*densities, atol=0.2)


def test_few_rows_with_constant_columns_have_a_density():
    x = normal(33, 19)
    x[:, 3] = 7.0
    x[:, 5] = 0.0
    flow = fit(x, noise=0.2, steps=60).flows[0]
    moved = x.copy()
    moved[:, 3] += 3.0
    usual = flow.log_prob(x).numpy()
    assert np.isfinite(usual).all()
    assert (flow.log_prob(moved).numpy() < usual - 3.0).all()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"base": "uniform"}, "`base` must be one of .* Received: 'uniform'"),
        ({"noise": -0.1}, '`noise` must be "auto" or a number of 0 or more. Received: -0.1'),
        ({"noise": "small"}, "`noise` must be"),
        ({"steps": 0}, "`steps` must be a positive int. Received: 0"),
        ({"validation_fraction": 1.0}, "`validation_fraction` must be between 0 and 1"),
    ],
)
def test_settings_out_of_range_are_errors(setting, message):
    with pytest.raises(ValueError, match=message):
        fit(normal(12, 2), **setting)


def test_rows_of_no_weight_are_an_error():
    with pytest.raises(ValueError, match="`sample_weight` must not be 0 for all rows"):
        fit(normal(12, 2), np.zeros(12))
