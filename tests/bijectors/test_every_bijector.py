"""What holds for every bijector and composition: one dictionary of constructors, generic checks."""

import copy
import functools
import gc
import pickle
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijector_builders import BIJECTORS, OURS, at
from tests.conftest import perturb
from tfnvp.bijectors import DiagonalScaling, Logit
from tfnvp.flows.serialization import deserialize, serialize
from tfnvp.testing import check_bijector

tfb = tfp.bijectors
LIKE_OTHERS = [
    "affine sigmoid",
    "affine softclamp",
    "affine exp",
    "affine of rows",
    "affine channels",
    "act norm of rows",
    "affine checkerboard",
    "chain",
    "TFP's inversion",
]
every = pytest.mark.parametrize("name", BIJECTORS)
each_of_ours = pytest.mark.parametrize("name", OURS)


@pytest.fixture(scope="module")
def bijectors():
    return {name: make() for name, (make, _) in BIJECTORS.items()}


def evaluations(b, x, y):
    """The four public methods as functions without arguments, and what each is a function of."""
    ndims = x.shape.rank - 1
    return {
        "forward": (lambda: b.forward(x), x),
        "inverse": (lambda: b.inverse(y), y),
        "forward log-det": (lambda: b.forward_log_det_jacobian(x, ndims), x),
        "inverse log-det": (
            lambda: b.inverse_log_det_jacobian(y, b.forward_event_ndims(ndims)),
            y,
        ),
    }


@every
def test_shapes_inverses_log_dets_gradients_weights_and_conditioner_calls(bijectors, name):
    # What differs between scales and partitions is the mathematics.
    same = ("shapes", "stale answers", "conditioner calls")
    check_bijector(bijectors[name], at(name), skip=same if name in LIKE_OTHERS else ())


@pytest.mark.parametrize("name", [n for n in OURS if "TFP" not in n])
def test_float64_is_exact(bijectors, name):
    b, x = bijectors[name], at(name, dtype=tf.float64)
    y = b.forward(x)
    assert y.dtype == x.dtype
    # Inverse matrices are stored in float32.
    tolerance = 1e-5 if "whitening" in name else 1e-8
    np.testing.assert_allclose(b.inverse(tf.identity(y)), x, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in BIJECTORS if name not in LIKE_OTHERS])
def test_gradients_are_right_on_every_tape(bijectors, name):
    """Whatever was computed before, on no tape, on one that lives, or on one around."""
    b = bijectors[name]
    x, y = at(name), tf.identity(b.forward(at(name, seed=2)))
    variables = b.trainable_variables

    def gradients(method):
        """Two tapes that begin after each other, and a third inside of the second."""
        evaluate, source = evaluations(b, x, y)[method]
        sources, found, alive = [source, *variables], [], []
        alive.append(evaluate())
        for _ in range(2):
            with tf.GradientTape() as tape:
                tape.watch(source)
                result = evaluate()
            found.append(tape.gradient(result, sources, unconnected_gradients="zero"))
            alive += [tape, result]
        with tf.GradientTape() as outer:
            outer.watch(source)
            alive.append(evaluate())
            with tf.GradientTape() as inner:
                inner.watch(source)
                result = evaluate()
            found.append(inner.gradient(result, sources, unconnected_gradients="zero"))
        found.append(outer.gradient(result, sources, unconnected_gradients="zero"))
        return found

    for method in evaluations(b, x, y):
        evaluations(b, x, y)[method][0]()
        fresh_x, fresh_y = tf.identity(x), tf.identity(y)
        evaluate, source = evaluations(b, fresh_x, fresh_y)[method]
        with tf.GradientTape() as tape:
            tape.watch(source)
            result = evaluate()
        expected = tape.gradient(result, [source, *variables], unconnected_gradients="zero")
        for found in gradients(method):
            for ours, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, right, rtol=1e-4, atol=1e-5, err_msg=method)


@each_of_ours
def test_results_are_remembered_and_die_with_the_output(bijectors, name):
    b, x = bijectors[name], at(name)
    y = b.forward(x)
    assert b.forward(x) is y
    assert b.inverse(y) is x
    assert b.inverse(tf.identity(y)) is not x
    b.forward_log_det_jacobian(x)
    dead = weakref.ref(y)
    del y
    gc.collect()
    assert dead() is None
    dead = weakref.ref(x)
    del x
    gc.collect()
    assert dead() is None


@each_of_ours
def test_copies_after_use(bijectors, name):
    b, x = bijectors[name], at(name)
    y = b.forward(x)
    copies = {
        "copy": copy.copy(b),
        "deepcopy": copy.deepcopy(b),
        "pickle": pickle.loads(pickle.dumps(b)),
    }
    if name not in ("chain", "chain with TFP's"):  # Of those, TFP's `copy` makes new ones.
        copies["name"] = b.copy(name="another")
        assert copies["name"].name == copies["name"].parameters["name"] == "another"
        assert [id(v) for v in copies["name"].variables] == [id(v) for v in b.variables]
        with pytest.raises(TypeError, match="no batch of parameters"):
            b[0]
    for kind, copied in copies.items():
        np.testing.assert_allclose(copied.forward(tf.identity(x)), y, rtol=1e-6, err_msg=kind)
        assert len(copied.trainable_variables) == len(b.trainable_variables)
    for kind in ("deepcopy", "pickle"):
        assert not {id(v) for v in copies[kind].variables} & {id(v) for v in b.variables}
        perturb(copies[kind], seed=5)
        np.testing.assert_allclose(b.forward(tf.identity(x)), y, rtol=1e-6)
        if b.trainable_variables:
            assert np.abs(copies[kind].forward(tf.identity(x)) - y).max() > 1e-4
    restored = deserialize(serialize(b))
    for new, old in zip(restored.variables, b.variables, strict=True):
        new.assign(old)
    np.testing.assert_allclose(restored.forward(tf.identity(x)), y, rtol=1e-6)


