import copy

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.math.gradient import batch_jacobian

from tests.conftest import perturb
from tfnvp.bijectors import AdditiveCoupling, AffineCoupling, Chain, DiagonalScaling
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd, Mask, Split

tfb, tfd = tfp.bijectors, tfp.distributions

SCALES = ("tanh", "sigmoid", "softclamp", "exp")


def make_chain(size=5, couplings=4, conditioner=MLP, chain=Chain, dtype="float32"):
    """Affine and additive couplings over a diagonal scaling, every weight perturbed."""
    members, partition = [], EvenOdd()
    for i in range(couplings):
        (moved,) = partition.shapes((size,))[1]
        if i % 2:
            network = conditioner(moved, (8,), activation="tanh", dtype=dtype)
            members.append(AdditiveCoupling(network, partition, size))
        else:
            network = conditioner(2 * moved, (8,), activation="tanh", dtype=dtype)
            members.append(AffineCoupling(network, partition, size))
        partition = partition.swap()
    return perturb(chain([*members, DiagonalScaling(size)]))


def test_affine_coupling_is_the_formula_of_the_paper():
    layer = keras.layers.Dense(4)
    coupling = perturb(AffineCoupling(layer, Split(1), 3, scale="exp"))
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    shift, log_scale = np.split(layer(x[:, :1]).numpy(), 2, axis=-1)
    expected = np.concatenate([x[:, :1], x[:, 1:] * np.exp(log_scale) + shift], axis=-1)
    np.testing.assert_allclose(coupling.forward(x), expected, rtol=1e-5)
    np.testing.assert_allclose(
        coupling.forward_log_det_jacobian(x), log_scale.sum(-1), rtol=1e-5, atol=1e-6
    )


def test_additive_coupling_is_the_formula_of_the_paper():
    layer = keras.layers.Dense(2)
    coupling = perturb(AdditiveCoupling(layer, Split(1), 3))
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    expected = np.concatenate([x[:, :1], x[:, 1:] + layer(x[:, :1]).numpy()], axis=-1)
    np.testing.assert_allclose(coupling.forward(x), expected, rtol=1e-5)
    log_det = coupling.inverse_log_det_jacobian(x)
    assert log_det.shape == (6,)
    np.testing.assert_array_equal(log_det, np.zeros(6))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "partition", [Split(2), Split(-2), EvenOdd(), Mask([True, False, True, False, False])], ids=repr
)
def test_log_dets_equal_autodiff_in_float64(scale, partition):
    size = 5
    (moved,) = partition.shapes((size,))[1]
    network = MLP(2 * moved, (8,), activation="tanh", dtype="float64")
    coupling = perturb(AffineCoupling(network, partition, size, scale=scale))
    x = tf.constant(np.random.default_rng(1).normal(size=(3, size)))
    _, log_det = np.linalg.slogdet(batch_jacobian(coupling.forward, x))
    np.testing.assert_allclose(coupling.forward_log_det_jacobian(x), log_det, rtol=1e-6)
    y = tf.identity(coupling.forward(x))
    _, log_det = np.linalg.slogdet(batch_jacobian(coupling.inverse, y))
    np.testing.assert_allclose(coupling.inverse_log_det_jacobian(y), log_det, rtol=1e-6)


@pytest.mark.parametrize(
    ("scale", "low", "high"),
    [("tanh", -1.0, 1.0), ("sigmoid", np.log(1e-3), np.log(1.001)), ("softclamp", -2.0, 2.0)],
)
def test_log_scales_keep_their_documented_bounds(scale, low, high):
    coupling = AffineCoupling(keras.layers.Dense(2), Split(1), 2, scale=scale)
    for kernel in (-1e6, 1e6):
        coupling.conditioner.kernel.assign(tf.fill([1, 2], kernel))
        log_det = coupling.forward_log_det_jacobian(tf.ones([1, 2])).numpy()
        assert np.isfinite(log_det).all()
        assert low - 1e-5 <= log_det[0] <= high + 1e-5
        # The bound is the documented one, not merely some bound.
        np.testing.assert_allclose(log_det[0], low if kernel < 0 else high, atol=1e-4)


