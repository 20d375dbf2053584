"""Chains, the walk over compositions, and initialisation from data."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.bijector_builders import act_norm, coupling, mixed, multi_scale, points, scaling
from tests.conftest import perturb
from tfnvp.bijectors import (
    ActNorm,
    AdditiveCoupling,
    BatchNormalization,
    Chain,
    DiagonalScaling,
    LULinear,
    MultiScale,
    Squeeze,
    Standardization,
    Whitening,
)
from tfnvp.bijectors.compose import (
    adapts,
    initialize,
    is_initialized,
    members,
    value_and_log_det,
    walk,
)
from tfnvp.conditioners import MLP
from tfnvp.partitions import Split

tfb = tfp.bijectors
chains = pytest.mark.parametrize("chain", [Chain, tfb.Chain], ids=["ours", "TFP's"])


# --- Chain (chain_test.py of TFP) ---------------------------------------------------------------


def test_an_empty_chain_is_the_identity():
    x = points(3, 4)
    np.testing.assert_array_equal(Chain([]).forward(x), x)
    np.testing.assert_array_equal(Chain([]).inverse_log_det_jacobian(x), np.zeros((3, 4)))


@chains
def test_the_last_of_the_list_is_applied_first_and_log_dets_add_up(chain):
    affine, x = coupling(), points(3, 4)
    b = chain([tfb.Exp(), affine, tfb.Shift(1.0)])
    z = affine.forward(x + 1.0)
    np.testing.assert_allclose(b.forward(x), tf.exp(z), rtol=1e-6)
    expected = affine.forward_log_det_jacobian(x + 1.0) + tf.reduce_sum(z, axis=-1)
    np.testing.assert_allclose(b.forward_log_det_jacobian(x), expected, rtol=1e-5)


@chains
def test_shapes_and_ranks_of_a_chain_that_changes_them(chain):
    b = chain([tfb.Reshape(event_shape_out=(2, 2), event_shape_in=(4,)), coupling()])
    assert b.forward_event_shape([4]).as_list() == [2, 2]
    assert b.inverse_event_shape([2, 2]).as_list() == [4]
    np.testing.assert_array_equal(b.forward_event_shape_tensor([4]), [2, 2])
    np.testing.assert_array_equal(b.inverse_event_shape_tensor([2, 2]), [4])
    assert (b.forward_min_event_ndims, b.inverse_min_event_ndims) == (1, 2)
    d = tfp.distributions.TransformedDistribution(
        tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), 4), b
    )
    assert d.log_prob(d.sample(3, seed=(0, 1))).shape == (3,)
    for make, expected in (
        (lambda: [tfb.Exp(), tfb.Softplus()], 0),
        (lambda: [tfb.Exp(), act_norm((2, 3))], 2),
    ):
        assert chain(make()).forward_min_event_ndims == expected


def test_constant_log_dets_count_for_every_event():
    b, x = Chain([tfb.Shift(1.0), tfb.Scale(2.0)]), points(3, 4)
    np.testing.assert_allclose(b.forward_log_det_jacobian(x, 1), 3 * [4 * np.log(2)], rtol=1e-6)
    with pytest.raises(ValueError, match="must be at least 1"):
        Chain([coupling()]).forward_log_det_jacobian(x, 0)


def test_what_is_no_bijector_is_no_member():
    with pytest.raises(TypeError, match="`bijectors` must be a sequence"):
        Chain([keras.layers.Dense(3)])
    with pytest.raises(TypeError, match="`bijectors` must be a sequence"):
        Chain(tfb.Exp())


@pytest.mark.parametrize(
    "wrap",
    [Chain, tfb.Chain, lambda b: tfb.Invert(tfb.Chain([Chain(b)]))],
    ids=["ours", "plain", "nested"],
)
def test_every_view_has_the_same_variables_before_any_call(wrap):
    parts = mixed()
    expected = {id(v) for b in parts for v in b.trainable_variables}
    assert len(expected) == 5 + 2 + 4 + 1
    bijector = wrap(parts)
    base = tfp.distributions.Sample(tfp.distributions.Normal(0.0, 1.0), 4)
    for view in (bijector, tfp.distributions.TransformedDistribution(base, bijector)):
        assert {id(v) for v in view.trainable_variables} == expected


# --- Conditions ---------------------------------------------------------------------------------


def conditional(network=MLP):
    first, second = (
        coupling(size=3, partition=p, condition_shape=2, network=network)
        for p in (Split(1), Split(1).swap())
    )
    third = coupling("additive", 3, Split(1), condition_shape=2, name="third", network=network)
    return Chain([first, tfb.Invert(second), tfb.Chain([third]), scaling(3)])


def test_a_condition_reaches_every_coupling_and_broadcasts():
    chain, x, condition = conditional(), points(4, 3), points(4, 2, seed=2)
    y = tf.identity(chain.forward(x, condition=condition))
    np.testing.assert_allclose(chain.inverse(y, condition=condition), x, atol=1e-4)
    assert np.abs(chain.forward(x, condition=-condition) - y).max() > 1e-2
    one_for_all = chain.forward(x, condition=condition[0])
    np.testing.assert_allclose(one_for_all[0], y[0], rtol=1e-4)
    assert chain.forward(x[0], condition=condition).shape == (4, 3)
    assert chain.forward_log_det_jacobian(x[0], condition=condition).shape == (4,)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
@pytest.mark.parametrize(
    "make", [conditional, lambda: coupling("additive", 3, Split(1), condition_shape=2)]
)
def test_a_condition_that_is_not_finite_gives_nan_in_every_method(make, wrap):
    b = make()
    x = points(3, 3)
    condition = tf.constant([[0.0, 1.0], [np.nan, 0.0], [0.0, np.inf]])
    found = wrap(
        lambda: (
            b.forward(x, condition=condition),
            b.inverse(x, condition=condition),
            b.forward_log_det_jacobian(x, condition=condition),
            b.inverse_log_det_jacobian(x, condition=condition),
            *value_and_log_det(b, x, 1, condition, inverse=False),
            *value_and_log_det(b, x, 1, condition, inverse=True),
        )
    )()
    for result in found:
        assert np.isfinite(result[0]).all()
        assert np.isnan(result[1:]).all()
    one_for_all = b.forward(x, condition=condition[1])
    assert np.isnan(one_for_all).all()
    whole = b.forward(x, condition=tf.zeros((3, 2), tf.int32)) if make is not conditional else x
    assert np.isfinite(whole).all()


def test_a_chain_refuses_a_condition_that_no_member_takes():
    chain = Chain([scaling()])
    for method in (chain.forward, chain.inverse, chain.forward_log_det_jacobian):
        with pytest.raises(ValueError, match="chain takes no condition"):
            method(points(2, 4), condition=tf.ones((2, 2)))


# --- The walk -----------------------------------------------------------------------------------


def composition():
    """A member of each kind: TFP's, inverted, nested, and inside of a multi-scale structure."""
    return Chain(
        [
            tfb.Invert(Chain([tfb.Exp(), act_norm((4, 4, 2))])),
            tfb.Chain([multi_scale(), tfb.Scale(0.5)]),
        ]
    )


