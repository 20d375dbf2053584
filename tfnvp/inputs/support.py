"""The support of a flow: the data that the bijectors next to the data can invert."""

from collections.abc import Callable
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
from tfnvp.inputs.bounds import CURE, CURE_OF_CIRCLES, outside_of_bounds
from tfnvp.inputs.columns import column_namer
from tfnvp.inputs.rules import unsupported

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
            x = np.where(_has_ends(member), 0.0, x)
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

    def find_unusable(
        self, x: np.ndarray, name: str, variable: Callable[[tuple], str] | None = None
    ) -> str | None:
        """Returns what `find_outside` does, with what to do about rows that are trained on."""
        fault, cure = self._fault_and_cure(x, name, variable)
        return f"{fault}. {cure}" if cure else fault

    def find_outside(
        self, x: np.ndarray, name: str, variable: Callable[[tuple], str] | None = None
    ) -> str | None:
        """Describes the first finite value outside of the support, or its row, or returns None.

        Args:
          x: `[n, *event_shape]`.
          name: what messages call the data.
          variable: function from the index of a variable to what messages call it, or None.
        """
        return self._fault_and_cure(x, name, variable)[0]

    def _fault_and_cure(self, x, name, variable):
        rows = max(1, _CHUNK_ELEMENTS // max(1, x[:1].size))
        for first in range(0, len(x), rows):
            piece = tf.cast(x[first : first + rows], tf.float32)
            bad = (~self.accepts(piece) & like_rows(finite_rows(piece), piece)).numpy()
            if bad.any():
                row, *rest = map(int, np.argwhere(bad)[0])
                if self._intervals:
                    return self._outside_of_interval(x, tuple(rest), name, variable)
                index = (first + row, *rest) if self._single else (first + row,)
                return unsupported(x, index, name, self._names), None
        return None, None

    def _outside_of_interval(self, x, index, name, variable):
        column, shape = np.asarray(x[(slice(None), *index)], "float32"), self._event_shape
        member = next(m for m in self._intervals if np.broadcast_to(_has_ends(m), shape)[index])
        ends = (np.broadcast_to(end, shape)[index] for end in (member.low, member.high))
        ends = (end.astype("float32") for end in ends)
        circular = isinstance(member, Angles)

        def place(row):
            return f"{name}[{', '.join(map(str, (row, *index)))}]"

        variable = variable or column_namer(None)
        fault = f"`{name}`: {variable(index)} {outside_of_bounds(column, *ends, place, circular)}"
        return fault, CURE_OF_CIRCLES if circular else CURE


def all_of_row(good: tf.Tensor) -> tf.Tensor:
    """Whether all entries of a row are true: `[batch]` of bool `[batch, ...]`."""
    return tf.reduce_all(good, list(range(1, good.shape.rank)))


def finite_rows(x: tf.Tensor) -> tf.Tensor:
    """Whether all values of a row are finite: bool `[batch]`."""
    return all_of_row(tf.math.is_finite(x))


def like_rows(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns `[batch]` with further axes of size 1, as many as `x` has."""
    return tf.reshape(values, [-1] + [1] * (x.shape.rank - 1))


def _has_ends(member):
    """Returns which variables have an interval by `Bounds` or `Angles`: bools of event shape."""
    return np.isfinite(member.low) | np.isfinite(member.high)


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
