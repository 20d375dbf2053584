"""Bijectors in TFP's transformed distributions (its transformed_distribution_test.py)."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijector_builders import coupling, points, scaling
from tfnvp.bijectors import Chain, DiagonalScaling
from tfnvp.partitions import EvenOdd, Split

tfb, tfd = tfp.bijectors, tfp.distributions


@pytest.fixture(scope="module")
def distribution():
    chain = Chain([coupling(), coupling(partition=EvenOdd(swapped=True)), scaling()])
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 4), chain)


def test_shapes_seeds_and_densities_of_samples(distribution):
    assert distribution.event_shape.as_list() == [4]
    assert distribution.batch_shape.as_list() == []
    assert distribution.sample((2, 3), seed=(0, 1)).shape.as_list() == [2, 3, 4]
    x, log_prob = distribution.experimental_sample_and_log_prob(100, seed=(0, 1))
    np.testing.assert_allclose(
        log_prob, distribution.log_prob(tf.identity(x)), rtol=1e-4, atol=1e-4
    )
    first, second = (distribution.sample(5, seed=(3, 4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, distribution.sample(5, seed=(3, 5)))


def test_density_integrates_to_one_and_samples_follow_it():
    chain = Chain([coupling(size=2), coupling(size=2, partition=EvenOdd(swapped=True))])
    d = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), chain)
    axis = np.linspace(-12.0, 12.0, 401, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    mass = np.exp(d.log_prob(grid)) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(mass.sum(), 1.0, atol=1e-3)
    # The mean by quadrature against that of samples, to five standard errors.
    samples = d.sample(20_000, seed=(5, 6)).numpy()
    error = 5 * samples.std(0) / np.sqrt(len(samples))
    assert (np.abs(samples.mean(0) - mass @ grid) < error).all()


def test_agrees_with_scipy():
    from scipy import stats

    b = DiagonalScaling(2, initial_log_scale=[0.5, -0.5])
    d = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 2), b)
    x = points(5, 2).numpy()
    expected = stats.norm(0.0, np.exp([0.5, -0.5])).logpdf(x).sum(1)
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-5)


def test_bijector_kwargs_reach_the_coupling():
    d = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), 4), coupling(condition_shape=2, name="c")
    )
    x, c = points(3, 4), points(3, 2, seed=2)
    log_prob = d.log_prob(x, bijector_kwargs={"condition": c})
    other = d.log_prob(tf.identity(x), bijector_kwargs={"condition": c + 1.0})
    assert (np.abs(log_prob - other) > 1e-6).all()


def of_splines(dtype, bins, couplings):
    couplings = [
        coupling("spline", 2, Split(1, swapped=i == 1), dtype, bins=bins, bound=3.0)
        for i in range(couplings)
    ]
    base = tfd.Sample(tfd.Normal(tf.constant(0.0, dtype), 1.0), 2)
    return tfd.TransformedDistribution(base, Chain(couplings))


def test_densities_of_splines_have_second_derivatives():
    d, x, h = of_splines("float64", 3, 2), points(8, 2, dtype=tf.float64), 1e-6

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            nats = d.log_prob(x)
        return tape.gradient(nats, x)

    for i, step in enumerate(np.eye(2) * h):
        with tf.GradientTape() as tape:
            tape.watch(x)
            of_one = gradient(x)[:, i]
        second = tape.gradient(of_one, x)
        differences = (d.log_prob(x + step) - d.log_prob(x - step)) / (2 * h)
        np.testing.assert_allclose(gradient(x)[:, i], differences, rtol=1e-5, atol=1e-5)
        differences = (gradient(x + step) - gradient(x - step)) / (2 * h)
        np.testing.assert_allclose(second, differences, rtol=1e-5, atol=1e-5)
        assert (np.abs(second).max(axis=0) > 1e-2).all()


def test_hamiltonian_monte_carlo_goes_through_splines():
    d = of_splines("float32", 2, 1)
    # With the right gradients of values and log-dets, small steps keep the energy.
    kernel = tfp.mcmc.HamiltonianMonteCarlo(
        tfd.MultivariateNormalDiag(tf.zeros(2)).log_prob, step_size=0.05, num_leapfrog_steps=3
    )
    kernel = tfp.mcmc.TransformedTransitionKernel(kernel, d.bijector)
    draws, ratios = tfp.mcmc.sample_chain(
        5,
        d.sample(16, seed=(0, 1)),
        kernel=kernel,
        trace_fn=lambda _, results: results.inner_results.log_accept_ratio,
        seed=(0, 2),
    )
    assert (np.std(draws, axis=0) > 1e-3).all()
    assert np.abs(ratios).max() < 0.1
