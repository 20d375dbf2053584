"""Monotone rational-quadratic splines of [0, 1], element by element."""

import itertools
import math
from typing import NamedTuple

import tensorflow as tf

#: Largest factor by which raw numbers change a width, a height or a slope. Splines with larger ones
#: can be so flat that float32 cannot invert them.
LARGEST_FACTOR = 3.0

_BOUND = math.log(LARGEST_FACTOR)

# Of the discriminant, which only rounding makes smaller: its square root needs a gradient.
_SMALLEST = 1e-12


class Bin(NamedTuple):
    """The bin of every element: where it begins, its sides, the slopes at its ends, and the sum of
    the sides of all bins. Lengths are in units of the factors.
    """

    x: tf.Tensor
    y: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    left: tf.Tensor
    right: tf.Tensor
    whole_width: tf.Tensor
    whole_height: tf.Tensor


def factor(raw: tf.Tensor) -> tf.Tensor:
    """Returns `LARGEST_FACTOR ** tanh(raw / log LARGEST_FACTOR)`, which is about `exp(raw)` at 0.

    >>> factor(tf.constant([0.0, 100.0])).numpy().tolist()
    [1.0, 3.0]
    """
    return tf.exp(_BOUND * tf.tanh(raw / _BOUND))


def forward(
    x: tf.Tensor, raw: tf.Tensor, circular: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the spline at `x` and the logarithm of its derivative, of the shape of `x`.

    With the corner `(x0, y0)` of the bin of `x`, its width `w` and height `h`, the slopes `d0` and
    `d1` at its ends, `s = h / w` and `t = (x - x0) / w`::

        y = y0 + h (s t^2 + d0 t (1 - t)) / (s + (d1 + d0 - 2 s) t (1 - t))

    Widths and heights are proportional to `factor(raw)`. The slope is 1 at both ends of the spline,
    and at an inner knot `factor(raw)` times the harmonic mean of `s` of the bins on both sides. The
    ends of a circular one are together such a knot, between the last bin and the first.

    Args:
      x: `[n]`, in [0, 1].
      raw: `[3 * bins - 1, n]`, any numbers: widths, heights and slopes. Zeros are the identity.
      circular: bool `[n]`, which splines are circular: `raw` has a last row, of slopes at the ends.

    Source: Durkan et al. 2019 (Neural Spline Flows), equations 4 and 5.
    """
    found = _find_bin(x, 0, raw, circular)
    t = tf.clip_by_value((x * found.whole_width - found.x) / found.width, 0.0, 1.0)
    mean, product = found.height / found.width, t * (1.0 - t)
    denominator = mean + (found.left + found.right - 2.0 * mean) * product
    part = (mean * t * t + found.left * product) / denominator
    y = (found.y + found.height * part) / found.whole_height
    return y, _log_derivative(found, mean, t, product, denominator)


def inverse(
    y: tf.Tensor, raw: tf.Tensor, circular: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the inverse of `forward` at `y` and the logarithm of its derivative.

    `t` is the root of `a t^2 + b t + c` in [0, 1], by the form that adds numbers of one sign.

    Args:
      y: `[n]`, in [0, 1].
      raw: as for `forward`.
      circular: as for `forward`.

    Source: Durkan et al. 2019, equations 6 to 8.
    """
    found = _find_bin(y, 1, raw, circular)
    u = tf.clip_by_value((y * found.whole_height - found.y) / found.height, 0.0, 1.0)
    mean = found.height / found.width
    both = found.left + found.right - 2.0 * mean
    bend, c = u * both, mean * u
    a, b = mean - found.left + bend, found.left - bend
    root = tf.sqrt(tf.maximum(b * b + 4.0 * a * c, _SMALLEST))
    t = tf.clip_by_value(2.0 * c / (b + root), 0.0, 1.0)
    product = t * (1.0 - t)
    log_derivative = _log_derivative(found, mean, t, product, mean + both * product)
    return (found.x + found.width * t) / found.whole_width, -log_derivative


def _find_bin(position, axis, raw, circular):
    """Returns the `Bin` of every element, by its position on the axis of widths or heights."""
    bins = (raw.shape[0] + 1) // 3
    raw_sides, raw_slopes, *raw_ends = tf.split(
        raw, [2 * bins, bins - 1, *[1] * (circular is not None)]
    )
    sides = tf.split(factor(raw_sides), 2)
    at_least, beyond = _masks(position, tf.stop_gradient(sides[axis]))
    found = _select(at_least, beyond)(*sides, raw_slopes)
    whole, start, here, before, after = (found[i : i + 2] for i in range(0, 10, 2))
    raw_left, raw_right = found[10:]
    ends = whole[1] / whole[0]
    if circular is not None:
        last, first = ([side[i] for side in sides] for i in (-1, 0))
        ends = tf.where(circular, _slope(raw_ends[0][0], last, first), ends)
    left = tf.where(at_least[1], _slope(raw_left, before, here), ends)
    right = tf.where(at_least[-1], ends, _slope(raw_right, here, after))
    return Bin(*start, *here, left, right, *whole)


def _masks(position, sizes):
    """Tells for each bin whether an element is in it or a later one, and in a later one."""
    *edges, whole = itertools.accumulate(tf.unstack(sizes))
    inner = tf.stack(edges) <= position * whole
    outer = tf.zeros_like(inner[:1])
    return tf.concat([~outer, inner], axis=0), tf.concat([inner, outer], axis=0)


def _select(at_least, beyond):
    """Returns a function that adds up sides, and selects those and slopes of the elements' bins.

    It has products with masks, since TensorFlow is slow in choosing by masks of other shapes, and
    a gradient of its own, which takes fewer operations.
    """
    here = at_least & ~beyond
    none = tf.zeros_like(here[:1])
    # The neighbours of the first and last bin are these themselves, which have a harmless slope.
    before = tf.concat([here[1:], none], axis=0) | (here & ~at_least[1])
    after = tf.concat([none, here[:-1]], axis=0) | (here & at_least[-1])

    @tf.custom_gradient
    def select(widths, heights, raw_slopes):
        masks = [tf.cast(mask, widths.dtype) for mask in (beyond, here, before, after)]
        of_knots = masks[1][1:], masks[1][:-1]
        sides = widths, heights
        outputs = [tf.reduce_sum(side, axis=0) for side in sides]
        outputs += [tf.reduce_sum(mask * side, axis=0) for mask in masks for side in sides]
        outputs += [tf.reduce_sum(mask * raw_slopes, axis=0) for mask in of_knots]

        def gradient(*upstream):
            whole, others = upstream[:2], (upstream[2:10:2], upstream[3:10:2])
            of_sides = [
                tf.add_n([mask * g for mask, g in zip(masks, gs, strict=True)]) + w
                for w, gs in zip(whole, others, strict=True)
            ]
            return *of_sides, of_knots[0] * upstream[10] + of_knots[1] * upstream[11]

        return outputs, gradient

    return select


def _slope(raw, left, right):
    """Returns the slope at the knot between two bins, given by width and height."""
    across = left[0] * right[1] + right[0] * left[1]
    return factor(raw) * 2.0 * left[1] * right[1] / across


def _log_derivative(found, mean, t, product, denominator):
    rest = 1.0 - t
    numerator = found.right * t * t + 2.0 * mean * product + found.left * rest * rest
    ratio = mean / denominator
    return tf.math.log(numerator * ratio * ratio * (found.whole_width / found.whole_height))
