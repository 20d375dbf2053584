"""Couplings: the formulas of the papers, bounds, any size and partition, and what they refuse."""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bijector_builders import coupling, points
from tests.conftest import perturb
from tests.partitions.strategies import partitions
from tfnvp.bijectors import AdditiveCoupling, AffineCoupling, SplineCoupling, rational_quadratic
from tfnvp.bijectors.affine_coupling import LOG_SCALES
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

tfb = tfp.bijectors

# Derandomized: the same examples everywhere, so that a failure is a change of the code.
budget = functools.partial(settings, deadline=None, derandomize=True, database=None)


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


def test_the_inverse_of_a_double_sigmoid_multiplies_by_a_number_up_to_2():
    raw = np.linspace(-60, 60, 9).astype("float32")
    log_scale = LOG_SCALES["double_sigmoid"](tf.constant(raw), None)
    expected = np.log(1 + np.exp(-raw.astype("float64"))) - np.log(2)
    np.testing.assert_allclose(log_scale, expected, rtol=1e-6, atol=1e-6)


def test_agrees_with_tfb_real_nvp():
    x = points(3, 4)
    b = coupling(scale="exp", partition=Split(2))

    def shift_and_log_scale(x, units, **kwargs):
        del units, kwargs
        return tf.unstack(tf.reshape(b.conditioner(tf.reshape(x, (-1, 2))), (-1, 2, 2)), axis=1)

    theirs = tfb.RealNVP(2, shift_and_log_scale_fn=shift_and_log_scale)
    np.testing.assert_allclose(b.forward(x), theirs.forward(x), rtol=1e-6)
    np.testing.assert_allclose(
        b.inverse_log_det_jacobian(x), theirs.inverse_log_det_jacobian(x), rtol=1e-6
    )


def test_affine_tails_are_a_scale_and_a_shift_before_the_spline():
    b = perturb(SplineCoupling(keras.layers.Dense(20), Split(1), 3, bins=3, tails="affine"), 1.0)
    x = 3.0 * points(50, 3)
    raw = tf.reshape(b.conditioner(x[:, :1]), (50, 10, 2))
    log_scale = LOG_SCALES["softclamp"](raw[:, 8], None)
    scaled = x[:, 1:] * tf.exp(log_scale) + raw[:, 9]
    inside = tf.clip_by_value(scaled, -5.0, 5.0)
    assert 0.02 < np.mean(inside != scaled) < 0.5
    value, log_slope = rational_quadratic.forward(inside / 10.0 + 0.5, raw[:, :8])
    y, log_det = b.forward_and_log_det(x)
    np.testing.assert_allclose(y[:, 1:], 10.0 * value - 5.0 + scaled - inside, rtol=1e-5, atol=1e-5)
    expected = np.sum(log_slope + log_scale, axis=1)
    np.testing.assert_allclose(log_det, expected, rtol=1e-5, atol=1e-5)


@st.composite
def couplings(draw):
    """Makers of couplings: Hypothesis wants no random numbers, as of weights, while it draws."""
    size = draw(st.sampled_from([2, 3, 7, 7, 7, 784]))
    kwargs = {"size": size, "partition": draw(partitions(size))}
    kind = draw(st.sampled_from(["additive", "spline", "affine tails", *LOG_SCALES]))
    if kind == "affine tails":
        return functools.partial(coupling, "spline", tails="affine", **kwargs)
    if kind in ("additive", "spline"):
        return functools.partial(coupling, kind, **kwargs)
    return functools.partial(coupling, "affine", scale=kind, **kwargs)


@budget(max_examples=20)
@given(
    couplings(),
    st.sampled_from([tf.float32, tf.float64]),
    st.sampled_from([(), (0,), (1,), (3,), (2, 3)]),
    st.integers(0, 100),
)
def test_any_size_partition_dtype_and_batch(make, dtype, batch, seed):
    bijector = make()
    x = points(*batch, *bijector.event_shape, seed=seed, dtype=dtype)
    y, log_det = bijector.forward_and_log_det(x)
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    assert y.dtype == back.dtype == log_det.dtype == inverse_log_det.dtype == dtype
    assert y.shape == x.shape
    assert log_det.shape == inverse_log_det.shape == batch
    # The conditioner is float32 in both; within one coupling it sees the same numbers twice.
    tolerance = 1e-4 if dtype == tf.float32 else 1e-9
    np.testing.assert_allclose(back, x, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=tolerance, atol=tolerance)
    passed, moved = bijector.partition.split(x)
    passed_after, moved_after = bijector.partition.split(y)
    np.testing.assert_array_equal(passed_after, passed)
    assert 0 in batch or np.abs(moved_after - moved).max() > 1e-6
    if isinstance(bijector, SplineCoupling):
        return
    # The log-det is a function of the passed variables alone.
    other = bijector.forward_and_log_det(bijector.partition.merge(passed, moved + 1.0))[1]
    np.testing.assert_allclose(other, log_det, rtol=1e-5, atol=1e-5)


EXTREMES = [0.0, 1e-45, -1e-40, 1e-38, 1e4, -1e4]


