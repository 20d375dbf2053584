"""Couplings as one program are the chain of the same couplings."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.bijector_builders import points, scanned
from tests.conftest import perturb
from tfnvp.bijectors import (
    AdditiveCoupling,
    AffineCoupling,
    Chain,
    ScannedCouplings,
    SplineCoupling,
)
from tfnvp.bijectors.compose import value_and_log_det, walk
from tfnvp.conditioners import MLP, GatedConvNet, GradientCheckpointing, StandardizedCondition
from tfnvp.partitions import Checkerboard, EvenOdd, RandomHalves, Split

PARTITIONS = (Split(2), EvenOdd(), RandomHalves(3, swapped=True))


def chain_of(b, partitions, **kwargs):
    """The chain of couplings that have the weights of scanned ones."""
    couplings = []
    for i, partition in enumerate(partitions):
        coupling = AffineCoupling(MLP(4, (8,)), partition, 4, **kwargs)
        for variable, stack in zip(coupling.variables, b.weights, strict=True):
            variable.assign(stack[i])
        couplings.append(coupling)
    return Chain(couplings)


@pytest.mark.parametrize("conditional", [False, True])
def test_it_is_the_chain_of_its_couplings(conditional):
    kwargs = {"condition_shape": 3} if conditional else {}
    b = scanned(partitions=PARTITIONS, **kwargs)
    expected = chain_of(b, PARTITIONS, **kwargs)
    x, called = points(2, 5, 4), {}
    if conditional:
        called = {"condition": points(5, 3)}
    for inverse in (False, True):
        name = "inverse_and_log_det" if inverse else "forward_and_log_det"
        with tf.GradientTape(persistent=True) as tape:
            ours, log_det = getattr(b, name)(x, **called)
            loss = tf.reduce_sum(ours**2) + tf.reduce_sum(log_det)
            right, right_det = value_and_log_det(expected, x, 1, *called.values(), inverse=inverse)
            right_loss = tf.reduce_sum(right**2) + tf.reduce_sum(right_det)
        np.testing.assert_allclose(ours, right, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(log_det, right_det, rtol=1e-5, atol=1e-5)
        gradients = tape.gradient(loss, [v.value for v in b.weights])
        by_coupling = [
            tape.gradient(right_loss, list(member.variables)) for member in expected.bijectors
        ]
        for stack, rows in zip(gradients, zip(*by_coupling, strict=True), strict=True):
            np.testing.assert_allclose(stack, tf.stack(rows), rtol=1e-4, atol=1e-4)


def test_conditions_that_are_not_finite_give_nan():
    b = scanned(condition_shape=1)
    y, log_det = b.forward_and_log_det(points(2, 4), condition=tf.constant([[1.0], [np.nan]]))
    assert np.isnan(y).any(axis=1).tolist() == np.isnan(log_det).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"scanned_couplings needs `condition=`"):
        b.forward(points(2, 4))
    with pytest.raises(ValueError, match=r"takes no condition"):
        scanned().forward(points(2, 4), condition=points(2, 1))


def test_each_coupling_starts_from_weights_of_its_own():
    def kernels():
        keras.utils.set_random_seed(1)
        pattern = AffineCoupling(MLP(4, (8,)), Split(2), 4)
        return ScannedCouplings(pattern, PARTITIONS).weights[0].numpy()

    first = kernels()
    assert len({row.tobytes() for row in first}) == 3
    np.testing.assert_array_equal(kernels(), first)


def test_events_of_another_shape_than_the_pattern():
    pattern = perturb(AdditiveCoupling(MLP((2, 2), (4,)), Split(2), (2, 4)))
    b = perturb(ScannedCouplings(pattern, [Split(1), Split(1, True)], event_shape=(4, 2)))
    x = points(3, 4, 2)
    y = b.forward(x)
    assert y.shape == x.shape
    np.testing.assert_allclose(b.inverse(tf.identity(y)), x, atol=1e-5)
    # The second one, next to the latents, moves what passes in the first.
    alone = ScannedCouplings(pattern, [Split(1, True)], event_shape=(4, 2)).forward(x)
    np.testing.assert_array_equal(alone[..., 1], x[..., 1])
    assert (alone[..., 0] != x[..., 0]).numpy().all()


def test_a_walk_sees_one_bijector_and_one_copy_of_the_weights():
    b = scanned()
    assert [step.bijector for step in walk(Chain([b]), points(1, 4), 1)] == [b]
    flow = tfnvp.Flow(b, 4)
    assert b.submodules == ()
    assert [tuple(v.shape) for v in flow.weights] == [(2, 2, 8), (2, 8), (2, 8, 4), (2, 4), (2, 2)]
    assert len({v.path for v in flow.weights}) == 5
    stack = flow.layers[0]
    assert (stack.name, stack.count_params()) == ("scanned_couplings", 2 * (16 + 8 + 32 + 4 + 2))
    stack.trainable = False
    assert not flow.trainable_weights


def test_the_program_is_as_long_for_many_couplings_as_for_few():
    def operations(count):
        b = scanned(partitions=[Split(2), Split(-2)] * (count // 2))

        @tf.function(autograph=False)
        def gradients(x):
            return tf.gradients(b.inverse_and_log_det(x)[1], [x])

        return len(
            gradients.get_concrete_function(tf.TensorSpec([None, 4])).graph.as_graph_def().node
        )

    assert operations(2) == operations(6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_trains_every_coupling(jit_compile):
    flow = tfnvp.Flow(scanned(partitions=PARTITIONS, gradient_checkpointing=jit_compile), 4)
    before = flow.get_weights()
    flow.compile("adam", jit_compile=jit_compile)
    flow.fit(points(32, 4), batch_size=16, epochs=1, verbose=0)
    for old, new in zip(before, flow.get_weights(), strict=True):
        assert (old != new).reshape(len(old), -1).any(axis=1).all()


def test_regularizers_count_for_every_coupling():
    network = keras.Sequential([keras.layers.Dense(4, kernel_regularizer="l2")])
    flow = tfnvp.Flow(ScannedCouplings(AffineCoupling(network, Split(2), 4), PARTITIONS), 4)
    (kernel,) = (v for v in flow.weights if "kernel" in v.path)
    np.testing.assert_allclose(flow.losses, [0.01 * np.sum(np.square(kernel))], rtol=1e-5)


class WithoutConfig(MLP):
    def get_config(self):
        raise NotImplementedError


def dense(**kwargs):
    return AffineCoupling(keras.Sequential([keras.layers.Dense(4, **kwargs)]), Split(2), 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ScannedCouplings(tfnvp.bijectors.Logit(), PARTITIONS), TypeError, "`coupling`"),
        (
            lambda: ScannedCouplings(AdditiveCoupling(MLP(2, (4,)), Split(2), 4), []),
            ValueError,
            "`partitions` must hold one",
        ),
        (lambda: ScannedCouplings(dense(), ["even"]), TypeError, "`partitions` must be of tfnvp"),
        (lambda: ScannedCouplings(dense(), [Split(1)]), ValueError, r"\[2, 2\].*Split.*\[1, 3\]"),
        (
            lambda: ScannedCouplings(dense(), [Checkerboard()], (2, 2, 1)),
            ValueError,
            r"\[2, 2\], and fill none with zeros",
        ),
        # Here the sizes agree: 4 pixels pass, padded, and 2 move.
        (
            lambda: ScannedCouplings(
                AffineCoupling(GatedConvNet(2, 2, 0), Checkerboard(), (2, 2, 1)), [Checkerboard()]
            ),
            ValueError,
            r"PackedCheckerboard.*\[4, 2\] of 4",
        ),
        (
            lambda: ScannedCouplings(
                SplineCoupling(MLP(13, (4,)), Split(1), 2, bins=4, tails=("circular", "affine")),
                [Split(1)],
            ),
            ValueError,
            "same tails for all variables",
        ),
        (lambda: scanned(WithoutConfig), ValueError, "needs `get_config`"),
        (
            lambda: ScannedCouplings(dense(activity_regularizer="l2"), PARTITIONS)(points(2, 4)),
            ValueError,
            "without `activity_regularizer`",
        ),
        (
            lambda: ScannedCouplings(dense(kernel_constraint="non_neg"), PARTITIONS),
            ValueError,
            "no constraints",
        ),
        (
            lambda: scanned(lambda *sizes: MLP(*sizes, dropout=0.5)),
            ValueError,
            "without dropout.*seed",
        ),
        (
            lambda: scanned(lambda *s: StandardizedCondition(MLP(*s)), condition_shape=2),
            ValueError,
            "running statistics",
        ),
        (
            lambda: scanned(lambda *sizes: GradientCheckpointing(MLP(*sizes))),
            ValueError,
            "take the argument `gradient_checkpointing`",
        ),
    ],
)
def test_couplings_that_cannot_be_stacked_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_pattern_needs_the_shape_of_its_events():
    network = MLP(4, (4,))
    network.build((None, 2))
    with pytest.raises(ValueError, match="`event_shape`"):
        ScannedCouplings(AffineCoupling(network, Split(2), scale="exp"), [Split(2)])
