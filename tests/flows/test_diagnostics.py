import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.bijector_builders import points
from tests.conftest import perturb
from tfnvp.bijectors import Chain, DiagonalScaling, Logit, MultiScale
from tfnvp.flows.diagnostics import judged_latents

tfb, tfd = tfp.bijectors, tfp.distributions
pytestmark = pytest.mark.usefixtures("eagerly")


def test_check_of_data_from_the_flow_itself():
    flow = tfnvp.RealNVP(3, couplings=4, hidden_units=(8,), base="logistic")
    perturb(flow.bijector)
    report = flow.check(flow.sample(4000, seed=1))
    assert 0 < 2 * report.round_trip_mean < report.round_trip_max < 1e-4
    assert report.latent_mean_deviation < 0.15
    assert report.latent_covariance_deviation < 0.35  # Of variances pi^2 / 3.
    assert report.non_finite == 0.0
    assert set(report.largest_log_det) == {"standardize", *(f"coupling_{i}" for i in range(4))}


def test_check_measures_deviations_and_log_dets():
    flow = tfnvp.Flow(Chain([tfb.Shift(0.5), tfb.Scale(2.0)]), event_shape=2)
    x = np.float32([[0.0, 1.0], [4.0, 5.0], [2.0, 9.0]])
    report = flow.check(x)
    z = (x - 0.5) / 2
    np.testing.assert_allclose(report.latent_mean_deviation, z.mean(0).max(), rtol=1e-5)
    deviation = np.abs(np.cov(z, rowvar=False) - np.eye(2)).max()
    np.testing.assert_allclose(report.latent_covariance_deviation, deviation, rtol=1e-5)
    np.testing.assert_allclose(report.largest_log_det["scale"], 2 * np.log(2), rtol=1e-5)
    assert report.largest_log_det["shift"] == 0.0


def test_log_dets_of_members_inside_of_scales_and_inversions_have_names_of_their_own():
    inner = Chain([DiagonalScaling((2, 2, 2), 0.5), DiagonalScaling((2, 2, 2), 0.25)])
    chain = Chain([tfb.Invert(DiagonalScaling((4, 4, 1), 0.125)), MultiScale(inner)])
    report = tfnvp.Flow(chain, (4, 4, 1)).check(points(3, 4, 4, 1))
    names = ["diagonal_scaling", "diagonal_scaling_1", "diagonal_scaling_2"]
    assert list(report.largest_log_det) == names
    np.testing.assert_allclose(list(report.largest_log_det.values()), [2.0, 4.0, 2.0], rtol=1e-6)


def test_check_tells_the_share_of_non_finite_values():
    flow = tfnvp.Flow(tfb.Invert(Logit(0.0)), event_shape=1)
    report = flow.check([[0.5], [0.25], [0.75], [0.0]])
    # One latent and one log-det of 3 numbers for each of 4 points.
    np.testing.assert_allclose(report.non_finite, 2 / 12)
    assert report.round_trip_max < 1e-6
    assert report.left_out == 1
    nothing = flow.check([[0.0], [1.0]])
    assert np.isnan(nothing.round_trip_max)
    assert nothing.left_out == 2


@pytest.mark.filterwarnings("ignore:.*log-density of such rows")
def test_rows_of_density_0_are_left_out(recwarn):
    for options in ({"bounds": {0: (0.0, None)}}, {"circular": {0: (0.0, 4.0)}}):
        flow = perturb(tfnvp.NeuralSplineFlow(2, 2, (8,), bins=3, **options), 0.1)
        x = points(50, 2).numpy().clip(-1.9, 1.9) + 2
        without = flow.check(x)
        found = flow.check(np.concatenate([x, [[-1.0, 0.0], [np.nan, 0.0]]]))
        assert not [w for w in recwarn if "does not invert" in str(w.message)]
        assert (found.left_out, without.left_out) == (2, 0)
        assert found.non_finite > without.non_finite == 0
        np.testing.assert_allclose(found[:4], without[:4], rtol=1e-4, atol=1e-6)
        assert found.largest_log_det == pytest.approx(without.largest_log_det, rel=1e-5)
        z, judged = judged_latents(flow, np.concatenate([x[:2], [[-1.0, 0.0]], x[2:3]]))
        assert judged.tolist() == [True, True, False, True]
        np.testing.assert_allclose(z, flow.encode(x[:3]), rtol=1e-5, atol=1e-6)
        # Without any to judge, the numbers are NaN, and not those of no rows.
        z, judged = judged_latents(flow, [[-1.0, 0.0]])
        assert np.isnan(z).all()
        assert z.shape == (1, 2)


