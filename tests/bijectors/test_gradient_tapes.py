"""Gradients to arguments and to weights, whatever was computed before the tape began."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, Chain, Logit
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

tfb, tfd = tfp.bijectors, tfp.distributions


def coupling():
    return AffineCoupling(MLP(4, (8,)), Split(1), event_shape=3)


def distribution(bijector):
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 3), bijector)


DISTRIBUTIONS = {
    "a coupling": lambda: distribution(coupling()),
    "in TFP's chain": lambda: distribution(tfb.Chain([coupling(), tfb.Invert(coupling())])),
    "between TFP's": lambda: distribution(
        Chain([tfb.Softplus(), coupling(), tfb.Permute([2, 0, 1])])
    ),
    "a chain of TFP in ours": lambda: distribution(Chain([tfb.Chain([tfb.Exp(), coupling()])])),
    "after a logit": lambda: distribution(Chain([tfb.Invert(Logit(0.01)), coupling()])),
    "a flow": lambda: tfnvp.Flow(tfb.Chain([tfb.Softplus(), coupling()]), 3).distribution,
}


@pytest.fixture(scope="module")
def distributions():
    return {name: perturb(make(), 0.2) for name, make in DISTRIBUTIONS.items()}


@pytest.fixture(params=DISTRIBUTIONS)
def case(request, distributions):
    """The distribution, a sample of it, and the gradients at a copy of the sample."""
    chosen = distributions[request.param]
    x = chosen.sample(4, seed=2)
    copied = tf.identity(x)
    with tf.GradientTape() as tape:
        tape.watch(copied)
        log_prob = chosen.log_prob(copied)
    return chosen, x, tape.gradient(log_prob, [copied, *chosen.trainable_variables])


def assert_same(found, expected):
    for gradient, right in zip(found, expected, strict=True):
        assert gradient is not None
        np.testing.assert_allclose(gradient, right, rtol=1e-4, atol=1e-5)


def test_of_a_sample_that_was_drawn_before(case):
    chosen, x, expected = case
    gradient = tfp.math.value_and_gradient(chosen.log_prob, x)[1]
    assert_same([gradient], expected[:1])


def test_of_a_point_that_was_evaluated_before(case):
    chosen, x, expected = case
    before = chosen.log_prob(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        log_prob = chosen.log_prob(x)
    np.testing.assert_allclose(log_prob, before, rtol=1e-4, atol=1e-5)
    assert_same(tape.gradient(log_prob, [x, *chosen.trainable_variables]), expected)


@pytest.mark.parametrize("watch", ["both", "variables", "listed variables"])
def test_of_a_point_that_is_on_another_tape_too(case, watch):
    chosen, x, expected = case
    sources = [x, *chosen.trainable_variables][watch != "both" :]
    kept = []
    for _ in range(2):
        with tf.GradientTape(watch_accessed_variables=watch != "listed variables") as tape:
            if watch != "variables":
                tape.watch(sources)
            log_prob = chosen.log_prob(x)
        # While an old tape lives, so does what it computed.
        kept.append((tape, log_prob))
    tape, log_prob = kept[-1]
    assert_same(tape.gradient(log_prob, sources), expected[watch != "both" :])


def test_in_a_graph(case):
    chosen, x, expected = case

    @tf.function
    def gradients(x):
        chosen.log_prob(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_prob = chosen.log_prob(x)
        return tape.gradient(log_prob, [x, *chosen.trainable_variables])

    assert_same(gradients(x), expected)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("before", [[], [tfb.Softplus()], [tfb.Invert(Logit(0.01))]])
def test_the_network_still_runs_once(counting_mlp, before, watched):
    network = counting_mlp(4, (8,))
    chosen = distribution(Chain([*before, AffineCoupling(network, Split(1), event_shape=3)]))
    x = tf.fill((2, 3), 0.3)
    counting_mlp.calls = 0
    with tf.GradientTape() as tape:
        if watched:
            tape.watch(x)
        chosen.log_prob(x)
    assert counting_mlp.calls == 1
