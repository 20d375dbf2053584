"""The base class of bijectors: value and log-det in one pass, and checks of arguments."""

import copy
import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp import _internals, advice
from tfnvp.arguments import check_int
from tfnvp.bijectors.value_and_log_det import Entry, ValueAndLogDet

tfb = tfp.bijectors


class Bijector(ValueAndLogDet, tfb.Bijector):
    """A `tfb.Bijector` written as two functions instead of four.

    A subclass implements `_forward_and_log_det(x)` and `_inverse_and_log_det(y)`; each returns
    the value and the log-det-Jacobian of that direction, the latter with the full batch shape
    of the value. TFP's four public methods follow from them, with one evaluation of the network
    for a value *and* its log-det, and no stale result after a change of the weights.

    `forward_and_log_det` and `inverse_and_log_det` give both at once.

    A bijector that is initialised from data has a method `adapt(y)`, where `y` is a sample of the
    inputs of its inverse, and a property `is_initialized`: if false, `fit` of a flow calls `adapt`.
    """

    _cache = Entry()

    #: Whether the bijector's methods need `condition=...`.
    takes_condition = False

    #: Shape of the events, where the bijector is made for one.
    event_shape = None

    def __init__(
        self,
        event_ndims: Any,
        keras_objects: Any = (),
        parameters: Any = None,
        name: Any = None,
        **kwargs,
    ):
        """Registers the variables of Keras layers and variables with `tf.Module`.

        Args:
          event_ndims: rank of the events, or `(forward, inverse)` ranks.
          keras_objects: the built Keras layers, and variables of Keras or TensorFlow, that the
            bijector uses. Results are cached until one of these changes, so none may be missing.
          parameters: the constructor's arguments, as in `tfb.Bijector`.
          name: name of the bijector.
          **kwargs: further arguments of `tfb.Bijector`.
        """
        forward, inverse = event_ndims if isinstance(event_ndims, tuple) else (event_ndims,) * 2
        ndims = {"forward_min_event_ndims": forward, "inverse_min_event_ndims": inverse}
        super().__init__(parameters=parameters, name=name, **ndims, **kwargs)
        # `tf.Module` finds neither Keras variables nor the weights of Keras layers.
        self._weights = tuple(v for o in keras_objects for v in variables_of(o))

    @classmethod
    def _parameter_properties(cls, dtype: Any) -> dict:
        return {}

    @property
    def started(self) -> bool:
        """The old name of `is_initialized`."""
        advice.warn_of_renamed("started", "is_initialized")
        return self.is_initialized

    def _forward_and_log_det(self, x, **kwargs):
        raise NotImplementedError

    def _inverse_and_log_det(self, y, **kwargs):
        raise NotImplementedError

    # TFP's own hooks, for its default cache and for code that calls them directly.

    def _forward(self, x, **kwargs):
        return self._forward_and_log_det(x, **kwargs)[0]

    def _inverse(self, y, **kwargs):
        return self._inverse_and_log_det(y, **kwargs)[0]

    def _forward_log_det_jacobian(self, x, **kwargs):
        return self._forward_and_log_det(x, **kwargs)[1]

    def _inverse_log_det_jacobian(self, y, **kwargs):
        return self._inverse_and_log_det(y, **kwargs)[1]

    def forward_and_log_det(self, x: tf.Tensor, event_ndims: int | None = None, **kwargs) -> tuple:
        """Returns `forward(x)` and `forward_log_det_jacobian(x)` in one pass.

        Args:
          x: tensor `[..., *event_shape]`.
          event_ndims: number of trailing axes that make one event; default: the bijector's own.
          **kwargs: `condition=...` where the bijector takes one.
        """
        return self._both(x, False, event_ndims, kwargs)

    def inverse_and_log_det(self, y: tf.Tensor, event_ndims: int | None = None, **kwargs) -> tuple:
        """Returns `inverse(y)` and `inverse_log_det_jacobian(y)` in one pass.

        Arguments as for `forward_and_log_det`.
        """
        return self._both(y, True, event_ndims, kwargs)

    def evaluate(
        self, x: tf.Tensor, inverse: bool, event_ndims: int | None = None, **kwargs
    ) -> tuple:
        """Returns the value, its log-det, and for couplings the log-det of each moved variable.

        Args:
          x: tensor `[..., *event_shape]`.
          inverse: bool, evaluate `inverse` instead of `forward`.
          event_ndims: number of trailing axes that make one event; default: the bijector's own.
          **kwargs: `condition=...` where the bijector takes one.

        Returns:
          `(value, log_det, log_scale)`; the last, for couplings, is the log-det of each moved
          variable, otherwise None.
        """
        return *self._both(x, inverse, event_ndims, kwargs), None

    def _both(self, x, inverse, event_ndims, kwargs):
        value, log_det = self._compute(tf.convert_to_tensor(x), inverse, kwargs)
        return value, self._sum_last(log_det, inverse, event_ndims)

    def _constant_log_det(self, x, log_det):
        """Returns a log-det that is the same for all rows, in the batch shape of `x`.

        Args:
          x: tensor `[..., *event]`, the event having the rank of the bijector's events.
          log_det: scalar.
        """
        batch = tf.shape(x)[: x.shape.rank - self.forward_min_event_ndims]
        return tf.fill(batch, tf.cast(log_det, x.dtype))

    def _forward_event_shape(self, shape):
        if self.event_shape is not None and not _ends_in(shape, self.event_shape):
            raise ValueError(
                f"{self.name} is made for events of shape {self.event_shape}. Received: {shape}"
            )
        return shape

    _inverse_event_shape = _forward_event_shape

    def get_config(self) -> dict:
        """Returns the constructor's arguments, which Keras saves for a registered class."""
        return dict(self._arguments())

    def copy(self, **overrides) -> "Bijector":
        """Returns a bijector that shares the weights, perhaps of another `name`.

        With other arguments it is a new bijector, made as `type(self)(...)` from the arguments of
        this one and the given ones: layers among the arguments, such as a conditioner, are shared,
        and variables that the bijector made itself start anew. `copy.deepcopy` shares nothing.
        """
        if overrides.keys() - {"name"}:
            return type(self)(**{**self._arguments(), **overrides})
        return _internals.renamed(copy.copy(self), overrides.get("name", self.name))

    def __getitem__(self, slices):
        # TFP would make a new bijector, with new weights.
        raise TypeError(f"{self.name} has no batch of parameters that could be sliced")


