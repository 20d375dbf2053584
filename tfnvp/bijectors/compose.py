"""Compositions of bijectors: one walk over their members, and a chain that takes a condition."""

import dataclasses
import functools
from collections.abc import Generator
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp import _internals
from tfnvp.bijectors.bijector import Bijector, check_condition
from tfnvp.bijectors.coupling import Coupling, mark_not_finite
from tfnvp.bijectors.value_and_log_det import Entry, ValueAndLogDet

tfb = tfp.bijectors


@dataclasses.dataclass(eq=False)
class Step:
    """One elementary member of a composition, at its place in a walk.

    It is evaluated when a result is first requested, or when the walk continues.

    Attributes:
      bijector: the member, neither chain nor `tfb.Invert` nor `MultiScale`.
      inverse: bool, whether the walk takes the member's inverse.
      input: tensor that the member gets, or None in a walk without data.
      event_ndims: rank of the events of `input`.
      condition: the condition of the whole walk.
    """

    bijector: Any
    inverse: bool
    input: tf.Tensor | None
    event_ndims: int | None
    condition: Any
    _found: tuple | None = None

    def _evaluate(self):
        b = self.bijector
        kwargs = condition_kwargs(b, self.condition)
        if isinstance(b, Bijector):
            if kwargs and isinstance(b, Coupling):
                kwargs["mark"] = False  # Once for the whole composition, see `value_and_log_det`.
            return b.evaluate(self.input, self.inverse, self.event_ndims, **kwargs)
        direction = "inverse" if self.inverse else "forward"
        value, log_det = getattr(b, direction), getattr(b, f"{direction}_log_det_jacobian")
        # A new tensor is not in TFP's caches, which know neither weights nor gradient tapes.
        x = tf.identity(self.input)
        return value(x, **kwargs), log_det(x, self.event_ndims, **kwargs), None

    @property
    def _results(self):
        # Not a `cached_property`: threads share its lock, and replicas wait for each other.
        if self._found is None and self.input is not None:
            self._found = self._evaluate()
        return self._found or (None, None, None)

    @property
    def output(self) -> tf.Tensor | None:
        """The output of the member for `input`."""
        return self._results[0]

    @property
    def log_det(self) -> tf.Tensor | None:
        """The log-det in the direction of the walk: `[batch]`, or a scalar where it is constant."""
        return self._results[1]

    @property
    def log_scale(self) -> tf.Tensor | None:
        """For couplings, the log-det of each moved variable; None for others and for shifts."""
        return self._results[2]


def walk(
    bijector: Any,
    x: Any = None,
    event_ndims: int | None = None,
    condition: Any = None,
    inverse: bool = True,
) -> Generator[Step, None, tf.Tensor]:
    """Walks data through every elementary member of a bijector, one after the other.

    It enters chains, `tfb.Invert` and `MultiScale`, whose members get their half. A member can be
    changed, for example by `adapt`, before the results of its step are requested. If the caller
    stops early, the remaining members are not evaluated.

    Args:
      bijector: any `tfb.Bijector`.
      x: `[batch..., *event]` with `event_ndims`; without it, members are visited, not evaluated.
      event_ndims: rank of the events of `x`.
      condition: for the members that take one.
      inverse: from the data to the latents; otherwise from the latents to the data.

    Yields:
      A `Step` for each elementary member.

    Returns:
      The output of the bijector for `x`.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> chain = tfp.bijectors.Chain([tfp.bijectors.Shift(1.0), tfp.bijectors.Scale(2.0)])
    >>> for step in walk(chain, tf.constant([[7.0]]), event_ndims=1):
    ...     print(step.bijector.name, step.output.numpy().tolist())
    shift [[6.0]]
    scale [[3.0]]
    """
    if _internals.is_invert(bijector):
        return (yield from walk(bijector.bijector, x, event_ndims, condition, not inverse))
    if _internals.is_chain(bijector):
        for member in bijector.bijectors if inverse else reversed(bijector.bijectors):
            x = yield from walk(member, x, event_ndims, condition, inverse)
            if event_ndims is not None:
                rank = member.inverse_event_ndims if inverse else member.forward_event_ndims
                event_ndims = rank(event_ndims)
        return x
    if hasattr(bijector, "walk_inner"):
        inner = functools.partial(
            walk, event_ndims=event_ndims, condition=condition, inverse=inverse
        )
        return (yield from bijector.walk_inner(x, inner))
    step = Step(bijector, inverse, x, event_ndims, condition)
    yield step
    return step.output


