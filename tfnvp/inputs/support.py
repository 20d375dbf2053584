"""The support of a flow: the data that the bijectors next to the data can invert."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp._internals import is_invert
from tfnvp.bijectors.angles import Angles
from tfnvp.bijectors.bijector import Bijector
from tfnvp.bijectors.bounds import Bounds
from tfnvp.bijectors.compose import (
    Chain,
    adapts,
    members,
    takes_condition,
    value_and_log_det,
    walk,
)
from tfnvp.inputs.bounds import Circle, Pair
from tfnvp.inputs.columns import column_namer
from tfnvp.inputs.outside import OutsideOfBounds

# Numbers that are inverted at a time.
_CHUNK_ELEMENTS = 2**20

# A latent inside of every support, such as that of the inverse of a softplus.
_LATENT = 0.5


def support_of(bijector: Any) -> tuple[float, float] | None:
    """Returns the smallest and largest data of a bijector whose `domain` says so, else None.

    The bijector next to the data decides, by its attribute `domain` if it is an inverted one.
    """
    first = next(iter(members(bijector)), None)
    return getattr(first.bijector, "domain", None) if is_invert(first) else None


class DataSide:
    """The bijectors on the data side of a flow, whose inverses tell which data has a density.

    They are the ones before the first that is learned from all variables, is initialised from data
    or takes a condition. Without a bijector of variable log-det, such as softplus, exponential,
    sigmoid or logit, all data has a density.

    Args:
      bijector: the bijector of the flow.
      event_shape: shape of one data point.

    >>> import tensorflow as tf, tensorflow_probability as tfp
    >>> DataSide(tfp.bijectors.Exp(), (2,)).accepts(tf.constant([[1.0, 0.0]])).numpy().tolist()
    [[True, False]]
    """

    def __init__(self, bijector: Any, event_shape: tuple[int, ...]):
        found = []
        for member in members(bijector):
            if not _is_simple(member):
                break
            found.append(member)
        while found and _accepts_all(found[-1]):
            found.pop()
        self._names = ", ".join(member.name for member in found)
        self._angles = [member for member in found if isinstance(member, Angles)]
        # Where no other bijector decides, messages describe the column.
        known = all(isinstance(member, (Angles, Bounds)) for member in found)
        self._intervals = found if known else []
        self._bijector = Chain(found) if found else None
        self._event_shape = event_shape
        self._single = all(
            b.forward_min_event_ndims == b.inverse_min_event_ndims == 0 for b in found
        )

    def __bool__(self) -> bool:
        return self._bijector is not None

    def accepts(self, x: tf.Tensor) -> tf.Tensor:
        """Whether the inverse and its log-det are finite.

        Args:
          x: `[batch, *event_shape]`.

        Returns:
          bool tensor of the shape of `x`, or `[batch, 1, ...]` where a bijector uses several
          variables at once.
        """
        z, log_det = self._latents_and_log_det(x)
        if self._single:
            return tf.math.is_finite(z) & tf.math.is_finite(log_det)
        good = tf.reduce_all(tf.math.is_finite(z), list(range(1, z.shape.rank)))
        good &= tf.math.is_finite(log_det)
        return like_rows(good, x)

    def latents(self, x: tf.Tensor) -> tf.Tensor:
        """Returns data `[batch, ...]` as the bijectors behind the data side get it."""
        return self._latents_and_log_det(x)[0] if self else x

    def _latents_and_log_det(self, x):
        return value_and_log_det(self._bijector, x, 0 if self._single else len(self._event_shape))

    def unbounded(self, x: np.ndarray) -> np.ndarray:
        """Returns data with zeros in place of the variables that have bounds of their own."""
        if self and not self._intervals:
            return np.zeros_like(x)
        for member in self._intervals:
            x = np.where(np.isinf(member.low) & np.isinf(member.high), x, 0.0)
        return x

    def nearest(self, x: npt.ArrayLike, to: npt.ArrayLike) -> npt.ArrayLike:
        """Returns data, circular variables moved by whole turns to where they are nearest `to`."""
        for member in self._angles:
            x = member.nearest(x, to)
        return x

    def inner_point(self) -> tf.Tensor:
        """Returns one data point that is inside of the support: `event_shape`."""
        shape = self._bijector.inverse_event_shape(self._event_shape)
        return self._bijector.forward(tf.fill([1, *shape], _LATENT))[0]

    @property
    def bounds(self) -> list[Pair] | None:
        """The bounds of each variable, in the order of their values; None for other supports.

        Those of circular ones are a `Circle`.
        """
        found = [(-np.inf, np.inf)] * math.prod(self._event_shape)
        for member in reversed(self._intervals):
            make = Circle if isinstance(member, Angles) else lambda low, high: (low, high)
            ends = (np.broadcast_to(end, self._event_shape) for end in (member.low, member.high))
            for i, (low, high) in enumerate(zip(*(end.flat for end in ends), strict=True)):
                if np.isfinite(low) or np.isfinite(high):
                    found[i] = make(float(low), float(high))
        return found if self._intervals else None

    def find_outside(
        self,
        x: np.ndarray,
        name: str,
        variable: Callable[[tuple], str] | None = None,
        with_cures: bool = False,
    ) -> str | None:
        """Describes the first variable of an array with finite values outside, or returns None.

        Args:
          x: `[n, *event_shape]`.
          name: what messages call the data.
          variable: function from the index of a variable to what messages call it, or None.
          with_cures: also say what to do about rows that are trained on.
        """
        found = OutsideOfSupport(
            self,
            f"`{name}`",
            variable or column_namer(None),
            lambda index: f"{name}[{', '.join(map(str, index))}]",
        )
        found.add(x)
        return next(found.faults(with_cures), None)

    def first_outside(self, x: np.ndarray) -> tuple[int, ...] | None:
        """Returns the index of the first finite value outside, or of its row, or None."""
        rows = max(1, _CHUNK_ELEMENTS // max(1, x[:1].size))
        for first in range(0, len(x), rows):
            piece = tf.cast(x[first : first + rows], tf.float32)
            bad = (~self.accepts(piece) & like_rows(finite_rows(piece), piece)).numpy()
            if bad.any():
                row, *rest = map(int, np.argwhere(bad)[0])
                return (first + row, *rest) if self._single else (first + row,)
        return None

    def describe(self, value: Any, subject: str, place: str) -> str:
        """Describes a value, or row, that the bijectors cannot invert."""
        return (
            f"{subject} must lie in the support of the flow, where the inverse of {self._names} is "
            f"finite. Received: {value} in {place}"
        )


class OutsideOfSupport:
    """What a pass over pieces of rows finds outside of a flow's support.

    Args:
      side: `DataSide` of the flow.
      source: what messages call the data.
      variable: function from the index of a variable to what messages call it.
      place: function from the index of a value, its row first, or of a row, to what messages call
        it.
    """

    def __init__(
        self,
        side: DataSide,
        source: str,
        variable: Callable[[tuple], str],
        place: Callable[[tuple], str],
    ):
        self._side, self._source, self._variable, self._place = side, source, variable, place
        self._bounded = None if side.bounds is None else OutsideOfBounds(side.bounds)
        self._rows, self._fault, self._event_shape = 0, None, ()

    def add(self, x: np.ndarray) -> None:
        """Looks at the next rows, `[n, *event_shape]`."""
        self._event_shape = x.shape[1:]
        if self._bounded is not None:
            self._bounded.add(x.reshape(len(x), math.prod(self._event_shape)))
        elif self._side and self._fault is None and (index := self._side.first_outside(x)):
            row, *rest = index
            subject = f"{self._source}: {self._variable(tuple(rest))}" if rest else self._source
            place = self._place((self._rows + row, *rest))
            self._fault = self._side.describe(x[index], subject, place)
        self._rows += len(x)

    def faults(self, with_cures: bool = False) -> Iterator[str]:
        """Yields a description of each variable that has bounds and values outside, or of one.

        Args:
          with_cures: also say what to do about rows on bounds and beyond.
        """
        if self._bounded is None:
            yield from [] if self._fault is None else [self._fault]
            return
        for i in self._bounded.columns:
            index = tuple(map(int, np.unravel_index(i, self._event_shape)))
            place = functools.partial(self._place_of, index)
            described = self._bounded.describe(i, place)
            cure = f". {self._bounded.cure(i)}" * with_cures
            yield f"{self._source}: {self._variable(index)} {described}{cure}"

    def _place_of(self, index, row):
        return self._place((row, *index))


def all_of_row(good: tf.Tensor) -> tf.Tensor:
    """Whether all entries of a row are true: `[batch]` of bool `[batch, ...]`."""
    return tf.reduce_all(good, list(range(1, good.shape.rank)))


def finite_rows(x: tf.Tensor) -> tf.Tensor:
    """Whether all values of a row are finite: bool `[batch]`."""
    return all_of_row(tf.math.is_finite(x))


def like_rows(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` with further axes of size 1, as many as `x` has."""
    return tf.reshape(values, [-1] + [1] * (x.shape.rank - 1))


def _accepts_all(bijector):
    """Whether a simple bijector is known to invert all numbers: it scales or reorders them."""
    first = bijector.bijector if is_invert(bijector) else bijector
    reorders = isinstance(first, Bijector) and first.forward_min_event_ndims > 0
    return reorders or bijector.is_constant_jacobian


def _is_simple(bijector):
    """Whether a bijector acts on single variables, or has neither variables nor functions."""
    if takes_condition(bijector) or adapts(bijector) or adapts(tfp.bijectors.Invert(bijector)):
        return False
    if bijector.forward_min_event_ndims == bijector.inverse_min_event_ndims == 0:
        return True
    parts = [step.bijector for step in walk(bijector)]
    return not bijector.variables and not any(map(_has_function, parts))


def _has_function(bijector):
    # The networks of TFP's bijectors create their variables in their first call.
    return any(
        callable(value) and not isinstance(value, tfp.bijectors.Bijector)
        for value in bijector.parameters.values()
    )