@pytest.mark.parametrize("inverse", [False, True])
def test_the_walk_visits_every_elementary_member_with_what_it_gets(inverse):
    b, x = composition(), tf.sigmoid(points(2, 4, 4, 2))
    steps = list(walk(b, x, 3, inverse=inverse))
    kinds = [type(step.bijector).__name__ for step in steps]
    expected = ["ActNorm", "Exp", "AdditiveCoupling", "AffineCoupling", "ActNorm", "Scale"]
    assert kinds == (expected if inverse else expected[::-1])
    assert [step.inverse for step in steps if step.bijector.name == "exp"] == [not inverse]
    total = sum(tf.broadcast_to(step.log_det, [2]) for step in steps)
    method = b.inverse_log_det_jacobian if inverse else b.forward_log_det_jacobian
    np.testing.assert_allclose(total, method(x, 3), rtol=1e-4)
    shapes = {k: s.input.shape[1:] for k, s in zip(kinds, steps, strict=True)}
    assert shapes["AdditiveCoupling"] == (2, 2, 4)
    assert shapes["AffineCoupling"] == (1, 1, 8)
    for step in steps:
        value = step.bijector.inverse if step.inverse else step.bijector.forward
        np.testing.assert_allclose(step.output, value(step.input), rtol=1e-5, atol=1e-5)
        if type(step.bijector).__name__ == "AffineCoupling":
            np.testing.assert_allclose(
                tf.reduce_sum(step.log_scale, [1, 2, 3]), step.log_det, rtol=1e-5
            )
        else:
            assert step.log_scale is None
    value, log_det = value_and_log_det(b, x, 3, inverse=inverse)
    np.testing.assert_allclose(value, (b.inverse if inverse else b.forward)(x), rtol=1e-5)
    np.testing.assert_allclose(log_det, total, rtol=1e-4)


def test_without_data_the_walk_evaluates_nothing(counting_mlp):
    b = Chain(mixed(network=counting_mlp))
    counting_mlp.calls = 0
    assert [step.bijector for step in walk(b)] == b.bijectors == members(tfb.Chain([b]))
    x = points(3, 4)
    next(walk(b, x, 1))
    assert counting_mlp.calls == 0


# --- Initialisation -----------------------------------------------------------------------------