@tf.autograph.experimental.do_not_convert
def value_and_log_det(
    bijector: Any, x: tf.Tensor, event_ndims: int, condition: Any = None, inverse: bool = True
) -> tuple:
    """Returns what a bijector makes of `x`, and its log-det, summed over the axes of one event.

    Arguments as for `walk`.
    """
    x, total = tf.convert_to_tensor(x), 0.0
    steps = walk(bijector, x, event_ndims, condition, inverse)
    try:
        while True:
            total += next(steps).log_det
    except StopIteration as end:
        value = end.value
    shapes = (getattr(step.bijector, "condition_shape", None) for step in walk(bijector))
    shape = None if condition is None else next(filter(None, shapes), None)
    if shape is None:
        return value, total
    rank = bijector.inverse_event_ndims if inverse else bijector.forward_event_ndims
    condition = tf.convert_to_tensor(condition)
    return mark_not_finite(value, total, rank(event_ndims), condition, len(shape))


def foreign_members(bijector: Any) -> tuple:
    """Returns the elementary members that are not ours, but TFP's or a user's."""
    return tuple(s.bijector for s in walk(bijector) if not isinstance(s.bijector, Bijector))


def members(bijector: Any) -> list:
    """Returns the bijectors of a chain, nested and inverted ones unfolded, the data side first."""
    inner = bijector.bijector if _internals.is_invert(bijector) else None
    if _internals.is_chain(inner):
        return [_inverted(member) for member in reversed(members(inner))]
    if not _internals.is_chain(bijector):
        return [bijector]
    return [member for b in bijector.bijectors for member in members(b)]


def _inverted(bijector):
    return bijector.bijector if _internals.is_invert(bijector) else tfb.Invert(bijector)


def takes_condition(bijector: Any) -> bool:
    """Whether a bijector, or any member of a composition, takes `condition=...`."""
    return any(getattr(step.bijector, "takes_condition", False) for step in walk(bijector))


def condition_kwargs(bijector: Any, condition: Any) -> dict:
    """Returns the keyword arguments by which `condition` reaches a bijector's methods."""
    if condition is None or not takes_condition(bijector):
        return {}
    if _internals.is_invert(bijector):
        return condition_kwargs(bijector.bijector, condition)
    if _internals.is_chain(bijector) and not hasattr(bijector, "takes_condition"):
        # A plain `tfb.Chain` finds each member's arguments under the member's name.
        return {b.name: condition_kwargs(b, condition) for b in bijector.bijectors}
    return {"condition": condition}


# --- Initialisation from data -----------------------------------------------------------------


def _needs_data(step):
    """Whether a member is initialised from what its inverse sees."""
    return step.inverse and hasattr(step.bijector, "adapt")


def _is_initialized(bijector):
    # A user's class may have only the old name.
    own = getattr(bijector, "is_initialized", None)
    return getattr(bijector, "started", False) if own is None else own


def adapts(bijector: Any) -> bool:
    """Whether any member of a bijector is initialised from data."""
    return any(map(_needs_data, walk(bijector)))


def is_initialized(bijector: Any) -> bool:
    """Whether all members that are initialised from data have values, from data or training."""
    return all(_is_initialized(step.bijector) for step in walk(bijector) if _needs_data(step))


