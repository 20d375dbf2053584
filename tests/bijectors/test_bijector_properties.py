"""Couplings are what they claim for any size, partition, dtype, batch shape and way of running."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bijector_builders import act_norm, coupling, points, scaling
from tfnvp.bijectors import Chain, Logit
from tfnvp.bijectors.affine_coupling import LOG_SCALES
from tfnvp.partitions import EvenOdd, Mask, Split

# Derandomized: the same examples everywhere, so that a failure is a change of the code.
budget = functools.partial(settings, deadline=None, derandomize=True, database=None)

SIZES = st.sampled_from([2, 3, 7, 7, 7, 784])
DTYPES = st.sampled_from([tf.float32, tf.float64])
BATCH_SHAPES = st.sampled_from([(), (1,), (3,), (2, 3)])
SEEDS = st.integers(0, 100)


@st.composite
def partitions(draw, size):
    swapped = draw(st.booleans())
    kind = draw(st.sampled_from(["split", "even_odd", "mask"]))
    if kind == "even_odd":
        return EvenOdd(swapped=swapped)
    if kind == "split":
        d = draw(st.integers(1, size - 1)) * draw(st.sampled_from([-1, 1]))
        return Split(d, swapped=swapped)
    mask = np.random.default_rng(draw(SEEDS)).random(size) < 0.5
    mask[0], mask[-1] = True, False  # Neither all true nor all false.
    return Mask(mask, swapped=swapped)


@st.composite
def couplings(draw, sizes=SIZES):
    """Makers of couplings: Hypothesis wants no random numbers, as of weights, while it draws."""
    size = draw(sizes)
    kwargs = {"size": size, "partition": draw(partitions(size))}
    kind = draw(st.sampled_from(["additive", *LOG_SCALES]))
    if kind == "additive":
        return functools.partial(coupling, "additive", **kwargs)
    return functools.partial(coupling, "affine", scale=kind, **kwargs)


def tolerance(dtype):
    # The conditioner is float32 in both; within one coupling it sees the same numbers twice.
    return {"rtol": 1e-4, "atol": 1e-4} if dtype == tf.float32 else {"rtol": 1e-9, "atol": 1e-9}


@budget(max_examples=25)
@given(couplings(), DTYPES, BATCH_SHAPES, SEEDS)
def test_round_trip_and_log_dets(make, dtype, batch, seed):
    bijector = make()
    x = points(*batch, *bijector.event_shape, seed=seed, dtype=dtype)
    y, log_det = bijector.forward_and_log_det(x)
    back, inverse_log_det = bijector.inverse_and_log_det(y)
    assert y.dtype == back.dtype == log_det.dtype == inverse_log_det.dtype == dtype
    assert y.shape == x.shape
    assert log_det.shape == inverse_log_det.shape == batch
    np.testing.assert_allclose(back, x, **tolerance(dtype))
    np.testing.assert_allclose(inverse_log_det, -log_det, **tolerance(dtype))
    np.testing.assert_allclose(bijector.forward(bijector.inverse(x)), x, **tolerance(dtype))


@budget(max_examples=20)
@given(couplings(st.sampled_from([2, 3, 7])), SEEDS)
def test_log_det_is_that_of_the_jacobian(make, seed):
    bijector = make()
    x = points(2, *bijector.event_shape, seed=seed, dtype=tf.float64)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = bijector.forward(x)
    jacobian = tape.batch_jacobian(y, x, experimental_use_pfor=False)
    expected = tf.linalg.slogdet(jacobian).log_abs_determinant
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(x), expected, rtol=1e-6, atol=1e-9)


@budget(max_examples=25)
@given(couplings(), SEEDS)
def test_passed_variables_pass_and_parts_depend_as_they_should(make, seed):
    bijector = make()
    x = points(3, *bijector.event_shape, seed=seed)
    passed, moved = bijector.partition.split(x)
    passed_after, _ = bijector.partition.split(bijector.forward(x))
    np.testing.assert_array_equal(passed_after, passed)
    # The log-det is a function of the part that passes alone.
    other = bijector.partition.merge(passed, moved + 1.0)
    np.testing.assert_allclose(
        bijector.forward_log_det_jacobian(other),
        bijector.forward_log_det_jacobian(x),
        rtol=1e-5,
        atol=1e-5,
    )


def modes(bijector):
    """Ways to run `forward_and_log_det` on `[batch, size]`."""
    spec = [tf.TensorSpec([None, *bijector.event_shape], tf.float32)]
    run = bijector.forward_and_log_det
    return {
        "graph": tf.function(run, autograph=False),
        "unknown batch": tf.function(run, input_signature=spec, autograph=False),
        "XLA": tf.function(run, jit_compile=True, autograph=False),
        "vectorized": lambda x: tf.vectorized_map(run, x),
    }


@budget(max_examples=15)
@given(couplings(), st.sampled_from([1, 3]), SEEDS)
def test_every_way_of_running_gives_the_same(make, batch, seed):
    bijector = make()
    x = points(batch, *bijector.event_shape, seed=seed)
    expected, expected_log_det = bijector.forward_and_log_det(x)
    for mode, run in modes(bijector).items():
        y, log_det = run(x)
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5, err_msg=mode)
        np.testing.assert_allclose(log_det, expected_log_det, rtol=1e-4, atol=1e-4, err_msg=mode)
        assert log_det.shape == expected_log_det.shape, mode


@pytest.mark.parametrize(
    ("make", "event_shape"),
    [
        (scaling, (4,)),
        (act_norm, (4,)),
        (lambda: act_norm((3, 2)), (3, 2)),
        (Logit, (4,)),
        (lambda: Chain([scaling(), coupling(), act_norm()]), (4,)),
    ],
    ids=["scaling", "act_norm", "act_norm_positions", "logit", "chain"],
)
def test_other_bijectors_run_everywhere_too(make, event_shape):
    bijector = make()
    x = tf.sigmoid(points(3, *event_shape))

    def both(x):
        # The event's rank given, because an elementwise bijector would keep its axes.
        ndims = len(event_shape)
        return bijector.forward(x), bijector.forward_log_det_jacobian(x, event_ndims=ndims)

    expected = both(x)
    spec = [tf.TensorSpec([None, *event_shape], tf.float32)]
    for run in (
        tf.function(both, input_signature=spec, autograph=False),
        tf.function(both, jit_compile=True, autograph=False),
        functools.partial(tf.vectorized_map, both),
    ):
        for actual, value in zip(run(x), expected, strict=True):
            np.testing.assert_allclose(actual, value, rtol=1e-5, atol=1e-5)


EXTREMES = [0.0, 1e-45, -1e-40, 1e-38, 1e4, -1e4]


# Not "exp", whose log-scale has no bounds.
@pytest.mark.parametrize("kind", ["additive", "tanh", "sigmoid", "softclamp"])
@budget(max_examples=15)
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
    return coupling("additive") if kind == "additive" else coupling(scale=kind)


@budget(max_examples=25)
@given(st.data(), SIZES, DTYPES, BATCH_SHAPES)
def test_partitions_merge_what_they_split(data, size, dtype, batch):
    partition = data.draw(partitions(size))
    x = points(*batch, size, dtype=dtype)
    passed, moved = partition.split(x)
    assert (passed.shape[-1:], moved.shape[-1:]) == partition.shapes((size,))
    np.testing.assert_array_equal(partition.merge(passed, moved), x)
    swapped_passed, swapped_moved = partition.swap().split(x)
    np.testing.assert_array_equal(swapped_passed, moved)
    np.testing.assert_array_equal(swapped_moved, passed)
    assert partition.swap().swap() == partition