DATA = np.random.default_rng(0).normal(2.0, 3.0, (100, 3)).astype("float32")
KINDS = {
    "act norm": lambda: ActNorm(3, data_init=False),
    "act norm of the first batch": lambda: ActNorm(3),
    "batch normalization": lambda: BatchNormalization(3),
    "diagonal scaling": lambda: DiagonalScaling(3),
    "whitening": lambda: Whitening(3),
    "standardization": lambda: Standardization(3),
    "robust standardization": lambda: Standardization(3, robust=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whether_a_bijector_is_initialized_is_known(kind):
    b = KINDS[kind]()
    assert adapts(b)
    assert not is_initialized(b)
    initialize(b, DATA)
    assert is_initialized(b)
    before = [v.numpy() for v in b.variables]
    initialize(b, DATA + 5, overwrite=False)
    for old, new in zip(before, b.variables, strict=True):
        np.testing.assert_array_equal(old, new)
    initialize(b, 3 * DATA + 5)
    assert any((old != new).numpy().any() for old, new in zip(before, b.variables, strict=True))
    if b.trainable_variables:
        assert is_initialized(perturb(KINDS[kind]()))
    assert not is_initialized(Chain([b, KINDS[kind]()]))
    assert is_initialized(Chain([b, LULinear(3)]))


# Of powers of two, below the squares that float32 holds, and others.
UNITS = {"2^-70, 2^70, 2": [2.0**-70, 2.0**70, 2.0], "others": [3e-22, 7e20, 0.1]}


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "batch normalization"])
def test_units_do_not_matter(kind, units):
    units, results = np.float32(UNITS[units]), []
    for unit in (np.ones(3, "float32"), units):
        b = KINDS[kind]()
        b.adapt(DATA * unit)
        z, log_det = b.inverse_and_log_det(DATA * unit)
        results.append((z, log_det + np.log(unit, dtype="float64").sum()))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_variables_are_only_shifted(kind):
    rows = np.stack([DATA[:, 0], np.full(100, 1e-9), np.full(100, -3e8)], axis=1)
    b = KINDS[kind]()
    b.adapt(rows.astype("float32"))
    z = b.inverse(rows.astype("float32") + np.float32([0, 1, 64])).numpy()
    expected = [1e-9 + 1, -3e8 + 64] if kind == "diagonal scaling" else [1, 64]
    np.testing.assert_allclose(z[:, 0].std(), 1.0, rtol=0.1)
    np.testing.assert_allclose(z[:, 1:], np.tile(expected, (100, 1)), rtol=1e-3)


def test_given_values_initialize():
    assert is_initialized(Whitening(3, mean=[1.0, 0.0, 0.0]))
    assert is_initialized(Whitening(3, matrix=2 * np.eye(3)))
    assert is_initialized(DiagonalScaling(3, initial_log_scale=0.5))


def test_the_old_name_is_an_alias():
    with pytest.deprecated_call(match="`started` is now called `is_initialized`"):
        assert DiagonalScaling(3, initial_log_scale=0.5).started


def test_classes_of_users_may_have_the_old_name():
    class Own(tfb.Shift):
        started = True

        def adapt(self, y):
            raise AssertionError

    own = Own(1.0)
    assert adapts(own)
    assert is_initialized(own)
    initialize(own, DATA, overwrite=False)


def test_members_are_initialized_from_what_they_see_and_no_further(counting_mlp):
    late = AdditiveCoupling(counting_mlp(2, (4,)), Split(1), 3)
    scale, norm = DiagonalScaling(3), ActNorm(3, data_init=False)
    b = Chain([scale, tfb.Invert(tfb.Invert(tfb.Chain([norm]))), late])
    counting_mlp.calls = 0
    initialize(b, DATA)
    assert counting_mlp.calls == 0
    np.testing.assert_allclose(scale.log_scale, np.log(DATA.std(0)), rtol=1e-4)
    z = (DATA / DATA.std(0)).astype("float32")
    np.testing.assert_allclose(norm.shift, z.mean(0), rtol=1e-3)


def test_members_of_scales_are_initialized_from_their_share():
    norm, scale = ActNorm((2, 2, 4), data_init=False), DiagonalScaling((4, 4, 2))
    b = MultiScale(Chain([scale, MultiScale(norm)]))
    assert b.adapts
    assert not b.is_initialized
    assert not MultiScale(tfb.Exp()).adapts
    x = np.random.default_rng(0).normal(3.0, 5.0, size=(200, 8, 8, 1)).astype("float32")
    b.adapt(x)
    assert b.is_initialized
    z = b.inverse(x).numpy()
    pixels = z[:, np.add.outer(np.arange(8), np.arange(8)) % 2 == 1]
    np.testing.assert_allclose(pixels.std(), 5.0, rtol=0.1)
    channels = Squeeze(order="ordered").forward(z)[..., :2]
    np.testing.assert_allclose(np.std(channels, axis=0), np.ones((4, 4, 2)), atol=0.1)
    innermost = Squeeze(order="ordered").forward(channels)[..., :4]
    np.testing.assert_allclose(np.mean(innermost, axis=(0, 1, 2)), np.zeros(4), atol=1e-3)


@pytest.mark.parametrize("kind", [Whitening, ActNorm, BatchNormalization])
def test_only_fitting_data_initializes(kind):
    b = kind(2)
    before = [np.array(v) for v in b.variables]
    for wrong in (DATA, DATA[:, 0]):
        with pytest.raises(ValueError, match=r"expected a tensor of shape \[\.\.\., 2\]"):
            b.adapt(wrong)
    with pytest.raises(ValueError, match="needs data to initialise"):
        b.adapt(DATA[:0, :2])
    with pytest.raises(ValueError, match="must initialise from finite numbers"):
        b.adapt(np.where(DATA[:, :2] > 1.4, np.nan, DATA[:, :2]))
    np.testing.assert_equal([np.array(v) for v in b.variables], before)