# Not "exp", whose log-scale has no bounds.
@pytest.mark.parametrize("kind", ["additive", "spline", "tanh", "sigmoid", "softclamp"])
@budget(max_examples=10)
@given(values=st.lists(st.sampled_from(EXTREMES), min_size=4, max_size=4))
def test_extreme_inputs_stay_finite(kind, values):
    bijector = _extreme_coupling(kind)
    x = tf.constant([values], tf.float32)
    for result in (*bijector.forward_and_log_det(x), *bijector.inverse_and_log_det(x)):
        assert np.isfinite(result).all()
    # float32 keeps 7 digits of the largest number in play: the moved values before or after.
    largest = max(np.abs(x).max(), np.abs(bijector.forward(x)).max())
    scale = math.exp(np.abs(bijector.forward_log_det_jacobian(x)).max())
    back = bijector.inverse(tf.identity(bijector.forward(x)))
    np.testing.assert_allclose(back, x, atol=1e-6 * largest * scale + 1e-6)


@functools.cache
def _extreme_coupling(kind):
    return coupling(kind) if kind in ("additive", "spline") else coupling(scale=kind)


def test_the_promise_of_float32_holds_after_sixteen_couplings():
    couplings = [coupling(partition=Split(2, swapped=i % 2 == 1)) for i in range(16)]
    x = y = points(64, 4)
    for member in couplings:
        y = member.forward(y)
    back = tf.identity(y)
    for member in couplings[::-1]:
        back = member.inverse(tf.identity(back))
    np.testing.assert_allclose(back, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("x_batch", "c_batch"), [((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,))])
def test_condition_broadcasts_against_x(x_batch, c_batch):
    b = coupling(condition_shape=2)
    x, c = points(*x_batch, 4), points(*c_batch, 2, seed=2)
    y, log_det = b.forward(x, condition=c), b.forward_log_det_jacobian(x, condition=c)
    batch = np.broadcast_shapes(x_batch, c_batch)
    assert log_det.shape == batch
    whole = b.forward(tf.broadcast_to(x, (*batch, 4)), condition=tf.broadcast_to(c, (*batch, 2)))
    np.testing.assert_allclose(y, whole, rtol=1e-6)


def test_integers_are_refused_by_name():
    for method in ("forward", "inverse", "forward_log_det_jacobian"):
        with pytest.raises(TypeError, match=r"coupling: expected a tensor of floats.*int32"):
            getattr(coupling(), method)(tf.zeros((2, 4), tf.int32))


def test_too_few_event_ndims_or_axes_are_refused():
    b, x = coupling(), points(3, 4)
    with pytest.raises(ValueError, match="must be at least"):
        b.forward_log_det_jacobian(x, event_ndims=0)
    with pytest.raises(ValueError, match="must be at least 1"):
        b.forward_and_log_det(x, event_ndims=0)
    with pytest.raises(ValueError, match=r"rank|shape"):
        b.forward(tf.constant(1.0))
    with pytest.raises(ValueError, match="expected a tensor of shape"):
        b.forward(tf.zeros([3, 5]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AffineCoupling(MLP(2), Split(1)), ValueError, "give `event_shape`"),
        (lambda: AffineCoupling(MLP(2), 1, 3), TypeError, "`partition` must be"),
        (lambda: AffineCoupling(tf.nn.relu, Split(1), 3), TypeError, "`conditioner` must be"),
        (lambda: AffineCoupling(MLP(4), Split(1), 3, scale="cube"), ValueError, "`scale` must be"),
        (lambda: AffineCoupling(MLP(3), Split(1), 3), ValueError, r"outputs of shape \(None, 4\)"),
        (lambda: SplineCoupling(MLP(4), Split(1), 3, bins=1), ValueError, "`bins` must be"),
        (lambda: SplineCoupling(MLP(4), Split(1), 3, bound=0), ValueError, "`bound` must be"),
        (lambda: SplineCoupling(MLP(9), Split(1), 3, 2), ValueError, r"5 parameter.*\(None, 10\)"),
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


def test_variables_are_read_at_most_twice_per_call():
    b, x = coupling(), points(3, 4)
    graph = tf.function(lambda x: b.forward(x)).get_concrete_function(x).graph
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert len(reads) <= 2 * len(b.variables)
    # The network's, which cost most, once.
    once = {op.inputs[0].name for op in reads if "MatMul" in op.name}
    assert len([op for op in reads if "MatMul" in op.name]) == len(once)


def test_a_copy_with_other_arguments_shares_the_conditioner_alone():
    b = AffineCoupling(MLP(4), Split(1), 3)
    copied = b.copy(scale="tanh")
    own = {id(v) for v in b.variables} - {id(v) for v in copied.variables}
    assert copied.conditioner is b.conditioner
    assert len(own) == 1


@pytest.mark.parametrize("inverse", [False, True])
def test_value_and_log_det_together_are_those_of_the_single_methods(inverse):
    """Also in half precision, where log-dets are summed in float32, and of tensors without rank."""
    c = coupling(scale="exp", size=7)
    x = 3 * points(5, 7)
    names = (
        ("inverse", "inverse_log_det_jacobian")
        if inverse
        else ("forward", "forward_log_det_jacobian")
    )
    both = c.inverse_and_log_det if inverse else c.forward_and_log_det
    half = tf.cast(x, tf.float16)
    for found, name in zip(both(half), names, strict=True):
        np.testing.assert_array_equal(found, getattr(c, name)(tf.identity(half)))
    of_unknown = tf.function(both, input_signature=[tf.TensorSpec(None)])
    for found, expected in zip(of_unknown(x), both(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
