"""Monotone rational-quadratic splines of [0, 1], element by element."""

import itertools
import math
from typing import NamedTuple

import tensorflow as tf

#: Largest factor by which raw numbers change a width, a height or a slope. Splines with larger ones
#: can be so flat that float32 cannot invert them.
LARGEST_FACTOR = 3.0

# The unit of lengths: from the smallest factor to the largest.
_UNIT = LARGEST_FACTOR - 1.0 / LARGEST_FACTOR
_STEEPNESS = (LARGEST_FACTOR + 1.0) / (LARGEST_FACTOR - 1.0)

# Of the discriminant, which only rounding makes smaller: its square root needs a gradient.
_SMALLEST = 1e-12


class Bin(NamedTuple):
    """The bin of every element: where it begins, its sides, the slopes at its ends, and the sum of
    the sides of all bins. Lengths are in one unit, which results do not depend on.
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
    """Returns a factor between `1 / LARGEST_FACTOR` and `LARGEST_FACTOR`, near 0 about `exp(raw)`.

    ::

        (1 + f e^(c raw)) / (f + e^(c raw)),    f = LARGEST_FACTOR,    c = (f + 1) / (f - 1)

    >>> factor(tf.constant([0.0, 100.0])).numpy().tolist()
    [1.0, 3.0]
    """
    return _UNIT * _share(raw) + 1.0 / LARGEST_FACTOR


def _share(raw):
    """Returns by how much `factor(raw)` is above the smallest factor, in units of `_UNIT`."""
    return tf.sigmoid(_STEEPNESS * raw - math.log(LARGEST_FACTOR))


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
      x: `[..., n]`, in [0, 1].
      raw: `[..., 3 * bins - 1, n]`, any numbers: widths, heights and slopes; zeros for the
        identity.
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
      y: `[..., n]`, in [0, 1].
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
    """Returns the `Bin` of every element, by its position on the axis of widths or heights.

    Every bin is compared and chosen for all elements at once: as fast as gathering, and XLA makes
    one loop of it.
    """
    bins = (raw.shape[-2] + 1) // 3
    counts = [bins, bins, bins - 1, *[1] * (circular is not None)]
    raw_widths, raw_heights, raw_slopes, *raw_ends = tf.split(raw, counts, axis=-2)
    widths, heights = (
        [share + 1.0 / (LARGEST_FACTOR * _UNIT) for share in tf.unstack(_share(raw_sides), axis=-2)]
        for raw_sides in (raw_widths, raw_heights)
    )
    slopes = tf.unstack(raw_slopes, axis=-2)
    (*x, whole_width), (*y, whole_height) = map(itertools.accumulate, (widths, heights))
    position *= (whole_width, whole_height)[axis]
    at_least = [edge <= position for edge in (x, y)[axis]]
    x, y = ([tf.zeros_like(whole_width), *edges] for edges in (x, y))
    sides = list(zip(widths, heights, strict=True))
    # The neighbours of the first and last bin are these themselves, which have a harmless slope.
    befores, afters = [sides[0], *sides[:-1]], [*sides[1:], sides[-1]]
    lefts, rights = [slopes[0], *slopes], [*slopes, slopes[-1]]
    candidates = [
        (*values, *here, *before, *after)
        for *values, here, before, after in zip(
            x, y, lefts, rights, sides, befores, afters, strict=True
        )
    ]
    found = _choose(at_least, candidates)
    x, y, raw_left, raw_right, width, height = found[:6]
    here, before, after = (width, height), found[6:8], found[8:]
    ends = whole_height / whole_width
    if circular is not None:
        at_ends = _slope(tf.squeeze(raw_ends[0], axis=-2), sides[-1], sides[0])
        ends = tf.where(circular, at_ends, ends)
    left = tf.where(at_least[0], _slope(raw_left, before, here), ends)
    right = tf.where(at_least[-1], ends, _slope(raw_right, here, after))
    return Bin(x, y, width, height, left, right, whole_width, whole_height)


def _choose(at_least, candidates):
    """Returns of each element the candidates of its bin: the last one that it is `at_least` in.

    TensorFlow's gradient of each choice would take a dozen operations.
    """
    count = len(candidates[0])
    later = [~at_least[0], *map(tf.logical_and, at_least, map(tf.logical_not, at_least[1:]))]
    here = [*later, at_least[-1]]

    @tf.custom_gradient
    def choose(*flat):
        chosen = flat[:count]
        for i, is_there in enumerate(at_least, 1):
            new = flat[i * count : (i + 1) * count]
            chosen = [tf.where(is_there, *pair) for pair in zip(new, chosen, strict=True)]

        def gradient(*upstream):
            pairs = [(g, tf.zeros_like(g)) for g in upstream]
            return [tf.where(is_here, *pair) for is_here in here for pair in pairs]

        return chosen, gradient

    return choose(*itertools.chain(*candidates))


def _slope(raw, left, right):
    """Returns the slope at the knot between two bins, given by width and height."""
    across = left[0] * right[1] + right[0] * left[1]
    return factor(raw) * 2.0 * left[1] * right[1] / across


def _log_derivative(found, mean, t, product, denominator):
    rest = 1.0 - t
    numerator = found.right * t * t + 2.0 * mean * product + found.left * rest * rest
    ratio = mean / denominator
    return tf.math.log(numerator * ratio * ratio * (found.whole_width / found.whole_height))
