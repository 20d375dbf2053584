"""What TensorFlow Probability tests its own bijectors for, applied to ours.

The cases are those of its `chain_test.py`, `bijector_test.py`, `real_nvp_test.py`,
`transformed_distribution_test.py` and `bijector_properties_test.py`. Left out, because they do
not apply: CompositeTensor and slicing, which plain (not auto-composite) bijectors do not have, and
`assert_scalar_congruency` for couplings, which have no scalar events.
"""

import copy
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijector_builders import act_norm, coupling, points, scaling
from tests.conftest import perturb
from tfnvp.bijectors import ActNorm, AffineCoupling, Bijector, Chain, DiagonalScaling, Logit
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd, Split

tfb, tfd = tfp.bijectors, tfp.distributions

MAKERS = {
    "additive": lambda: coupling("additive"),
    "affine": coupling,
    "scaling": scaling,
    "act_norm": act_norm,
    "logit": Logit,
    "chain": lambda: Chain([coupling(), scaling()]),
}


@pytest.fixture(scope="module")
def bijectors():
    return {name: make() for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def affine(bijectors):
    return bijectors["affine"]


@pytest.fixture
def x():
    return tf.sigmoid(points(3, 4))


each = pytest.mark.parametrize("name", MAKERS)
each_of_ours = pytest.mark.parametrize("name", [n for n in MAKERS if n != "chain"])


# --- Chain (chain_test.py) ----------------------------------------------------------------------

chains = pytest.mark.parametrize("chain", [Chain, tfb.Chain])


@chains
def test_empty_chain_is_the_identity(chain, x):
    np.testing.assert_array_equal(chain([]).forward(x), x)
    np.testing.assert_array_equal(chain([]).inverse(x), x)


@chains
def test_last_of_the_list_is_applied_first(chain, affine, x):
    y = chain([tfb.Exp(), affine, tfb.Shift(1.0)]).forward(x)
    np.testing.assert_allclose(y, tf.exp(affine.forward(x + 1.0)), rtol=1e-6)


@chains
def test_chain_log_det_is_the_sum_of_its_members(chain, bijectors, x):
    members = [bijectors["affine"], bijectors["scaling"], tfb.Exp()]
    log_det = chain(members).forward_log_det_jacobian(x, event_ndims=1)
    expected = tf.reduce_sum(x, axis=-1)
    z = tf.exp(x)
    for member in members[1::-1]:
        expected += member.forward_log_det_jacobian(z)
        z = member.forward(z)
    np.testing.assert_allclose(log_det, expected, rtol=1e-5)


@chains
def test_chain_shape_getters(chain):
    image = tfb.Reshape(event_shape_out=(2, 2), event_shape_in=(4,))
    b = chain([image, coupling()])
    assert b.forward_event_shape([4]).as_list() == [2, 2]
    assert b.inverse_event_shape([2, 2]).as_list() == [4]
    np.testing.assert_array_equal(b.forward_event_shape_tensor([4]), [2, 2])
    np.testing.assert_array_equal(b.inverse_event_shape_tensor([2, 2]), [4])
    assert (b.forward_min_event_ndims, b.inverse_min_event_ndims) == (1, 2)


@chains
def test_chain_of_unknown_batch_keeps_the_event_shape(chain, affine):
    b = chain([tfb.Exp(), affine])
    run = tf.function(lambda x: (b.forward(x), b.inverse_log_det_jacobian(tf.exp(x), 1)))
    y, log_det = run.get_concrete_function(tf.TensorSpec([None, 4])).structured_outputs
    assert y.shape.as_list() == [None, 4]
    assert log_det.shape.as_list() == [None]


@chains
def test_min_event_ndims(chain, bijectors):
    for make, expected in (
        (lambda: [tfb.Exp(), tfb.Softplus()], 0),
        (lambda: [tfb.Exp(), Logit()], 0),
        (lambda: [bijectors["affine"], tfb.Exp()], 1),
        (lambda: [tfb.Exp(), act_norm((2, 3))], 2),
    ):
        b = chain(make())
        assert (b.forward_min_event_ndims, b.inverse_min_event_ndims) == (expected, expected)
        inverted = tfb.Invert(b)
        assert inverted.forward_min_event_ndims == expected


# --- Event ranks and batch shapes (bijector_test.py) --------------------------------------------


@each
def test_log_dets_sum_over_event_ndims(bijectors, name):
    b = bijectors[name]
    x = tf.sigmoid(points(2, 3, 4))
    least = b.forward_min_event_ndims
    own = b.forward_log_det_jacobian(x)
    np.testing.assert_array_equal(own, b.forward_log_det_jacobian(x, event_ndims=least))
    assert own.shape == x.shape[: 3 - least]
    for event_ndims in range(least + 1, 4):
        axes = list(range(least - event_ndims, 0))
        np.testing.assert_allclose(
            b.forward_log_det_jacobian(x, event_ndims=event_ndims),
            tf.reduce_sum(own, axes),
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            b.inverse_log_det_jacobian(tf.identity(b.forward(x)), event_ndims=event_ndims),
            -tf.reduce_sum(own, axes),
            rtol=1e-4,
            atol=1e-5,
        )


def test_too_few_event_ndims_or_axes_are_an_error(affine, x):
    with pytest.raises(ValueError, match="must be at least"):
        affine.forward_log_det_jacobian(x, event_ndims=0)
    with pytest.raises(ValueError, match="must be at least 1"):
        affine.forward_and_log_det(x, event_ndims=0)
    with pytest.raises(ValueError, match=r"rank|shape"):
        affine.forward(tf.constant(1.0))
    with pytest.raises(ValueError, match="expected a tensor of shape"):
        affine.forward(tf.zeros([3, 5]))


@each
def test_batch_shape_of_the_bijector_is_that_of_one(bijectors, name):
    b = bijectors[name]
    assert b.experimental_batch_shape(x_event_ndims=1).as_list() == []
    assert b.experimental_batch_shape_tensor(x_event_ndims=1).shape.as_list() == [0]


@pytest.mark.parametrize(("x_batch", "c_batch"), [((), ()), ((3,), ()), ((), (3,)), ((2, 1), (3,))])
def test_condition_broadcasts_against_x(x_batch, c_batch):
    b = coupling(condition_shape=2)
    x, c = points(*x_batch, 4), points(*c_batch, 2, seed=2)
    y, log_det = b.forward(x, condition=c), b.forward_log_det_jacobian(x, condition=c)
    batch = np.broadcast_shapes(x_batch, c_batch)
    assert log_det.shape == batch
    whole = b.forward(tf.broadcast_to(x, (*batch, 4)), condition=tf.broadcast_to(c, (*batch, 2)))
    np.testing.assert_allclose(y, whole, rtol=1e-6)


# --- Real NVP (real_nvp_test.py) ----------------------------------------------------------------


@pytest.mark.parametrize("d", [4, -5])
def test_masked_units_pass(d):
    b = coupling(size=8, partition=Split(d))
    x = points(3, 8)
    y = b.forward(x)
    passed = slice(None, d) if d > 0 else slice(d, None)
    np.testing.assert_array_equal(y[:, passed], x[:, passed])
    moved = slice(d, None) if d > 0 else slice(None, d)
    assert (np.abs(y - x)[:, moved] > 1e-6).all()


def test_agrees_with_tfb_real_nvp(x):
    b = coupling(scale="exp", partition=Split(2))

    def shift_and_log_scale(x, units, **kwargs):
        del units, kwargs
        return tf.unstack(tf.reshape(b.conditioner(tf.reshape(x, (-1, 2))), (-1, 2, 2)), axis=1)

    theirs = tfb.RealNVP(2, shift_and_log_scale_fn=shift_and_log_scale)
    np.testing.assert_allclose(b.forward(x), theirs.forward(x), rtol=1e-6)
    np.testing.assert_allclose(
        b.inverse_log_det_jacobian(x), theirs.inverse_log_det_jacobian(x), rtol=1e-6
    )


@pytest.mark.parametrize("d", [4, 5, -4])
def test_masking_all_units_is_an_error(d):
    with pytest.raises(ValueError, match="must be smaller than the event size"):
        AffineCoupling(MLP(4), Split(d), 4)


# --- Scalar congruency, for what acts on scalars (bijector_test_util.py) ------------------------


def test_logit_is_congruent_to_its_derivative():
    b = Logit()
    x = tf.linspace(tf.constant(0.0, tf.float64), 1.0, 2001)
    y = b.forward(x)
    assert (np.diff(y) > 0).all()
    slopes = np.diff(y) / np.diff(x)
    middle = (x[1:] + x[:-1]) / 2
    np.testing.assert_allclose(slopes, tf.exp(b.forward_log_det_jacobian(middle)), rtol=1e-4)


# --- Caching (BijectorCachingTest) --------------------------------------------------------------


@each
def test_the_same_tensor_gets_the_same_answer(bijectors, name, x):
    b = bijectors[name]
    y = b.forward(x)
    assert b.forward(x) is y
    assert b.inverse(y) is x
    z = b.inverse(tf.identity(y))
    assert z is not x


@each
def test_cached_log_dets_are_those_of_the_right_direction(bijectors, name, x):
    b = bijectors[name]
    y = b.forward(x)
    forward, inverse = b.forward_log_det_jacobian(x, 1), b.inverse_log_det_jacobian(y, 1)
    np.testing.assert_allclose(forward, -inverse, rtol=1e-6)
    fresh = b.forward_log_det_jacobian(tf.identity(x), 1)
    np.testing.assert_allclose(forward, fresh, rtol=1e-6)


@each
def test_nothing_is_kept_after_outputs_die(bijectors, name):
    b = bijectors[name]
    x = tf.sigmoid(points(3, 4))
    y = b.forward(x)
    b.forward_log_det_jacobian(x, 1)
    dead = weakref.ref(y)
    del y
    gc.collect()
    assert dead() is None
    dead = weakref.ref(x)
    del x
    gc.collect()
    assert dead() is None


def test_equal_parameters_share_and_unequal_do_not(x):
    a, b, c = Logit(0.1), Logit(0.1), Logit(0.2)
    assert a == b
    assert hash(a) == hash(b)
    assert b.inverse(a.forward(x)) is x
    assert a != c
    assert c.inverse(a.forward(x)) is not x


def test_two_bijectors_of_equal_arguments_and_unequal_weights_do_not_share(x):
    a, b = DiagonalScaling(4), perturb(DiagonalScaling(4))
    back = b.inverse(a.forward(x))
    assert back is not x
    np.testing.assert_allclose(back, x * tf.exp(-b.log_scale.value), rtol=1e-6)


# --- Copies, equality, hash (bijector_properties_test.py) ---------------------------------------


@each_of_ours
def test_copies_after_use(bijectors, name, x):
    b = bijectors[name]
    y = b.forward(x)
    for copied in (copy.copy(b), copy.deepcopy(b)):
        np.testing.assert_allclose(copied.forward(tf.identity(x)), y, rtol=1e-6)
        assert len(copied.trainable_variables) == len(b.trainable_variables)
    deep = copy.deepcopy(b)
    for v in deep.trainable_variables:
        v.assign_add(tf.ones_like(v))
    np.testing.assert_allclose(b.forward(tf.identity(x)), y, rtol=1e-6)


@each_of_ours
def test_tfps_copy_shares_the_weights(bijectors, name, x):
    b = bijectors[name]
    y = b.forward(x)
    for copied in (b.copy(), b.copy(name="another")):
        np.testing.assert_array_equal(copied.forward(tf.identity(x)), y)
        assert [id(v) for v in copied.variables] == [id(v) for v in b.variables]
    assert copied.name == copied.parameters["name"] == "another"
    assert b.name == b.parameters["name"] != "another"


def test_a_copy_with_other_arguments_shares_the_conditioner_alone():
    b = AffineCoupling(MLP(4), Split(1), 3)
    copied = b.copy(scale="tanh")
    own = {id(v) for v in b.variables} - {id(v) for v in copied.variables}
    assert copied.conditioner is b.conditioner
    assert len(own) == 1


@each_of_ours
def test_slices_are_refused(bijectors, name, x):
    with pytest.raises(TypeError, match="no batch of parameters"):
        bijectors[name][0]


@each
def test_equality_and_hash_after_use(bijectors, name, x):
    b = bijectors[name]
    before = hash(b)
    b.forward(x)
    assert b == b
    assert hash(b) == before
    assert b != tfb.Exp()
    assert {b: 1}[b] == 1


@each
def test_iteration_is_a_type_error(bijectors, name):
    with pytest.raises(TypeError):
        iter(bijectors[name])


@each
def test_dtypes(bijectors, name, x):
    b = bijectors[name]
    for dtype in (tf.float32, tf.float64):
        assert b.forward_dtype(dtype) == b.inverse_dtype(dtype) == dtype
        cast = tf.cast(x, dtype)
        assert b.forward(cast).dtype == b.inverse(cast).dtype == dtype
        assert b.forward_log_det_jacobian(cast, 1).dtype == dtype


@each_of_ours
def test_has_no_batch_parameters(bijectors, name):
    assert type(bijectors[name]).parameter_properties(dtype=tf.float64) == {}


@each
def test_gradients(bijectors, name, x):
    b = bijectors[name]
    variables = b.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        results = {
            "forward": b.forward(x),
            "inverse": b.inverse(x),
            "forward log-det": b.forward_log_det_jacobian(x, 1),
            "inverse log-det": b.inverse_log_det_jacobian(x, 1),
        }
    for what, result in results.items():
        by_x, *by_variables = tape.gradient(result, [x, *variables])
        constant = name in ("additive", "scaling", "act_norm") and "log-det" in what
        assert (by_x is None) == constant, what
        if name == "additive" and "log-det" in what:
            assert by_variables == [None] * len(variables)
        elif name != "act_norm" or "log-det" not in what:
            assert None not in by_variables, what


@each
def test_variables_are_read_at_most_twice_per_call(bijectors, name, x):
    b = bijectors[name]
    graph = tf.function(lambda x: b.forward(x)).get_concrete_function(x).graph
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert len(reads) <= 2 * len(b.variables)
    # The network's, which cost most, once.
    once = {op.inputs[0].name for op in reads if "MatMul" in op.name}
    assert len([op for op in reads if "MatMul" in op.name]) == len(once)


@each
def test_vectorized_map(bijectors, name, x):
    b = bijectors[name]
    np.testing.assert_allclose(tf.vectorized_map(b.forward, x), b.forward(x), rtol=1e-5, atol=1e-5)


# --- Transformed distributions (transformed_distribution_test.py) -------------------------------


@pytest.fixture(scope="module")
def distribution():
    chain = Chain([coupling(), coupling(partition=EvenOdd(swapped=True)), scaling()])
    return tfd.TransformedDistribution(tfd.Sample(tfd.Normal(0.0, 1.0), 4), chain)


def test_variables_are_found_through_everything(distribution):
    chain = distribution.bijector
    expected = {id(v) for b in chain.bijectors for v in b.trainable_variables}
    assert len(expected) == 2 * 5 + 1
    for view in (chain, tfb.Invert(chain), tfb.Chain([chain]), distribution):
        assert {id(v) for v in view.trainable_variables} == expected


def test_shapes_of_a_transformed_distribution(distribution):
    assert distribution.event_shape.as_list() == [4]
    assert distribution.batch_shape.as_list() == []
    assert distribution.sample((2, 3), seed=(0, 1)).shape.as_list() == [2, 3, 4]


def test_sample_and_log_prob(distribution):
    x, log_prob = distribution.experimental_sample_and_log_prob(100, seed=(0, 1))
    np.testing.assert_allclose(
        log_prob, distribution.log_prob(tf.identity(x)), rtol=1e-4, atol=1e-4
    )


def test_stateless_seeds_reproduce(distribution):
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


def test_shape_changing_chain_in_a_distribution():
    image = tfb.Reshape(event_shape_out=(2, 2), event_shape_in=(4,))
    base = tfd.Sample(tfd.Normal(0.0, 1.0), 4)
    d = tfd.TransformedDistribution(base, tfb.Chain([image, coupling()]))
    x = d.sample(3, seed=(0, 1))
    assert d.event_shape.as_list() == [2, 2]
    assert d.log_prob(x).shape.as_list() == [3]


def test_bijector_kwargs_reach_the_coupling():
    d = tfd.TransformedDistribution(
        tfd.Sample(tfd.Normal(0.0, 1.0), 4), coupling(condition_shape=2, name="c")
    )
    x, c = points(3, 4), points(3, 2, seed=2)
    log_prob = d.log_prob(x, bijector_kwargs={"condition": c})
    other = d.log_prob(tf.identity(x), bijector_kwargs={"condition": c + 1.0})
    assert (np.abs(log_prob - other) > 1e-6).all()


# --- ActNorm (glow_test.py) ---------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("event_shape", [(3,), (2, 3)])
def test_act_norm_normalises_its_first_batch(direction, event_shape):
    b = ActNorm(event_shape)
    x = 5.0 * points(500, *event_shape) + 2.0
    normalised = tf.reshape(getattr(b, direction)(x), (-1, 3))
    np.testing.assert_allclose(tf.reduce_mean(normalised, 0), 0.0, atol=1e-5)
    np.testing.assert_allclose(tf.math.reduce_std(normalised, 0), 1.0, rtol=5e-5)
    second = tf.reshape(getattr(b, direction)(x + 1.0), (-1, 3))
    assert (np.abs(tf.reduce_mean(second, 0)) > 0.1).all()


def test_log_dets_of_a_plain_subclass_come_from_one_pass(x):
    class Double(Bijector):
        def __init__(self):
            super().__init__(1, parameters={}, name="double")

        def _forward_and_log_det(self, x):
            return 2.0 * x, tf.fill(tf.shape(x)[:-1], 4 * np.log(np.float32(2.0)))

    np.testing.assert_allclose(Double().forward_log_det_jacobian(x), [np.log(16.0)] * 3, rtol=1e-6)
    with pytest.raises(NotImplementedError):
        Double().inverse(x)
