"""Flows with `circular` variables: one density on circles, samples, files, served models."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import Angles, Chain, SplineCoupling
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd

pytestmark = pytest.mark.usefixtures("eagerly")
CIRCULAR = {0: (0, 360), 2: (-1, 1)}
TINY = {"couplings": 3, "hidden_units": (4,), "bins": 3}
LOW, HIGH = [0, -np.inf, -1], [360, np.inf, 1]


def rows(n=500, seed=0):
    rng = np.random.default_rng(seed)
    phase = np.degrees(rng.vonmises(0.1, 2.0, size=n)) % 360
    columns = [phase, rng.normal(50, 10, size=n), rng.uniform(-1, 1, size=n)]
    return np.column_stack(columns).astype("float32")


def make(size=3, circular=CIRCULAR, deviation=0.3, **options):
    flow = tfnvp.NeuralSplineFlow(size, circular=circular, **{**TINY, **options})
    if size == 3:
        flow.adapt(rows())
    return perturb(flow, deviation)


@pytest.fixture(scope="module")
def flow():
    return make()


def test_the_density_is_continuous_where_both_ends_meet(flow):
    nats = []
    for first, last in [(1e-4, 0.3), (0, 0.3), (360, 0.3), (360 - 1e-4, 0.3)]:
        nats.append(flow.log_prob([[first, 45.0, last], [first, 60.0, -last]]))
    for first, last in [(7.0, -1 + 1e-6), (7.0, -1), (7.0, 1), (7.0, 1 - 1e-6)]:
        nats.append(flow.log_prob([[first, 45.0, last], [first, 60.0, last]]))
    for one, other in zip(nats[:4] + nats[4:], nats[:1] * 4 + nats[4:5] * 4, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    # Elsewhere it differs.
    assert abs(float(nats[0][0] - flow.log_prob([[180.0, 45.0, 0.3]])[0])) > 0.1


def test_the_density_of_a_circle_is_one():
    # One variable has a density given a condition.
    flow = make(1, {0: (0, 24)}, 0.5, condition_shape=1)
    hours = np.float32(24 * (np.arange(4000) + 0.5) / 4000)[:, None]
    mass = np.mean(np.exp(flow.log_prob(hours, [0.7]))) * 24
    assert mass == pytest.approx(1.0, abs=1e-3)


def test_the_density_of_a_torus_is_one():
    flow = make(2, [(0, 360), (-math.pi, math.pi)], 0.5)
    u = (np.arange(400) + 0.5) / 400
    x = np.stack(np.meshgrid(360 * u, 2 * math.pi * (u - 0.5)), axis=-1).reshape(-1, 2)
    density = np.exp(flow.log_prob(x.astype("float32"))) * 360 * 2 * math.pi
    assert density.mean() == pytest.approx(1.0, abs=1e-3)
    assert density.max() > 3 * density.min()


@pytest.mark.parametrize("base", ["normal", "logistic"])
def test_angles_of_the_base_are_uniform_and_independent_at_every_temperature(base):
    angles = [False, True, False, True]
    flow = tfnvp.Flow(Angles([None] * 4, [None] * 4), 4, base, angles=angles)
    z = flow.sample_latents(20_000, (1, 2), temperature=3.0).numpy()
    np.testing.assert_allclose(np.corrcoef(z.T), np.eye(4), atol=0.03)
    # Normal noise is made of pairs of numbers: squares show what they share.
    np.testing.assert_allclose(np.corrcoef((z**2).T), np.eye(4), atol=0.03)
    distribution = stats.norm if base == "normal" else stats.logistic
    assert stats.kstest(z[:, 0] / 3, distribution.cdf).pvalue > 1e-3
    assert stats.kstest(z[:, 3], stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
    others = flow.distribution.distribution.sample(20_000, seed=(1, 2)).numpy()
    known = flow.distribution.distribution
    np.testing.assert_allclose(others.var(axis=0), known.variance(), rtol=0.05)
    np.testing.assert_allclose(others.mean(axis=0), known.mean(), atol=0.05)


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_samples_lie_in_their_intervals_and_come_back(flow, temperature):
    x = flow.sample(2000, seed=1, temperature=temperature).numpy()
    assert (x >= LOW).all()
    assert (x < HIGH).all()
    assert np.isfinite(flow.log_prob(x)).all()
    np.testing.assert_array_equal(flow.sample(2000, seed=1, temperature=temperature), x)
    tf.config.run_functions_eagerly(False)
    draw = tf.function(lambda: flow.sample_latents(5, (1, 0), 1.0), jit_compile=True)
    np.testing.assert_allclose(draw(), flow.sample_latents(5, (1, 0), 1.0), rtol=1e-6)


def test_check_takes_both_ends_as_one_point(flow, recwarn):
    x = rows()
    x[:4, 0], x[:4, 2] = [0, 360, 1e-4, 360 - 1e-4], [1, -1, 1 - 1e-6, 0]
    found = flow.check(x)
    assert found.round_trip_max < 1e-3
    assert found.non_finite == 0.0
    assert not [w for w in recwarn.list if "does not invert" in str(w.message)]


def test_beyond_its_interval_the_density_is_zero(flow):
    with pytest.warns(UserWarning, match="variable 0 must be from 0 to 360. Received: 361"):
        nats = flow.log_prob([[361.0, 50, 0], [-0.1, 50, 0], [3.0, 50, 1.1], [3.0, 50, 0]])
    assert np.isneginf(nats).tolist() == [True] * 3 + [False]
    assert np.isnan(flow.log_prob([[np.nan, 50, 0], [3.0, np.nan, 0]])).all()


def test_only_real_numbers_are_standardised_and_bounded():
    flow = tfnvp.NeuralSplineFlow(
        (2, 2), circular={2: (0, 24)}, bounds={1: (0, None)}, standardize="robust", **TINY
    )
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(9, 3, 500), rng.gamma(2, size=500), rng.uniform(6, 9, 500)], axis=-1)
    x = np.concatenate([x, rng.normal(size=(500, 1))], axis=-1).reshape(-1, 2, 2).astype("float32")
    flow.adapt(x)
    standardize = flow.bijector.bijectors[-4]
    assert standardize.mean.numpy()[2] == 0.0
    assert standardize.deviation.numpy()[2] == 1.0
    assert (standardize.deviation.numpy()[[0, 1, 3]] != 1.0).all()
    x = perturb(flow).sample(500, seed=0).numpy()
    assert ((x[:, 1, 0] >= 0) & (x[:, 1, 0] < 24) & (x[:, 0, 1] > 0)).all()
    flow.compile()
    x[7, 1, 0] = 24.5
    with pytest.raises(ValueError, match=r"variable 1, 0 must be from 0 to 24\..* x\[7, 1, 0\]"):
        flow.fit(x)
    x[7] = [[6, -1], [6, 0]]
    with pytest.raises(ValueError, match=r"variable 0, 1 must be above 0.*Rows on a bound"):
        flow.fit(x)


def test_files_keep_circles_and_older_ones_have_none(flow, tmp_path):
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert loaded.circular == flow.circular == [(0, 360), None, (-1, 1)]
    np.testing.assert_allclose(loaded.log_prob(rows(50)), flow.log_prob(rows(50)), rtol=1e-6)
    np.testing.assert_allclose(loaded.sample(50, seed=0), flow.sample(50, seed=0), rtol=1e-5)
    config = tfnvp.NeuralSplineFlow(2, **TINY).get_config()
    del config["circular"]
    assert tfnvp.NeuralSplineFlow.from_config(config).circular is None


def test_a_chain_of_ones_own_has_angles_too(tmp_path):
    coupling = SplineCoupling(MLP(10, (4,)), EvenOdd(), 2, bins=3, tails="circular")
    flow = perturb(tfnvp.Flow(Chain([Angles([0, 0], [360, 24]), coupling]), 2, angles=[True, True]))
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    x = flow.sample(20, seed=0)
    np.testing.assert_allclose(loaded.log_prob(x), flow.log_prob(x), rtol=1e-6)
    np.testing.assert_allclose(loaded.sample(20, seed=0), x, rtol=1e-5)
    with pytest.raises(ValueError, match="`angles` must have the shape of the latents"):
        tfnvp.Flow(coupling, 2, angles=[True])


def test_served_models_know_angles(tmp_path):
    flow = make(2, {0: (0, 360)}, couplings=1, bins=2)
    names = ["sample_rows", "interpolate"]
    tf.config.run_functions_eagerly(False)
    served = tf.saved_model.load(flow.export(tmp_path, signatures=names, warmup=())).signatures
    x = flow.sample(1, seed=(1, 2), temperature=2.0)
    hot = {"seed": tf.constant([[1, 2]]), "temperature": tf.constant([2.0])}
    np.testing.assert_allclose(served["sample_rows"](**hot)["x"], x, rtol=1e-4)
    corners = tf.constant([[[350.0, 1.0], [10.0, 1.0], [350.0, 1.0], [10.0, 1.0]]])
    between = served["interpolate"](corners=corners, weights=tf.constant([[0.6, 0.8, 0.0, 0.0]]))
    assert np.cos(np.radians(between["x"][0, 0])) > 0.9


def test_the_way_between_two_angles_is_the_short_one():
    flow = tfnvp.NeuralSplineFlow(2, circular={0: (0, 360), 1: (0, 360)}, **TINY)
    corners = [[350.0, 80.0], [10.0, 100.0], [350.0, 80.0], [10.0, 100.0]]
    middle = flow.interpolate(corners, 3, 3)[:, 1].numpy()
    np.testing.assert_allclose(np.sin(np.radians(middle[:, 0])), 0.0, atol=1e-5)
    assert (np.cos(np.radians(middle[:, 0])) > 0.9).all()
    np.testing.assert_allclose(middle[:, 1], 90.0, rtol=1e-5)


@pytest.mark.slow
def test_a_density_on_both_sides_of_the_seam_is_learned(recwarn):
    # Only training shows that gradients reach the slope at the ends, and the turn.
    tf.config.run_functions_eagerly(False)
    rng = np.random.default_rng(0)
    x = np.column_stack([np.degrees(rng.vonmises(0.2, 1.5, 8000)) % 360, rng.normal(size=8000)])
    x[:2, 0] = 0, 360  # The round trip of both ends at 0.
    flow = tfnvp.NeuralSplineFlow(
        2, couplings=2, hidden_units=(16,), circular={0: (0, 360)}, bins=5
    )
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 640)))
    x = x.astype("float32")
    flow.fit(x, validation_data=x[:100], batch_size=500, epochs=40, verbose=0)
    assert not [w for w in recwarn.list if "does not invert" in str(w.message)]
    y = np.linspace(-4, 4, 200, dtype="float32")
    for angle in (0.0, 360.0):
        grid = np.column_stack([np.full_like(y, angle), y])
        density = np.exp(flow.log_prob(grid)).sum() * (y[1] - y[0])
        truth = stats.vonmises.pdf(0.0, 1.5, 0.2) * math.pi / 180
        assert density == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linear": "lu"}, "`linear` is for real numbers, and `circular` variables are angles"),
        ({"whiten": True}, "`whiten` is for real numbers"),
        ({"logit_alpha": 0.1}, "`logit_alpha` is for real numbers"),
        ({"levels": 256}, "`levels` is for real numbers"),
        ({"standardize": "trained"}, "`standardize` is for real numbers"),
        ({"bounds": {0: (0, None)}}, "must be of different variables.*for variable 0"),
        ({"circular": {"phase": (0, 1)}}, "`circular` must have indices of variables"),
        ({"circular": {0: (0, None)}}, r"`circular` of variable 0 must be a pair \(low, high\)"),
        ({"circular": {0: (1, 1)}}, "`circular` of variable 0 must have low below high"),
    ],
)
def test_options_that_make_no_sense_on_circles_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tfnvp.NeuralSplineFlow(3, **{**TINY, "circular": CIRCULAR, **options})
