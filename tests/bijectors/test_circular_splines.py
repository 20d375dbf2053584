"""Spline couplings of angles: a circle has no ends, and networks see no jump."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bijector_builders import spline
from tfnvp.bijectors import SplineCoupling
from tfnvp.conditioners import MLP
from tfnvp.partitions import Checkerboard, EvenOdd, Split
from tfnvp.testing import CHECKS, check_bijector

MIXED = ("circular", "linear", "affine", "circular")
TAILS = ["linear", "affine", "circular", MIXED]
MATHEMATICS = ("finite values", "round trip", "log-dets", "variables", "gradients")


def angles(*shape, seed=0, dtype=tf.float32):
    return tf.random.stateless_uniform(shape, (seed, 0), -math.pi, math.pi, dtype)


@pytest.mark.parametrize("tails", TAILS)
@pytest.mark.parametrize("swapped", [False, True])
def test_zeros_give_the_identity_on_circles(tails, swapped):
    coupling = SplineCoupling(
        MLP(2 * (3 * 3 + (-1 if tails == "linear" else 1)), (4,)),
        EvenOdd(swapped),
        4,
        bins=3,
        tails=tails,
    )
    x = angles(50, 4)
    y, log_det = coupling.forward_and_log_det(x)
    np.testing.assert_allclose(y, x, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_the_ends_of_a_circle_are_one_point_that_moves(method):
    coupling = spline(MIXED, partition=Split(3))
    start = angles(20, 4).numpy()
    ends = []
    for end in (-math.pi, math.pi - 1e-5, math.pi, 3 * math.pi):
        start[:, [0, 3]] = end
        value, log_det = getattr(coupling, f"{method}_and_log_det")(tf.constant(start))
        ends.append((np.exp(1j * value.numpy()[:, 3]), log_det))
    for other in ends[1:]:
        for one, same in zip(ends[0], other, strict=True):
            np.testing.assert_allclose(same, one, atol=3e-3)
    # Without a turn the point would stay where it is, and without a slope of its own be 1 there.
    assert np.abs(np.angle(-ends[0][0])).min() > 1e-3
    assert np.abs(ends[0][1]).min() > 1e-3


def test_values_are_angles_and_round_trips_cross_the_ends():
    coupling = spline("circular", stddev=2.0)
    x = angles(500, 4)
    y = coupling.forward(x)
    assert np.abs(y).max() <= np.float32(math.pi)
    moved = np.abs(y - x).max(axis=1)
    assert (moved > math.pi).any()  # Some wrap.
    turns = (coupling.inverse(tf.identity(y)) - x) / (2 * math.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "partition", "tails"),
    [
        (3, EvenOdd(), "circular"),
        ((2, 1, 2), Checkerboard(), ("linear", "circular")),
        ((2, 2), Split(1), ("circular", "affine")),
        (4, EvenOdd(swapped=True), MIXED),
    ],
    ids=str,
)
def test_other_shapes_and_tails(size, partition, tails):
    coupling, shape = spline(tails, size, partition), (size,) if isinstance(size, int) else size
    check_bijector(coupling, 0.3 * angles(2, *shape), skip=CHECKS.keys() - set(MATHEMATICS))


def test_networks_see_cosines_and_sines_of_the_circular_variables_that_pass():
    seen = []

    class Network(keras.layers.Layer):
        def call(self, inputs):
            seen.append(inputs.numpy())
            return keras.ops.zeros((len(inputs), 3 * 2 + 1))

    coupling = SplineCoupling(
        Network(), Split(3), 4, bins=2, tails=("linear", "circular", "circular", "linear")
    )
    coupling.forward(tf.constant([[5.0, 0.5, -2.0, 0.0]]))
    expected = [[5.0, np.cos(0.5), np.cos(-2.0), np.sin(0.5), np.sin(-2.0)]]
    np.testing.assert_allclose(seen[-1], expected, rtol=1e-6)


@pytest.mark.parametrize("tails", ["round", (), ("linear",), ("linear", "round"), ["linear"] * 3])
def test_other_tails_are_refused(tails):
    with pytest.raises(ValueError, match='`tails` must be "linear", "affine", "circular", or a'):
        SplineCoupling(MLP(5, ()), Split(1), 2, bins=2, tails=tails)