def test_round_trip_through_sixteen_couplings_in_float32():
    chain = make_chain(size=7, couplings=16)
    z = tf.random.normal([100, 7])
    x = tf.identity(chain.forward(z))
    np.testing.assert_allclose(chain.inverse(x), z, atol=1e-4 * np.abs(x).max())


@pytest.mark.parametrize("batch_shape", [(), (4,), (2, 4), (0,)])
def test_batch_shapes_are_kept(batch_shape):
    chain = make_chain()
    x = tf.random.normal((*batch_shape, 5))
    y, log_det = chain.forward(x), chain.forward_log_det_jacobian(x)
    assert y.shape == x.shape
    assert log_det.shape == batch_shape
    if batch_shape == (2, 4):
        flat = chain.forward(tf.reshape(x, (8, 5)))
        np.testing.assert_allclose(tf.reshape(y, (8, 5)), flat, rtol=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [Chain, tfb.Chain, lambda b: tfb.Invert(tfb.Chain(b))],
    ids=["ours", "tfp", "inverted"],
)
def test_every_view_has_the_same_variables_before_any_call(wrap):
    layers = [MLP(6, (8,)), MLP(4, (8,))]
    couplings = [
        AffineCoupling(layers[0], Split(2), 5),
        AffineCoupling(layers[1], Split(2).swap(), 5),
    ]
    bijector = wrap(couplings)
    distribution = tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), [5]), bijector)
    expected = {id(v.value) for layer in layers for v in layer.trainable_variables}
    assert len(expected) == 8
    for view in (bijector, distribution):
        found = {id(v) for v in view.trainable_variables}
        assert found > expected
        assert len(found) == len(expected) + 2  # the two learned factors of the log-scales


@pytest.mark.parametrize("wrap", [Chain, tfb.Chain], ids=["ours", "tfp"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_the_conditioner_is_called_once(counting_mlp, wrap, graph):
    chain = make_chain(conditioner=counting_mlp, chain=wrap)
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [5])
    distribution = tfd.TransformedDistribution(base, chain)
    x = tf.random.normal([3, 5])
    for evaluate in (
        lambda: distribution.log_prob(x),
        lambda: distribution.sample(3),
        lambda: distribution.experimental_sample_and_log_prob(3),
    ):
        counting_mlp.calls = 0
        (tf.function(evaluate) if graph else evaluate)()
        assert counting_mlp.calls == 4


@pytest.mark.parametrize("wrap", [Chain, tfb.Chain, lambda b: b[0]], ids=["ours", "tfp", "alone"])
def test_no_stale_answer_after_a_weight_update(wrap):
    bijector = make_chain(chain=wrap)
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [5])
    distribution = tfd.TransformedDistribution(base, bijector)
    x = tf.random.normal([3, 5])
    z = tf.random.normal([3, 5])
    evaluations = (
        distribution.log_prob,
        bijector.inverse,
        bijector.inverse_log_det_jacobian,
        bijector.forward,
        bijector.forward_log_det_jacobian,
    )
    y = bijector.forward(z)
    before = [evaluate(x) for evaluate in evaluations]  # Held, so that TFP keeps them cached.
    for variable in bijector.trainable_variables:
        variable.assign_add(0.1 * tf.ones_like(variable))
    after = [evaluate(x) for evaluate in evaluations]
    fresh = [evaluate(tf.identity(x)) for evaluate in evaluations]
    for old, now, expected in zip(before, after, fresh, strict=True):
        np.testing.assert_array_equal(now, expected)
        assert np.abs(now - old).max() > 1e-4
    np.testing.assert_array_equal(bijector.inverse(y), bijector.inverse(tf.identity(y)))
    assert np.abs(bijector.inverse(y) - z).max() > 1e-4


def test_no_stale_answer_within_one_graph():
    chain = make_chain()
    variable = chain.trainable_variables[0]

    @tf.function
    def before_and_after(x):
        before = chain.inverse(x)
        variable.assign_add(tf.ones_like(variable))
        return before, chain.inverse(x)

    x = tf.random.normal([3, 5])
    expected_before = chain.inverse(tf.identity(x))
    before, after = before_and_after(x)
    np.testing.assert_allclose(before, expected_before, rtol=1e-5)
    np.testing.assert_allclose(after, chain.inverse(tf.identity(x)), rtol=1e-5)
    assert np.abs(after - before).max() > 1e-3


