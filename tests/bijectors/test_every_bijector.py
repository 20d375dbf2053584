"""What holds for every bijector and composition: one dictionary of constructors, generic checks."""

import functools
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijector_builders import BIJECTORS, OURS, at, coupling, points
from tfnvp.bijectors import Chain, DiagonalScaling, Logit
from tfnvp.flows.serialization import deserialize, serialize
from tfnvp.partitions import Split
from tfnvp.testing import CHECKS, check_bijector

tfb = tfp.bijectors
LIKE_OTHERS = [
    "affine sigmoid",
    "affine softclamp",
    "affine exp",
    "affine double sigmoid",
    "affine of rows",
    "affine channels",
    "act norm of rows",
    "affine checkerboard",
    "spline of rows",
    "spline checkerboard",
    "spline channels",
    "learned dequantization",
    "spline of angles and numbers",
    "chain",
    "TFP's inversion",
]
AFFINE = [
    "diagonal scaling",
    "act norm",
    "act norm of rows",
    "act norm from data",
    "whitening",
    "lu linear",
    "lu linear of channels",
    "squeeze",
]
CONTRACTS = CHECKS.keys() - {"finite values", "round trip", "log-dets", "variables", "gradients"}
every = pytest.mark.parametrize("name", BIJECTORS)
each_of_ours = pytest.mark.parametrize("name", OURS)


@pytest.fixture(scope="module")
def bijectors():
    return {name: make() for name, (make, _) in BIJECTORS.items()}


@every
def test_every_check_passes(bijectors, name):
    # What differs between scales and partitions is the mathematics.
    check_bijector(bijectors[name], at(name), skip=CONTRACTS if name in LIKE_OTHERS else ())


def test_splines_depend_on_a_condition_as_checked():
    b = coupling("spline", 3, Split(2), bins=2, condition_shape=2)
    check_bijector(b, points(3, 3), points(3, 2, seed=2), skip=CONTRACTS)


@pytest.mark.parametrize("name", [n for n in OURS if "TFP" not in n])
def test_float64_is_exact(bijectors, name):
    b, x = bijectors[name], at(name, dtype=tf.float64)
    y = b.forward(x)
    assert y.dtype == x.dtype
    # Inverse matrices are stored in float32.
    tolerance = 1e-5 if "whitening" in name else 1e-8
    np.testing.assert_allclose(b.inverse(tf.identity(y)), x, rtol=tolerance, atol=tolerance)


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
def test_copies_of_another_name_and_of_a_file(bijectors, name):
    b, x = bijectors[name], at(name)
    y = b.forward(x)
    if name not in ("chain", "chain with TFP's"):  # Of those, TFP's `copy` makes new ones.
        copied = b.copy(name="another")
        assert copied.name == copied.parameters["name"] == "another"
        assert [id(v) for v in copied.variables] == [id(v) for v in b.variables]
        with pytest.raises(TypeError, match="no batch of parameters"):
            b[0]
    restored = deserialize(serialize(b))
    for new, old in zip(restored.variables, b.variables, strict=True):
        new.assign(old)
    np.testing.assert_allclose(restored.forward(tf.identity(x)), y, rtol=1e-6)


@every
def test_a_bijector_is_neither_a_sequence_nor_another(bijectors, name):
    b = bijectors[name]
    assert {b: 1}[b] == 1
    assert b != tfb.Exp()
    with pytest.raises(TypeError):
        iter(b)


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


@pytest.mark.parametrize("name", ["diagonal scaling", "act norm", "whitening", "lu linear"])
def test_affine_bijectors_have_moments(bijectors, name):
    b, shape = bijectors[name], BIJECTORS[name][1]
    base = tfp.distributions.Independent(tfp.distributions.Normal(tf.ones(shape), 1.0), len(shape))
    distribution = tfp.distributions.TransformedDistribution(base, Chain([b]))
    np.testing.assert_allclose(distribution.mean(), b.forward(tf.ones(shape)), rtol=1e-5)
    # Entropy is the mean of -log p: that of the base, and the constant log-det.
    nats = base.entropy() + b.forward_log_det_jacobian(tf.ones(shape), len(shape))
    np.testing.assert_allclose(distribution.entropy(), nats, rtol=1e-5)


@every
def test_only_affine_bijectors_have_a_constant_jacobian(bijectors, name):
    b, (x, other) = bijectors[name], (at(name, 1, seed) for seed in (1, 2))
    assert b.is_constant_jacobian == (name in AFFINE)
    if name in AFFINE:
        middle = b.forward((x + other) / 2)
        np.testing.assert_allclose(middle, (b.forward(x) + b.forward(other)) / 2, atol=1e-4)


def test_bijectors_of_equal_parameters_are_equal():
    assert Logit(0.1) == Logit(0.1) != Logit(0.2)
    assert hash(Logit(0.1)) == hash(Logit(0.1))


@every
def test_batch_shape_of_the_bijector_is_that_of_one(bijectors, name):
    shape = bijectors[name].experimental_batch_shape(x_event_ndims=len(BIJECTORS[name][1]))
    assert shape.as_list() == []


@pytest.mark.parametrize("name", ["additive", "spline", "multi-scale", "scanned couplings"])
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
