"""Angles: equations, both ends of an interval, what lies beyond them, units."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfnvp.bijectors import Angles

ANGLES = Angles([0.0, None, -1.5], [360.0, None, 0.5])


def test_equations():
    y, log_det = ANGLES.forward_and_log_det(np.array([-math.pi / 2, 7.0, math.pi / 2]))
    np.testing.assert_allclose(y, [90.0, 7.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(log_det, [np.log(180 / math.pi), 0.0, -np.log(math.pi)])


def test_both_ends_are_one_point_and_nothing_lies_beyond():
    x = ANGLES.inverse([[0.0, 7.0, 0.5], [360.0, 7.0, -1.5]])
    np.testing.assert_allclose(x, [[-math.pi, 7.0, math.pi], [math.pi, 7.0, -math.pi]], rtol=1e-6)
    np.testing.assert_array_equal(ANGLES.forward(tf.identity(x)), [[0.0, 7.0, -1.5]] * 2)
    assert np.isnan(ANGLES.inverse([-1e-3, 7.0, 0.51])).tolist() == [True, False, True]
    assert np.isnan(ANGLES.forward([np.nan, np.nan, np.nan])).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_forward_gives_lies_in_the_interval(dtype):
    angles = Angles([0.0, 1e-9, -7e9, 100.0], [1.0, 3e-9, 0.0, 101.0])
    ends = [math.pi - 1e-6, math.pi - 1e-14, math.pi, math.pi + 1e-7, 9.0, 1e4]
    y = angles.forward(tf.constant([[sign * x] * 4 for x in ends for sign in (-1, 1)], dtype))
    assert (y >= angles.low.astype(dtype)).numpy().all()
    assert (y < angles.high.astype(dtype)).numpy().all()


def test_units_shift_log_dets_and_nothing_else():
    c, y = 2.0**-40, np.float32([[0.3, 7.0, -1.2], [359.9, 1.0, 0.4]])
    scaled = Angles([0.0, None, -1.5 * c], [360.0 * c, None, 0.5 * c])
    x, log_det = ANGLES.inverse_and_log_det(y)
    same, shifted = scaled.inverse_and_log_det(y * np.float32([c, 1, c]))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_allclose(shifted, log_det + 40 * np.log(2) * np.float32([1, 0, 1]), rtol=1e-6)


def test_the_nearest_of_equal_points():
    y, to = [[1.0, 9.0, -1.4], [359.0, 1.0, 0.0]], [[359.0, 1.0, 0.4], [1.0, 9.0, 0.0]]
    expected = [[361.0, 9.0, 0.6], [-1.0, 1.0, 0.0]]
    np.testing.assert_allclose(ANGLES.nearest(y, to), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, None, "must both be numbers, or both None"),
        ([0.0, None], [1.0, 2.0], "must both be numbers, or both None"),
        (1.0, 1.0, r"low below high, .*float32.* Received: \(1.0, 1.0\)"),
        ([0.0, 0.0], [1.0, 1.0, 1.0], "`low` and `high` must be numbers or None, or arrays"),
    ],
)
def test_other_intervals_are_refused(low, high, message):
    with pytest.raises(ValueError, match=message):
        Angles(low, high)
