"""Flows with `bounds`: the density inside, samples, files, served models, data to train on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb

pytestmark = pytest.mark.usefixtures("eagerly")
BOUNDS = {0: (0, None), 1: (0, 1), 3: (None, 3)}
TINY = {"couplings": 2, "hidden_units": (4,)}


def rows(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    x = np.column_stack(
        [
            rng.gamma(0.5, size=n),
            rng.beta(0.5, 0.5, size=n),
            rng.normal(size=n),
            3 - rng.exponential(size=n),
        ]
    ).astype("float32")
    return x[(x[:, 1] < 1) & (x[:, 3] < 3)]  # As rounded to float32.


def test_no_rows_have_no_densities(flow):
    assert flow.log_prob(rows()[:0]).shape == (0,)


@pytest.fixture(scope="module", params=[tfnvp.RealNVP, tfnvp.NeuralSplineFlow])
def flow(request):
    made = request.param(4, bounds=BOUNDS, **TINY)
    made.adapt(rows())
    return perturb(made, 0.1)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_samples_are_inside_and_have_a_density(flow, temperature):
    x = flow.sample(2000, seed=1, temperature=temperature)
    assert (x.numpy() > [0, 0, -np.inf, -np.inf]).all()
    assert (x.numpy() < [np.inf, 1, np.inf, 3]).all()
    assert np.isfinite(flow.log_prob(x)).all()


def test_the_density_is_one_inside_and_zero_on_bounds_and_beyond():
    flow = perturb(tfnvp.NICE(2, bounds={0: (0, 1), 1: (-1, None)}, **TINY), 0.1)
    # In steps of the unbounded variables, which resolve the ends.
    u, v = (0.1 * (np.arange(200) + 0.5) - 10 for _ in range(2))
    p, w = 1 / (1 + np.exp(-u)), np.exp(v)
    x = np.stack(np.meshgrid(p, w - 1, indexing="ij"), axis=-1).reshape(-1, 2)
    measure = np.multiply.outer(p * (1 - p), w).ravel() * 0.1**2
    inside = (x[:, 0] < 1 - 1e-7) & (x[:, 1] > -1 + 1e-7)
    mass = (np.exp(flow.log_prob(x[inside].astype("float32"))) * measure[inside]).sum()
    assert mass == pytest.approx(1.0, abs=2e-3)
    with pytest.warns(UserWarning, match="must be between 0 and 1"):
        nats = flow.log_prob([[0.0, 0.0], [1.0, 0.0], [0.5, -1.0], [2.0, 0.0], [0.5, 0.0]])
    assert np.isneginf(nats).tolist() == [True] * 4 + [False]


def test_skewed_data_is_nearly_normal_behind_its_bounds():
    # Only `adapt`: the couplings are still the identity.
    x = rows()
    bounded, free = (tfnvp.RealNVP(4, bounds=b, **TINY) for b in (BOUNDS, None))
    for flow in (bounded, free):
        flow.adapt(x)
    # The entropies of gamma, beta, normal and exponential, with the signs of densities.
    truth = -0.0906 + 0.2416 - 1.4189 - 1.0
    assert truth - 0.45 < np.mean(bounded.log_prob(x)) < truth + 0.1
    assert np.mean(free.log_prob(x)) < truth - 0.7


@pytest.mark.parametrize("power", [-30, 20])
def test_units_change_log_densities_by_a_constant_alone(power):
    x, c = rows(), np.float32([2.0**power, 1, 1, 1])
    scaled = {0: (0, None), 1: (0, 1), 3: (None, 3)}
    first, second = (tfnvp.RealNVP(4, bounds=b, **TINY) for b in (BOUNDS, scaled))
    first.adapt(x)
    second.adapt(x * c)
    shift = power * np.log(2)
    np.testing.assert_allclose(second.log_prob(x * c) + shift, first.log_prob(x), atol=2e-5)


def test_files_keep_bounds_and_older_ones_have_none(flow, tmp_path):
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert loaded.bounds == flow.bounds == [(0.0, None), (0.0, 1.0), None, (None, 3.0)]
    np.testing.assert_array_equal(loaded.log_prob(rows(50)), flow.log_prob(rows(50)))
    config = tfnvp.RealNVP(2, **TINY).get_config()
    del config["bounds"]
    assert tfnvp.RealNVP.from_config(config).bounds is None


def test_variables_of_shaped_data_are_bounded_by_their_flat_index():
    flow = perturb(tfnvp.RealNVP((2, 2), bounds={2: (5, 6)}, **TINY))
    x = flow.sample(100, seed=0).numpy()
    assert ((x[:, 1, 0] > 5) & (x[:, 1, 0] < 6)).all()
    x[7, 1, 0] = 6.0
    flow.compile()
    with pytest.raises(ValueError, match=r"variable 1, 0 must be between 5 and 6\..* x\[7, 1, 0\]"):
        flow.fit(x)


def test_rows_on_bounds_are_left_out_of_data_sets_and_counted(flow):
    x = rows(100)
    x[::5, 0] = 0.0
    finite = tfnvp.data.FiniteRows(flow)
    kept = np.concatenate(
        list(tf.data.Dataset.from_tensor_slices(x).batch(32).apply(finite).as_numpy_iterator())
    )
    assert finite.skipped == 20
    assert (kept[:, 0] > 0).all()


def test_logarithms_of_extreme_values_take_part_in_the_initialisation(recwarn):
    x = rows()
    x[:, 0] = np.exp(6 * np.random.default_rng(1).normal(size=len(x)))
    flow = tfnvp.RealNVP(4, bounds=BOUNDS, **TINY)
    flow.adapt(x)
    assert not [w for w in recwarn.list if "further from the median" in str(w.message)]


@pytest.mark.parametrize("other", [{"logit_alpha": 0.01}, {"levels": 256}])
def test_grey_levels_have_no_bounds(other):
    with pytest.raises(ValueError, match="`bounds` are for real numbers, `logit_alpha` and"):
        tfnvp.NICE(4, bounds=BOUNDS, **TINY, **other)