def variables_of(holder: Any) -> list:
    """Returns the `tf.Variable`s of a Keras layer or variable, or of a variable of TensorFlow.

    They train only if their Keras variables do.
    """
    if isinstance(holder, tf.Variable):
        return [holder]
    if isinstance(holder, keras.Variable):
        return [_internals.value_that_follows(holder)]
    if isinstance(holder, keras.layers.Layer):
        return [_internals.value_that_follows(v) for v in holder.weights]
    raise TypeError(f"`keras_objects` must be Keras layers, or variables. Received: {holder!r}")


def event_shape_tuple(event_shape: Any, name: str = "event_shape") -> tuple:
    """Returns an event shape as a tuple of positive ints; raises a clear error otherwise."""
    shape = (event_shape,) if isinstance(event_shape, int) else event_shape
    try:
        shape = tuple(tf.TensorShape(None if isinstance(event_shape, bool) else shape).as_list())
    except (TypeError, ValueError):
        shape = ()
    if not shape or not all(shape):
        raise ValueError(
            f"`{name}` must be a positive int or a sequence of them. Received: {event_shape!r}"
        )
    check_int(f"{name}: number of variables", math.prod(shape), most=2**24)
    return shape


def latent_shape(bijector: tfb.Bijector, event_shape: tuple) -> tuple:
    """Returns the shape of the latents of data points.

    Raises:
      ValueError: if the bijector does not give back points of `event_shape`.
    """
    shape = bijector.inverse_event_shape(event_shape)
    forward_again = bijector.forward_event_shape(shape)
    if not shape.is_fully_defined() or tuple(forward_again) != event_shape:
        raise ValueError(
            f"`event_shape` does not fit the bijector. Received: event_shape={event_shape}, which "
            f"goes to {shape} and comes back as {forward_again}"
        )
    return tuple(shape)


def _ends_in(shape, event_shape):
    """Whether a shape ends in `event_shape`, as far as it is known."""
    return shape.rank is None or shape[max(shape.rank - len(event_shape), 0) :].is_compatible_with(
        event_shape
    )


def check_event(bijector: Any, x: tf.Tensor, event_shape: Any) -> None:
    """Raises an error unless `x` holds floats and ends in `event_shape`, as far as known.

    Raises:
      TypeError: for integers and other types that have no derivatives.
      ValueError: for another shape.
    """
    if not x.dtype.is_floating:
        raise TypeError(
            f"{bijector.name}: expected a tensor of floats (`tf.cast`). Received: {x.dtype.name}"
        )
    check_shape(bijector, x, event_shape)


def check_shape(bijector: Any, x: tf.Tensor, shape: Any, what: str = "a tensor") -> None:
    """Raises `ValueError` unless `x` ends in `shape`, as far as its shape is known."""
    if not _ends_in(x.shape, shape):
        raise ValueError(
            f"{bijector.name}: expected {what} of shape [..., {', '.join(map(str, shape))}]. "
            f"Received shape: {x.shape}"
        )


def check_condition(bijector: Any, condition: Any) -> None:
    """Raises `ValueError` if a condition is given to a bijector that takes none."""
    if condition is not None and not bijector.takes_condition:
        raise ValueError(
            f"{bijector.name} takes no condition without `condition_shape`. Received: {condition!r}"
        )


def check_sample(bijector: Any, y: tf.Tensor) -> tf.Tensor:
    """Returns data as a tensor from which the bijector can be initialised.

    Raises:
      ValueError: unless it is `[batch..., *event_shape]` of finite numbers, and not empty.
    """
    y = tf.convert_to_tensor(y)
    check_shape(bijector, y, bijector.event_shape)
    if not tf.size(y):
        raise ValueError(f"{bijector.name} needs data to initialise. Received shape: {y.shape}")
    if y.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(y)):
        raise ValueError(f"{bijector.name} must initialise from finite numbers. Received: NaN, inf")
    return y