def test_cache_answers_while_nothing_changes():
    chain = make_chain()
    x = tf.random.normal([3, 5])
    y = chain.forward(x)
    assert chain.forward(x) is y
    assert chain.inverse(y) is x


@pytest.mark.parametrize("chain", [Chain, tfb.Chain], ids=["Chain", "tfb.Chain"])
@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "function"])
def test_a_sample_made_before_the_tape_has_every_gradient(chain, wrap):
    bijector = make_chain(chain=chain)
    distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(5)), bijector)

    def gradients(sample):
        with tf.GradientTape() as tape:
            tape.watch(sample)
            log_prob = distribution.log_prob(sample)
        return tape.gradient(log_prob, [sample, *bijector.trainable_variables])

    @wrap
    def of_held_and_fresh():
        sample = distribution.sample(3, seed=(1, 2))
        return gradients(sample), gradients(tf.identity(sample))

    held, fresh = of_held_and_fresh()
    for found, expected in zip(held, fresh, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_copies_after_use_are_equal_and_independent():
    chain = make_chain()
    x = tf.random.normal([3, 5])
    y = chain.forward(x)
    assert hash(chain) == hash(chain)
    assert chain == copy.copy(chain)
    twin = copy.deepcopy(chain)
    np.testing.assert_array_equal(twin.forward(tf.identity(x)), y)
    assert not {id(v) for v in twin.variables} & {id(v) for v in chain.variables}
    twin.trainable_variables[0].assign_add(tf.ones_like(twin.trainable_variables[0]))
    np.testing.assert_array_equal(chain.forward(tf.identity(x)), y)
    assert np.abs(twin.forward(tf.identity(x)) - y).max() > 1e-3


@pytest.mark.parametrize("method", ["forward", "inverse", "forward_log_det_jacobian"])
def test_integers_are_refused_by_name(method):
    with pytest.raises(TypeError, match=r"coupling: expected a tensor of floats.*int32"):
        getattr(make_chain().bijectors[0], method)(tf.zeros((2, 5), tf.int32))


def test_condition_reaches_every_coupling_and_broadcasts():
    partition = Split(1)
    chain = perturb(
        Chain(
            [
                AffineCoupling(MLP(4, (8,)), partition, 3, condition_shape=2),
                tfb.Invert(AffineCoupling(MLP(2, (8,)), partition.swap(), 3, condition_shape=2)),
                tfb.Chain([AdditiveCoupling(MLP(2, (8,)), partition, 3, condition_shape=2)]),
                DiagonalScaling(3),
            ]
        )
    )
    x, condition = tf.random.normal([4, 3]), tf.random.normal([4, 2])
    y = tf.identity(chain.forward(x, condition=condition))
    np.testing.assert_allclose(chain.inverse(y, condition=condition), x, atol=1e-4)
    assert np.abs(chain.forward(x, condition=-condition) - y).max() > 1e-2
    one_for_all = chain.forward(x, condition=condition[0])
    np.testing.assert_allclose(one_for_all[0], y[0], rtol=1e-4)
    assert chain.forward(x[0], condition=condition).shape == (4, 3)
    assert chain.forward_log_det_jacobian(x[0], condition=condition).shape == (4,)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AffineCoupling(MLP(2), Split(1)), ValueError, "give `event_shape`"),
        (lambda: AffineCoupling(MLP(2), 1, 3), TypeError, "`partition` must be"),
        (lambda: AffineCoupling(tf.nn.relu, Split(1), 3), TypeError, "`conditioner` must be"),
        (lambda: AffineCoupling(MLP(4), Split(1), 3, scale="cube"), ValueError, "`scale` must be"),
        (lambda: AffineCoupling(MLP(3), Split(1), 3), ValueError, r"outputs of shape \(None, 4\)"),
        (lambda: AdditiveCoupling(MLP(1), Split(5), 3), ValueError, "d=5, event size 3"),
        (lambda: AdditiveCoupling(MLP(2), Split(1), 0), ValueError, "`event_shape` must be"),
        (
            lambda: AdditiveCoupling(MLP(2), Split(1), 3).forward(tf.zeros([2, 4])),
            ValueError,
            r"\[..., 3\]. Received shape: \(2, 4\)",
        ),
        (
            lambda: AdditiveCoupling(MLP(2), Split(1), 3).forward(tf.zeros([2, 3]), condition=1.0),
            ValueError,
            "takes no condition",
        ),
        (
            lambda: AdditiveCoupling(MLP(2), Split(1), 3, condition_shape=1).forward(
                tf.zeros([2, 3])
            ),
            ValueError,
            "needs `condition=`",
        ),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_built_conditioner_needs_no_event_shape():
    layer = keras.layers.Dense(4)
    layer.build((None, 1))
    coupling = AffineCoupling(layer, Split(1))
    x = tf.random.normal([2, 3])
    np.testing.assert_allclose(coupling.inverse(tf.identity(coupling.forward(x))), x, atol=1e-5)
    assert len(coupling.trainable_variables) == 3