def initialize(bijector: Any, y: Any, condition: Any = None, overwrite: bool = True) -> None:
    """Initialises the members one after the other, each from what its inverse will see.

    Nothing is computed beyond the last member that needs data.

    Args:
      bijector: any `tfb.Bijector`; its members that have a method `adapt(y)` are initialised.
      y: `[batch, ...]`, data.
      condition: `[batch, ...]`, for the members that take one.
      overwrite: also initialise members whose `is_initialized` is true.
    """
    count = sum(map(_needs_data, walk(bijector)))
    y = tf.convert_to_tensor(y)
    for step in walk(bijector, y, y.shape.rank - 1, condition) if count else ():
        if not _needs_data(step):
            continue
        if overwrite or not _is_initialized(step.bijector):
            step.bijector.adapt(step.input, **condition_kwargs(step.bijector, condition))
        count -= 1
        if not count:
            return


# --- Bijectors with members ---------------------------------------------------------------------


class Composition(ValueAndLogDet):
    """A mixin of bijectors with members, which are evaluated by a walk over them."""

    @property
    def takes_condition(self) -> bool:
        """Whether any member takes `condition=...`."""
        return takes_condition(self)

    def _forward_and_log_det(self, x, condition=None):
        return self._evaluate(x, condition, False, self.forward_min_event_ndims)

    def _inverse_and_log_det(self, y, condition=None):
        return self._evaluate(y, condition, True, self.inverse_min_event_ndims)

    def _evaluate(self, x, condition, inverse, event_ndims):
        check_condition(self, condition)
        value, log_det = value_and_log_det(self, x, event_ndims, condition, inverse)
        # A log-det that is the same everywhere counts for each event.
        rank = self.forward_min_event_ndims if inverse else self.inverse_min_event_ndims
        batch = tf.shape(value)[: value.shape.rank - rank]
        return value, tf.broadcast_to(tf.cast(log_det, value.dtype), batch)


class Chain(Composition, _internals.plain_chain):
    """Applies bijectors one after the other, the last of the list first, as `tfb.Chain` does.

    Three things differ. `condition=...`, given to any method, reaches every member that takes one,
    also inside nested `tfb.Chain` and `tfb.Invert`; `tfb.Chain` needs the arguments of each member
    under the member's name. A condition that is not finite gives NaN. Gradients are right on every
    tape, while TFP's own members may return results cached before the tape began.

    Args:
      bijectors: sequence of `tfb.Bijector`s, ours or TFP's.
      name: name of the bijector.

    Raises:
      TypeError: if a member is not a bijector.
      ValueError: in methods, for a condition that no member takes.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> chain = tfnvp.bijectors.Chain([tfp.bijectors.Exp(), tfp.bijectors.Shift(1.0)])
    >>> chain.inverse(tf.constant([1.0])).numpy().tolist()
    [-1.0]
    """

    _cache = Entry()

    def __init__(self, bijectors: Any, name: str = "chain"):
        is_single = isinstance(bijectors, tfb.Bijector)
        bijectors = [bijectors] if is_single else list(bijectors)
        for b in bijectors:
            if is_single or not isinstance(b, tfb.Bijector):
                raise TypeError(f"`bijectors` must be a sequence of tfb.Bijectors. Received: {b!r}")
        parameters = {"bijectors": bijectors, "name": name}
        super().__init__(bijectors, parameters=parameters, name=name)
        self._weights, self._foreign = tuple(self.variables), foreign_members(self)

    def _forward_log_det_jacobian(self, x, event_ndims, **kwargs):
        return self._sum_last(self._value_and_log_det(x, False, kwargs)[1], False, event_ndims)

    def _inverse_log_det_jacobian(self, y, event_ndims, **kwargs):
        return self._sum_last(self._value_and_log_det(y, True, kwargs)[1], True, event_ndims)

    # TFP walks shapes and dtypes with these two.
    def _walk_forward(self, step_fn, x, condition=None):
        check_condition(self, condition)
        for bijector in reversed(self._bijectors):
            x = step_fn(bijector, x, **condition_kwargs(bijector, condition))
        return x

    def _walk_inverse(self, step_fn, y, condition=None):
        check_condition(self, condition)
        for bijector in self._bijectors:
            y = step_fn(bijector, y, **condition_kwargs(bijector, condition))
        return y