@every
def test_equality_and_hash_after_use(bijectors, name):
    b = bijectors[name]
    b.forward(at(name))
    before = hash(b)
    assert b == b
    assert {b: 1}[b] == 1
    assert b != tfb.Exp()
    with tf.GradientTape():
        assert hash(b) == before
    if b.trainable_variables:
        other = copy.deepcopy(b)
        assert b != other
        assert tfb.Invert(b) != tfb.Invert(other)
        variable = b.trainable_variables[0]
        variable.assign(variable + 0.0)  # A write, which may have changed it.
        assert hash(b) == before
    with pytest.raises(TypeError):
        iter(b)


@each_of_ours
def test_half_precision_only_comes_and_goes(bijectors, name):
    if name == "chain with TFP's":
        pytest.skip("TFP's own members compute in the precision that they get")
    b, x = bijectors[name], at(name)
    ndims = x.shape.rank - 1
    for dtype in (tf.float16, tf.bfloat16):
        half = tf.cast(x, dtype)
        y, log_det = b.forward(half), b.forward_log_det_jacobian(half, ndims)
        assert y.dtype == log_det.dtype == b.inverse(y).dtype == dtype
        expected = b.forward(tf.cast(half, tf.float32))
        np.testing.assert_allclose(tf.cast(y, tf.float32), expected, rtol=1e-2, atol=1e-6)


@each_of_ours
def test_unknown_ranks(bijectors, name):
    b, x = bijectors[name], at(name)
    assert b.forward_event_shape(None).rank is b.inverse_event_shape(None).rank is None

    @tf.function(input_signature=[tf.TensorSpec(None)], autograph=False)
    def forward(x):
        return b.forward(x), b.forward_log_det_jacobian(x, event_ndims=len(BIJECTORS[name][1]))

    if name in ("squeeze", "multi-scale", "chain", "chain with TFP's"):
        with pytest.raises(ValueError, match="known rank"):
            forward(x)  # The bijector does not know the shape of its events.
        return
    y, log_det = forward(x)
    np.testing.assert_allclose(y, b.forward(x), rtol=1e-5)
    expected = b.forward_log_det_jacobian(x, x.shape.rank - 1)
    np.testing.assert_allclose(log_det, expected, rtol=1e-5, atol=1e-6)


def test_whole_numbers_are_refused_by_name():
    with pytest.raises(TypeError, match="logit: expected a tensor of floats"):
        Logit().forward([1, 2])


def test_cumulative_distributions_of_logits():
    distribution = tfp.distributions.TransformedDistribution(
        tfp.distributions.Logistic(0.0, 1.0), tfb.Invert(Logit(0.05))
    )
    np.testing.assert_allclose(distribution.cdf([0.3, 0.5]), [0.05 + 0.9 * 0.3, 0.5], rtol=1e-5)
    np.testing.assert_allclose(distribution.quantile(0.32), 0.3, rtol=1e-4)


def test_distributions_of_unequal_weights_have_no_divergence_of_zero():
    # TFP takes that of the bases where the bijectors are equal.
    base = tfp.distributions.MultivariateNormalDiag(tf.zeros(2))
    first, second = (
        tfp.distributions.TransformedDistribution(base, DiagonalScaling(2)) for _ in range(2)
    )
    assert tfp.distributions.kl_divergence(first, first.copy()) == 0.0
    second.bijector.trainable_variables[0].assign([1.0, 1.0])
    with pytest.raises(NotImplementedError):
        tfp.distributions.kl_divergence(first, second)


def test_bijectors_of_equal_parameters_are_equal():
    assert Logit(0.1) == Logit(0.1) != Logit(0.2)
    assert hash(Logit(0.1)) == hash(Logit(0.1))


@every
def test_batch_shape_of_the_bijector_is_that_of_one(bijectors, name):
    shape = bijectors[name].experimental_batch_shape(x_event_ndims=len(BIJECTORS[name][1]))
    assert shape.as_list() == []


@pytest.mark.parametrize("name", ["additive", "multi-scale"])
def test_every_way_of_running_gives_the_same(bijectors, name):
    b, x = bijectors[name], at(name)

    def both(x):
        return b.forward(x), b.forward_log_det_jacobian(x, x.shape.rank - 1)

    expected = both(x)
    for mode, found in {
        "XLA": tf.function(both, jit_compile=True, autograph=False)(x),
        "vectorized": tf.vectorized_map(functools.partial(_one, both), x),
    }.items():
        for ours, right in zip(found, expected, strict=True):
            np.testing.assert_allclose(
                tf.reshape(ours, right.shape), right, rtol=1e-4, atol=1e-5, err_msg=mode
            )


def _one(both, x):
    """A batch of one, so that every part of `both` knows the rank of events."""
    return both(x[tf.newaxis])
