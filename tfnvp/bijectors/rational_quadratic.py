"""Monotone rational-quadratic splines of [0, 1], element by element.

Parameters are lists with one tensor for each bin, instead of tensors with an axis of bins: XLA then
computes everything in one pass over the elements.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

#: Least width or height of a bin, as a share of the bins' mean.
LEAST_SHARE = 0.08

#: Largest ratio of the slope at a knot and the harmonic mean of those of its two bins. Without it a
#: spline between steep knots is so flat that float32 cannot invert it.
LARGEST_RATIO = 10.0

# Of the discriminant, which only rounding makes smaller: its square root needs a gradient.
_SMALLEST = 1e-12


class Side(NamedTuple):
    """Width and height of a bin."""

    width: tf.Tensor
    height: tf.Tensor


class Bin(NamedTuple):
    """The bin of every element: where it begins, its sides, and the slopes at its ends."""

    x: tf.Tensor
    y: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    left: tf.Tensor
    right: tf.Tensor


def bins_of(raw_widths: Sequence[tf.Tensor], raw_heights: Sequence[tf.Tensor]) -> list[Side]:
    """Returns the sides of all bins, which add up to 1, from any numbers.

    With `n` bins, `width_k = least + (1 - n least) softmax(raw)_k`, where `least` is
    `LEAST_SHARE / n`; heights likewise.

    Args:
      raw_widths: one tensor for each bin.
      raw_heights: one tensor for each bin.
    """
    return list(map(Side, _shares(raw_widths), _shares(raw_heights)))


def end_slope(raw: tf.Tensor, bins: Sequence[Side]) -> tf.Tensor:
    """Returns the slope at both ends of a spline whose ends are one knot, from any numbers."""
    return _slope(raw, bins[-1], bins[0])


def forward(
    x: tf.Tensor, bins: Sequence[Side], raw_slopes: Sequence[tf.Tensor], end: Any = 1.0
) -> tuple:
    """Returns the spline at `x` and the logarithm of its derivative, of the shape of `x`.

    With the corner `(x0, y0)` of the bin of `x`, its width `w` and height `h`, the slopes `d0` and
    `d1` at its ends, `s = h / w` and `t = (x - x0) / w`::

        y = y0 + h (s t^2 + d0 t (1 - t)) / (s + (d1 + d0 - 2 s) t (1 - t))

    The slope is `end` at both ends of the spline. At an inner knot it is the harmonic mean of `s`
    of the bins on both sides, times `LARGEST_RATIO ** tanh(raw / log LARGEST_RATIO)`.

    Args:
      x: tensor in [0, 1].
      bins: sides of the bins.
      raw_slopes: one tensor for each inner knot.
      end: number or tensor.

    Source: Durkan et al. 2019 (Neural Spline Flows), equations 4 and 5.
    """
    found = _find_bin(x, [side.width for side in bins], bins, raw_slopes, end)
    t = tf.clip_by_value((x - found.x) / found.width, 0.0, 1.0)
    mean = found.height / found.width
    numerator = (mean * t + found.left * (1.0 - t)) * t
    y = found.y + found.height * numerator / _denominator(found, mean, t)
    return y, _log_derivative(found, mean, t)


def inverse(
    y: tf.Tensor, bins: Sequence[Side], raw_slopes: Sequence[tf.Tensor], end: Any = 1.0
) -> tuple:
    """Returns the inverse of `forward` at `y` and the logarithm of its derivative.

    `t` is the root of `a t^2 + b t + c` in [0, 1], by the form that adds numbers of one sign.

    Args:
      y: tensor in [0, 1].
      bins: as for `forward`.
      raw_slopes: as for `forward`.
      end: as for `forward`.

    Source: Durkan et al. 2019, equations 6 to 8.
    """
    found = _find_bin(y, [side.height for side in bins], bins, raw_slopes, end)
    u = tf.clip_by_value((y - found.y) / found.height, 0.0, 1.0)
    mean = found.height / found.width
    bend = u * (found.left + found.right - 2.0 * mean)
    a, b, c = mean - found.left + bend, found.left - bend, -mean * u
    root = tf.sqrt(tf.maximum(b * b - 4.0 * a * c, _SMALLEST))
    t = tf.clip_by_value(-2.0 * c / (b + root), 0.0, 1.0)
    return found.x + found.width * t, -_log_derivative(found, mean, t)


def _shares(raw):
    largest = raw[0]
    for other in raw[1:]:
        largest = tf.maximum(largest, other)
    largest = tf.stop_gradient(largest)
    weights = [tf.exp(r - largest) for r in raw]
    factor = (1.0 - LEAST_SHARE) / tf.add_n(weights)
    return [LEAST_SHARE / len(raw) + weight * factor for weight in weights]


def _find_bin(position, sizes, bins, raw_slopes, end):
    """Returns the `Bin` of every element, by its position on the axis of `sizes`."""
    x = y = edge = tf.zeros_like(position)
    end = tf.convert_to_tensor(end, position.dtype)
    # Until an element is beyond an edge, its bin is the first, and one before it is not used.
    before, here, after = bins[0], bins[0], bins[1]
    raw_left = raw_right = raw_slopes[0]
    beyond = []
    for k, (last, this) in enumerate(itertools.pairwise(bins), 1):
        # Comparisons have no gradient.
        edge += tf.stop_gradient(sizes[k - 1])
        beyond.append(position >= edge)
        x += tf.where(beyond[-1], last.width, 0.0)
        y += tf.where(beyond[-1], last.height, 0.0)
        before, here = _choose(beyond[-1], last, before), _choose(beyond[-1], this, here)
        raw_left = tf.where(beyond[-1], raw_slopes[k - 1], raw_left)
        if k < len(bins) - 1:
            after = _choose(beyond[-1], bins[k + 1], after)
            raw_right = tf.where(beyond[-1], raw_slopes[k], raw_right)
    left = tf.where(beyond[0], _slope(raw_left, before, here), end)
    right = tf.where(beyond[-1], end, _slope(raw_right, here, after))
    return Bin(x, y, *here, left, right)


def _choose(condition, side, other):
    return Side(*(tf.where(condition, a, b) for a, b in zip(side, other, strict=True)))


def _slope(raw, left, right):
    """Returns the slope at the knot between two bins."""
    bound = math.log(LARGEST_RATIO)
    across = left.width * right.height + right.width * left.height
    return 2.0 * left.height * right.height / across * tf.exp(bound * tf.tanh(raw / bound))


def _denominator(found, mean, t):
    return mean + (found.left + found.right - 2.0 * mean) * t * (1.0 - t)


def _log_derivative(found, mean, t):
    rest = 1.0 - t
    numerator = found.right * t * t + 2.0 * mean * t * rest + found.left * rest * rest
    ratio = mean / _denominator(found, mean, t)
    return tf.math.log(numerator) + 2.0 * tf.math.log(ratio)