@pytest.mark.parametrize(
    ("sizes", "event_shape"),
    [
        ((2,), None),
        ((8,), None),
        ((1, 1), None),
        ((1, 1), 3),
        ((3, 3), 3),
        ((2,), 3),
        ((2, 2, 2), 3),
    ],
)
def test_outputs_of_another_size_are_refused_and_never_broadcast(sizes, event_shape):
    inputs = keras.Input((1,))
    outputs = [keras.layers.Dense(size)(inputs) for size in sizes]
    network = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    with pytest.raises(
        ValueError, match=r"2 parameter\(s\) for each of the moved variables \(2,\)"
    ):
        AffineCoupling(network, Split(1), event_shape, scale="exp").forward(tf.zeros([5, 3]))
    with pytest.raises(ValueError, match=r"1 parameter\(s\) for each of the moved variables"):
        AdditiveCoupling(keras.layers.Dense(1), Split(1), 3)


def test_conditioner_may_give_shift_and_log_scale_apart():
    inputs = keras.Input((1,))
    pair = keras.Model(inputs, [keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)])
    coupling = perturb(AffineCoupling(pair, Split(1), 3))
    x = tf.random.normal([5, 3])
    np.testing.assert_allclose(coupling.inverse(tf.identity(coupling.forward(x))), x, atol=1e-5)


class ReadsAPlainVariable(keras.layers.Layer):
    """A network whose weights Keras does not know."""

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.ones((1, 4)))

    def call(self, x):
        return tf.matmul(x, self.kernel)


def test_networks_with_variables_that_keras_does_not_track_are_refused():
    with pytest.raises(ValueError, match=r"neither trained nor saved.*ReadsAPlainVariable"):
        AffineCoupling(ReadsAPlainVariable(), Split(1), 3)


def test_conditions_that_do_not_fit_are_named():
    coupling = AffineCoupling(MLP(4, (4,)), Split(1), 3, condition_shape=2)
    with pytest.raises(ValueError, match=r"a condition with one row.*\(5, 2\) for \(4, 3\)"):
        coupling.forward(tf.ones((4, 3)), condition=tf.ones((5, 2)))
    with pytest.raises(ValueError, match=r"expected a condition of shape \[\.\.\., 2\]"):
        coupling.forward(tf.ones((4, 3)), condition=tf.ones((4, 3)))


def test_event_shapes_need_not_be_known_before_a_coupling_that_knows_its_own():
    coupling = AffineCoupling(MLP(4, (4,)), Split(2), 4)
    perturb(coupling.conditioner, 0.3)

    @tf.function(input_signature=[tf.TensorSpec([None, None])])
    def inverse(x):
        return coupling.inverse(x)

    x = tf.random.normal((3, 4))
    np.testing.assert_allclose(inverse(x), coupling.inverse(x), rtol=1e-5, atol=1e-5)


def test_a_chain_refuses_a_condition_that_no_member_takes():
    chain = make_chain()
    for method in (chain.forward, chain.inverse):
        with pytest.raises(ValueError, match="chain takes no condition"):
            method(tf.ones((2, 5)), condition=tf.ones((2, 2)))
    with pytest.raises(TypeError, match="`bijectors` must be a sequence"):
        Chain(chain.bijectors[0])
