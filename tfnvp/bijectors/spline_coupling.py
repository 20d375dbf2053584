"""The coupling of Neural Spline Flows: a monotone spline for every moved variable."""

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp._internals import prefer_static as ps
from tfnvp.arguments import check_int, is_number
from tfnvp.bijectors import bijector, rational_quadratic
from tfnvp.bijectors.affine_coupling import LOG_SCALES
from tfnvp.bijectors.coupling import Coupling


class SplineCoupling(Coupling):
    """Maps every moved variable by a monotone spline, a function of the passed variables.

    With `(x1, x2) = partition.split(x)` and one rational-quadratic spline `g` of `bins` bins for
    each moved variable::

        forward:  y1 = x1,  y2 = g(x2; x1)          log|det J| =  sum log g'(x2)
        inverse:  x1 = y1,  x2 = g^-1(y2; y1)       log|det J| = -sum log g'(x2)

    Both directions are analytic. `g` maps `[-bound, bound]` to itself and is the identity outside,
    where its derivative is continuous too. The conditioner's raw outputs become factors between 1/3
    and 3: of the widths and heights of the bins, which are then divided by their sums, and of the
    slopes at the inner knots, over the harmonic mean of those of the two bins. With larger factors
    a spline can be so flat that float32 cannot invert it. Zeros give the identity.

    With `tails="affine"` a spline follows a scale and a shift, which also reach values outside of
    the interval. The coupling then contains the affine one, its log-scale `s` bounded by 2::

        y2 = g(x2 * exp(s(x1)) + t(x1); x1)

    A circular variable is an angle: it lives on `[-pi, pi]`, both ends of which are one point, and
    other numbers are taken modulo 2 pi. Its spline has one more slope, at both ends, and is
    followed by a turn, without which the ends would stay where they are::

        y2 = g(x2; x1) + turn(x1)  modulo 2 pi

    The conditioner sees the cosines of circular variables in their places, and their sines behind
    the last variable.

    Args:
      conditioner: Keras layer or model from the passed variables `[batch, *passed_shape]` to
        the parameters: one tensor `[batch, ..., (3 * bins - 1) * n]`, where `n` is the last axis of
        the moved variables: `bins` raw widths, then heights, then `bins - 1` raw slopes, `n` of
        each; or a list of `3 * bins - 1` tensors `[batch, *moved_shape]`. Unless all tails are
        linear there are `3 * bins + 1`: at last the raw log-scale and the shift, or for circular
        variables the raw slope at the ends and the turn in radians. With `condition_shape` it is
        called with the list `[passed, condition]`.
      partition: a `tfnvp.partitions.Partition`.
      event_shape: int or tuple, shape of one event. Needed when the conditioner is not built
        yet: it is then built here. Where given, shapes are checked here.
      bins: int, number of bins of each spline, at least 2.
      bound: float, end of the interval that the splines change. Latents and data should be of unit
        size, as behind `tfnvp.bijectors.Standardization`.
      condition_shape: int or tuple, shape of the `condition` that every call then takes.
      tails: "linear" or "affine", for variables that are real numbers; "circular", for angles; or a
        sequence of these, one for each entry of the last axis of `event_shape`, or of a vector
        without it.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats.

    Raises:
      TypeError: if `conditioner` is not a Keras layer or `partition` not a partition.
      ValueError: if `bins`, `bound` or `tails` is not as above; if the conditioner is unbuilt and
        `event_shape` is not given; if the shapes of event, partition and conditioner do not fit;
        from calls, if the event shape is wrong or a condition is missing or unexpected.

    >>> import keras, tensorflow as tf, tfnvp
    >>> coupling = tfnvp.bijectors.SplineCoupling(
    ...     tfnvp.conditioners.MLP(2 * 11, (8,)), tfnvp.partitions.Split(1), 3, bins=4)
    >>> coupling.forward(tf.constant([[1.0, 2.0, 30.0]])).numpy().round(4).tolist()
    [[1.0, 2.0, 30.0]]

    Source: Durkan, Bekasov, Murray and Papamakarios 2019 (Neural Spline Flows), section 3.1;
    Rezende et al. 2020 (Normalizing Flows on Tori and Spheres), section 2.1.2, for angles.
    """

    def __init__(
        self,
        conditioner: Any,
        partition: Any,
        event_shape: Any = None,
        bins: int = 8,
        bound: float = 5.0,
        condition_shape: Any = None,
        name: str = "spline_coupling",
        tails: Any = "linear",
    ):
        parameters = dict(locals())
        check_int("bins", bins, least=2, most=1000)
        if not is_number(bound) or not 0.0 < bound < math.inf:
            raise ValueError(f"`bound` must be a finite number above 0. Received: {bound!r}")
        self.bins, self.bound = bins, float(bound)
        self.tails = tails if isinstance(tails, str) else tuple(tails)
        size = None if event_shape is None else bijector.event_shape_tuple(event_shape)[-1]
        kinds = {self.tails} if isinstance(tails, str) else set(self.tails)
        fits = isinstance(tails, str) or size in (None, len(self.tails))
        if not kinds or not kinds <= {"linear", "affine", "circular"} or not fits:
            raise ValueError(
                '`tails` must be "linear", "affine", "circular", or a sequence with one of them '
                "for each entry of the last axis. "
                f"Received: {tails!r}, event_shape={event_shape!r}"
            )
        self._kinds = kinds
        super().__init__(conditioner, partition, event_shape, condition_shape, parameters, name)

    @property
    def parameters_per_variable(self) -> int:
        return 3 * self.bins + (-1 if self._kinds == {"linear"} else 1)

    def is_beyond(self, y: tf.Tensor) -> tf.Tensor:
        """Returns which moved variables of `y` no spline changes: bool `[..., *moved_shape]`.

        Args:
          y: value of `forward`, `[..., *event_shape]`.
        """
        moved = self.partition.split(y)[1]
        return (tf.abs(moved) > self.bound) & ~self._circular[1]

    @functools.cached_property
    def _circular(self):
        """Whether variables are circular: bools of the shapes of the passed and the moved ones."""
        return self._which("circular")

    @functools.cached_property
    def _affine(self):
        """Whether moved variables are scaled and shifted."""
        return self._which("affine")[1]

    def _which(self, kind):
        if isinstance(self.tails, str):
            return (np.array(self.tails == kind),) * 2
        mask = np.array(self.tails) == kind
        mask = np.broadcast_to(mask, self.event_shape or mask.shape)
        with tf.init_scope():
            parts = self.partition.split(tf.constant(mask, tf.float32))
            return tuple(part.numpy() > 0 for part in parts)

    def _seen(self, passed):
        if "circular" not in self._kinds:
            return passed
        circular = np.broadcast_to(self._circular[0], passed.shape[1:])
        columns = np.flatnonzero(circular.any(axis=tuple(range(circular.ndim - 1))))
        sines = tf.where(circular, tf.sin(passed), tf.zeros([], passed.dtype))
        seen = tf.where(circular, tf.cos(passed), passed)
        return tf.concat([seen, tf.gather(sines, columns, axis=-1)], axis=-1)

    def _divide(self, parameters):
        """Returns what splines take, `[..., 3 * bins - 1, n]`, and the rows after it or None."""
        count = self.parameters_per_variable
        shape = ps.concat(
            [ps.shape(parameters)[:-1], [count, parameters.shape[-1] // count]], axis=0
        )
        parameters = tf.reshape(parameters, shape)
        if self._kinds == {"linear"}:
            return parameters, None
        return tf.split(parameters, [3 * self.bins - 1, 2], axis=-2)

    def _forward_moved(self, moved, raw, others):
        spline = functools.partial(self._spline, rational_quadratic.forward, turn_after=1.0)
        if not self._affine.any():
            return spline(moved, raw, others)
        shift, log_scale = self._shift_and_log_scale(others)
        moved, log_slope = spline(moved * tf.exp(log_scale) + shift, raw, others)
        return moved, log_slope + log_scale

    def _inverse_moved(self, moved, raw, others):
        spline = functools.partial(self._spline, rational_quadratic.inverse, turn_before=-1.0)
        moved, log_slope = spline(moved, raw, others)
        if not self._affine.any():
            return moved, log_slope
        shift, log_scale = self._shift_and_log_scale(others)
        return (moved - shift) * tf.exp(-log_scale), log_slope - log_scale

    def _shift_and_log_scale(self, others):
        raw, shift = tf.unstack(others, axis=-2)
        affine = self._affine.astype(raw.dtype.as_numpy_dtype)
        return affine * shift, affine * LOG_SCALES["softclamp"](raw, None)

    def _spline(self, spline, moved, raw, others, turn_before=0.0, turn_after=0.0):
        circular = self._circular[1]
        bound, limit = (
            np.where(circular, value, self.bound).astype(moved.dtype.as_numpy_dtype)
            for value in (math.pi, math.inf)
        )
        # The slope at the ends of a spline is 1, so what lies beyond them is added again.
        inside = tf.clip_by_value(moved, -limit, limit)
        position = inside * (0.5 / bound) + 0.5
        if not circular.any():
            position, log_slope = spline(position, raw)
        else:
            at_ends, turn = tf.split(others, 2, axis=-2)
            turn = _fraction(tf.squeeze(turn, axis=-2) * (0.5 / math.pi))
            turn = tf.where(circular, turn, 0.0)
            position = tf.where(circular, _fraction(position + turn_before * turn), position)
            position, log_slope = spline(position, tf.concat([raw, at_ends], axis=-2), circular)
            position = tf.where(circular, _fraction(position + turn_after * turn), position)
        return (position - 0.5) * (2.0 * bound) + (moved - inside), log_slope


def _fraction(x):
    """Returns `x` modulo 1, which can be rounded to 1."""
    return x - tf.floor(x)