def test_check_counts_rows_beyond_the_bound_of_splines(recwarn):
    flow = perturb(tfnvp.NeuralSplineFlow((2, 2), 2, (8,), bins=3, bound=3.0))
    x = points(1000, 2, 2).numpy().clip(-2.5, 2.5)
    flow.adapt(10 * x + 7)
    assert flow.check(10 * x + 7).beyond_splines == 0.0
    assert not recwarn.list
    # One variable of a few rows, by standardised units; each coupling moves half of the variables.
    x[:10, 0, 1], x[10:20, 1, 0] = 3.5, -3.5
    with pytest.warns(UserWarning, match=r"2\.00% of the rows have values beyond 3, in units of"):
        report = flow.check(10 * x + 7)
    assert report.beyond_splines == pytest.approx(0.02)
    x[20:510] = np.nan  # Rows without a density do not count.
    with pytest.warns(UserWarning, match=r"3\.92% of the rows"):
        assert flow.check(10 * x + 7).beyond_splines == pytest.approx(20 / 510)
    assert tfnvp.RealNVP((2, 2), 2, (8,)).check(100 * x).beyond_splines == 0.0


def test_check_with_condition_and_custom_base():
    base = tfd.MultivariateNormalTriL(loc=[1.0, 2.0], scale_tril=[[2.0, 0.0], [1.0, 1.0]])
    flow = tfnvp.RealNVP(2, 2, hidden_units=(8,), base=base, condition_shape=1)
    x = base.sample(4000, seed=(1, 2))
    report = flow.check(x, [0.5])
    assert report.latent_mean_deviation < 0.2
    assert report.latent_covariance_deviation < 0.5


def test_check_needs_two_points():
    flow = tfnvp.Flow(tfb.Exp(), event_shape=2)
    with pytest.raises(ValueError, match="at least two points"):
        flow.check(tf.exp(points(1, 2)))


def test_points_that_do_not_come_back_get_a_warning(recwarn):
    flow = perturb(tfnvp.RealNVP(2, couplings=48, hidden_units=(8,)), 0.5)
    flow.check(np.zeros((4, 2)))  # Columns without a deviation have no unit.
    assert not recwarn.list
    with pytest.warns(UserWarning, match="does not invert in float32"):
        flow.check(np.random.default_rng(0).normal(size=(16, 2)))


def test_shares_of_bounded_scales():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=())
    for i, raw in enumerate([0.5, -100.0]):
        coupling = flow.bijector.bijectors[1 + i]
        coupling.conditioner.set_weights([np.zeros((1, 2)), np.float32([0.0, raw])])
    shares = flow.check(points(10, 2)).scale_shares
    assert shares == pytest.approx({"coupling_0": np.tanh(0.5), "coupling_1": 1.0})
    # The mean of rows with a density, whose shares differ.
    flow.bijector.bijectors[1].conditioner.set_weights([np.float32([[0.0, 1.0]]), np.zeros(2)])
    x = np.float32([[0.25, 0.25], [-3.0, -3.0], [np.nan, 0.0]])
    shares = flow.check(x).scale_shares
    assert shares["coupling_0"] == pytest.approx(np.tanh([0.25, 3.0]).mean(), rel=1e-5)
    assert tfnvp.NICE(2, 2, ()).check(points(10, 2)).scale_shares == {}
