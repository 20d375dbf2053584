"""What bijectors remember: never stale, right on every tape, and networks are called once."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.bijector_builders import coupling, mixed, points, scaling
from tests.conftest import perturb
from tfnvp.bijectors import Chain, DiagonalScaling, Logit
from tfnvp.partitions import EvenOdd

tfb, tfd = tfp.bijectors, tfp.distributions
CHAINS = {"ours": Chain, "TFP's": tfb.Chain}
each_chain = pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
each_mode = pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])


def distribution(bijector, size=4):
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), size), bijector)


# --- Once ---------------------------------------------------------------------------------------


@each_chain
@each_mode
def test_each_network_is_called_once(counting_mlp, chain, wrap):
    chosen = distribution(chain(mixed(network=counting_mlp)))
    x = points(3, 4)

    def with_gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_prob = chosen.log_prob(x)
        return tape.gradient(log_prob, x)

    for evaluate in (
        lambda: chosen.log_prob(x),
        lambda: chosen.sample(3),
        lambda: chosen.experimental_sample_and_log_prob(3),
        lambda: chosen.log_prob(chosen.sample(3)),
        with_gradients,
    ):
        counting_mlp.calls = 0
        wrap(evaluate)()
        assert counting_mlp.calls == 2


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("before", [[tfb.Softplus()], [tfb.Invert(Logit(0.01))]])
def test_networks_beside_other_bijectors_are_called_once_on_a_tape(counting_mlp, before, watched):
    chosen = distribution(Chain([*before, coupling(network=counting_mlp)]))
    x = tf.fill((2, 4), 0.3)
    counting_mlp.calls = 0
    with tf.GradientTape() as tape:
        if watched:
            tape.watch(x)
        chosen.log_prob(x)
    assert counting_mlp.calls == 1


# --- Never stale --------------------------------------------------------------------------------


def assign(variables):
    for variable in variables:
        variable.assign_add(0.1 * tf.ones_like(variable))


def optimize(variables):
    keras_variables = [tfnvp._internals.AdoptedVariable(v, name="v") for v in variables]
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(keras_variables)
    optimizer.apply([-tf.ones_like(v) for v in variables], keras_variables)


UPDATES = {
    "assign": assign,
    "optimizer": optimize,
    "function": lambda variables: tf.function(lambda: assign(variables))(),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize("wrap", [*CHAINS.values(), lambda b: b[0]], ids=[*CHAINS, "alone"])
def test_no_stale_result_after_an_update_of_weights(wrap, update):
    bijector = wrap(mixed())
    chosen, x, z = distribution(bijector), points(3, 4), points(3, 4, seed=2)
    methods = (
        chosen.log_prob,
        bijector.inverse,
        bijector.inverse_log_det_jacobian,
        bijector.forward,
        bijector.forward_log_det_jacobian,
    )
    y = bijector.forward(z)
    before = [method(x) for method in methods]  # Held, so that it is remembered.
    update(bijector.trainable_variables)
    after = [method(x) for method in methods]
    fresh = [method(tf.identity(x)) for method in methods]
    for old, now, expected in zip(before, after, fresh, strict=True):
        np.testing.assert_allclose(now, expected, rtol=1e-6)
        assert np.abs(now - old).max() > 1e-4
    np.testing.assert_array_equal(bijector.inverse(y), bijector.inverse(tf.identity(y)))
    assert np.abs(bijector.inverse(y) - z).max() > 1e-4


@each_chain
def test_no_stale_result_within_one_graph(chain):
    bijector = chain(mixed())
    variable = bijector.trainable_variables[0]

    @tf.function
    def before_and_after(x):
        before = bijector.inverse(x)
        variable.assign_add(tf.ones_like(variable))
        return before, bijector.inverse(x)

    x = points(3, 4)
    expected = bijector.inverse(tf.identity(x))
    before, after = before_and_after(x)
    np.testing.assert_allclose(before, expected, rtol=1e-5)
    np.testing.assert_allclose(after, bijector.inverse(tf.identity(x)), rtol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_results_of_a_branch_do_not_leave_it():
    b = Logit()

    @tf.function
    def f(x):
        inside = tf.cond(x[0, 0] > 2.0, lambda: b.forward(x), lambda: x)
        return inside, b.forward(x)

    x = tf.sigmoid(points(3, 4))
    np.testing.assert_allclose(f(x)[1], b.forward(x), rtol=1e-6)


def test_tfps_own_bijectors_are_never_stale_in_our_chain():
    shift = tf.Variable(1.0)
    chain, x = Chain([tfb.Shift(shift), scaling()]), points(3, 4)
    before = chain.forward(x)
    shift.assign(2.0)
    np.testing.assert_allclose(chain.forward(x), before + 1.0, rtol=1e-6)


def test_bijectors_of_equal_arguments_and_unequal_weights_do_not_share():
    a, b, x = DiagonalScaling(4), perturb(DiagonalScaling(4)), points(3, 4)
    np.testing.assert_allclose(b.inverse(a.forward(x)), x * tf.exp(-b.log_scale.value), rtol=1e-6)


def test_another_condition_is_another_question():
    b, x = coupling(condition_shape=2), points(3, 4)
    first = b.forward(x, condition=tf.zeros(2))
    assert np.abs(b.forward(x, condition=tf.ones(2)) - first).max() > 1e-4
    # An array can change its numbers.
    condition = np.zeros(2, "float32")
    np.testing.assert_array_equal(b.forward(x, condition=condition), first)
    condition[:] = 1.0
    assert np.abs(b.forward(x, condition=condition) - first).max() > 1e-4


# --- Right on every tape ------------------------------------------------------------------------

DISTRIBUTIONS = {
    "a coupling": coupling,
    "in TFP's chain": lambda: tfb.Chain([coupling(), tfb.Invert(coupling())]),
    "between TFP's": lambda: Chain([tfb.Softplus(), coupling(), tfb.Permute([2, 0, 1, 3])]),
    "TFP's chain in ours": lambda: Chain([tfb.Chain([tfb.Exp(), coupling()])]),
    "after a logit": lambda: Chain([tfb.Invert(Logit(0.01)), coupling()]),
    "a flow": lambda: tfnvp.Flow(tfb.Chain([tfb.Softplus(), coupling()]), 4).bijector,
}


@pytest.fixture(scope="module", params=DISTRIBUTIONS)
def case(request):
    """The distribution, a sample of it, and the gradients at a copy of the sample."""
    chosen = distribution(DISTRIBUTIONS[request.param]())
    if request.param == "a flow":
        chosen = tfnvp.Flow(chosen.bijector, 4).distribution
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


@each_mode
def test_of_a_sample_drawn_before_the_tape(case, wrap):
    chosen, _, _ = case

    @wrap
    def gradients():
        sample, found = chosen.sample(4, seed=(1, 2)), []
        for x in (sample, tf.identity(sample)):
            chosen.log_prob(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                log_prob = chosen.log_prob(x)
            found.append(tape.gradient(log_prob, [x, *chosen.trainable_variables]))
        return found

    assert_same(*gradients())


def test_of_values_and_gradients_by_tfp(case):
    chosen, x, expected = case
    assert_same([tfp.math.value_and_gradient(chosen.log_prob, x)[1]], expected[:1])


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


def test_of_a_source_that_is_watched_later():
    b, x = coupling(), points(3, 4)
    with tf.GradientTape(persistent=False, watch_accessed_variables=False) as tape:
        tape.watch(b.trainable_variables[0])
        y = b.forward(x)
        tape.watch(x)
        log_det = b.forward_log_det_jacobian(x)
    gradient = tape.gradient(log_det, x)
    assert y is not None
    assert np.abs(gradient).max() > 1e-4


def test_of_what_a_tape_did_not_record():
    b, x = coupling(), points(3, 4)
    with tf.GradientTape() as tape:
        tape.watch(x)
        recorded = b.forward(x)
        with tape.stop_recording():
            y = b.forward(x)
        result = tf.reduce_sum(y)
    assert recorded is not y
    assert tape.gradient(result, x) is None


def test_of_an_inner_tape_that_watches_variables_as_they_are_read():
    b, x = coupling(), points(3, 4)
    variables = b.trainable_variables
    with tf.GradientTape() as outer:
        outer.watch(x)
        kept = b.forward(x)
        with tf.GradientTape() as inner:
            log_det = b.forward_log_det_jacobian(x)
        first = inner.gradient(log_det, variables[0])
        penalty = tf.reduce_sum(first**2) + 0 * tf.reduce_sum(kept)
    assert np.abs(outer.gradient(penalty, x)).max() > 1e-6


def test_forward_mode_derivatives_after_use():
    b, x = Chain([coupling(), coupling(partition=EvenOdd(swapped=True))]), points(3, 4)
    kept = b.forward(x), b.forward_log_det_jacobian(x)
    with tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as accumulator:
        found = b.forward(x), b.forward_log_det_jacobian(x)
    for result, value in zip(found, kept, strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-5)
        assert np.abs(accumulator.jvp(result)).max() > 1e-4
