"""What every tfnvp bijector shares: value and log-det in one pass, and a cache that never lies."""

import copy

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability.python.internal import cache_util

from tfnvp.bijectors.gradient_tapes import TapeVersion
from tfnvp.bijectors.weights_version import WeightsVersion

tfb = tfp.bijectors


class Bijector(tfb.Bijector):
    """A `tfb.Bijector` written as two functions instead of four.

    A subclass implements `_forward_and_log_det(x)` and `_inverse_and_log_det(y)`; each returns
    the value and the log-det-Jacobian of that direction, the latter with the full batch shape
    of the value. TFP's four public methods follow from them, with one evaluation of the network
    for a value *and* its log-det, and never a stale answer after the weights changed.

    `forward_and_log_det` and `inverse_and_log_det` give both at once.
    """

    # TFP's own `tfb.FFJORD` computes its log-det together with its value by this cache.
    _cache = cache_util.BijectorCacheWithGreedyAttrs(
        forward_name="_augmented_forward", inverse_name="_augmented_inverse"
    )

    #: Whether the bijector's methods need `condition=...`.
    takes_condition = False

    #: Shape of the events, where the bijector is made for one.
    event_shape = None

    def __init__(self, event_ndims, keras_objects=(), parameters=None, name=None, **kwargs):
        """Registers the variables of Keras layers and variables with `tf.Module`.

        Args:
          event_ndims: rank of the events, or `(forward, inverse)` ranks.
          keras_objects: the built Keras layers, and variables of Keras or TensorFlow, that the
            bijector uses. Answers are kept until one of these changes, so all must be there.
          parameters: the constructor's arguments, as in `tfb.Bijector`.
          name: name of the bijector.
          **kwargs: further arguments of `tfb.Bijector`.
        """
        forward_ndims, inverse_ndims = (
            event_ndims if isinstance(event_ndims, tuple) else (event_ndims, event_ndims)
        )
        super().__init__(
            forward_min_event_ndims=forward_ndims,
            inverse_min_event_ndims=inverse_ndims,
            parameters=parameters,
            name=name,
            **kwargs,
        )
        # `tf.Module` finds neither Keras variables nor the weights of Keras layers.
        self._weights = tuple(v for o in keras_objects for v in _variables_of(o))
        self._weights_version = WeightsVersion(self._weights)
        self._tape_version = TapeVersion(bool(self._weights))

    @classmethod
    def _parameter_properties(cls, dtype):
        return {}

    def _forward_and_log_det(self, x, **kwargs):
        raise NotImplementedError

    def _inverse_and_log_det(self, y, **kwargs):
        raise NotImplementedError

    def forward_and_log_det(self, x, event_ndims=None, **kwargs):
        """Returns `forward(x)` and `forward_log_det_jacobian(x)` in one pass.

        Args:
          x: tensor `[..., *event_shape]`.
          event_ndims: number of trailing axes that make one event; default: the bijector's own.
          **kwargs: `condition=...` where the bijector takes one.
        """
        y, log_det = self._forward_and_log_det(tf.convert_to_tensor(x), **kwargs)
        return y, _sum_last(log_det, event_ndims, self.forward_min_event_ndims)

    def inverse_and_log_det(self, y, event_ndims=None, **kwargs):
        """Returns `inverse(y)` and `inverse_log_det_jacobian(y)` in one pass.

        Arguments as for `forward_and_log_det`.
        """
        x, log_det = self._inverse_and_log_det(tf.convert_to_tensor(y), **kwargs)
        return x, _sum_last(log_det, event_ndims, self.inverse_min_event_ndims)

    def _augmented_forward(self, x, **kwargs):
        y, log_det = self._forward_and_log_det(x, **kwargs)
        self._tape_version.computed(y)
        return y, {"ildj": -log_det}

    def _augmented_inverse(self, y, **kwargs):
        x, log_det = self._inverse_and_log_det(y, **kwargs)
        self._tape_version.computed(x)
        return x, {"ildj": log_det}

    def _forward_event_shape(self, input_shape):
        self._check_event_shape(input_shape)
        return input_shape

    def _inverse_event_shape(self, output_shape):
        self._check_event_shape(output_shape)
        return output_shape

    def _check_event_shape(self, shape):
        if self.event_shape is not None and not _ends_in(shape, self.event_shape):
            raise ValueError(
                f"{self.name} is made for events of shape {self.event_shape}. Received: {shape}"
            )

    def _forward(self, x, **kwargs):
        return self._forward_and_log_det(x, **kwargs)[0]

    def _inverse(self, y, **kwargs):
        return self._inverse_and_log_det(y, **kwargs)[0]

    def _forward_log_det_jacobian(self, x, **kwargs):
        return self._forward_and_log_det(x, **kwargs)[1]

    def _inverse_log_det_jacobian(self, y, **kwargs):
        return self._inverse_and_log_det(y, **kwargs)[1]

    def get_config(self):
        """Returns the constructor's arguments, by which Keras saves a registered class."""
        return dict(self.parameters)

    def copy(self, **overrides):
        """Returns a bijector that shares the weights, perhaps of another `name`.

        With other arguments it is a new bijector, made as `type(self)(...)` from the arguments of
        this one and the given ones: layers among the arguments, such as a conditioner, are shared,
        and variables that the bijector made itself start anew. `copy.deepcopy` shares nothing.
        """
        if overrides.keys() - {"name"}:
            return super().copy(**overrides)
        copied = copy.copy(self)
        copied._name = overrides.get("name", self.name)
        copied._parameters = {**self._parameters, **overrides}
        return copied

    def __getitem__(self, slices):
        # TFP would make a new bijector, with new weights.
        raise TypeError(f"{self.name} has no batch of parameters that could be sliced")

    def __deepcopy__(self, memo):
        copied = type(self)(**copy.deepcopy(self.parameters, memo))
        for new, old in zip(copied._weights, self._weights, strict=True):
            new.assign(old)
        return memo.setdefault(id(self), copied)

    def __hash__(self):
        """Hashes what answers depend on: TFP's caches, keyed by it, miss when any of it changes.

        Beside parameters and weights that is the gradient tape that records.
        """
        return hash((super().__hash__(), self._weights_version(), self._tape_version()))

    def __eq__(self, other):
        return super().__eq__(other)


def _variables_of(keras_object):
    if isinstance(keras_object, tf.Variable):
        return [keras_object]
    if isinstance(keras_object, keras.Variable):
        return [keras_object.value]
    if isinstance(keras_object, keras.layers.Layer):
        return [v.value for v in keras_object.weights]
    raise TypeError(
        "`keras_objects` must be Keras layers, or variables of Keras or TensorFlow. "
        f"Received: {keras_object!r}"
    )


def _sum_last(log_det, event_ndims, own_event_ndims):
    extra = 0 if event_ndims is None else event_ndims - own_event_ndims
    if extra < 0:
        raise ValueError(
            f"`event_ndims` must be at least {own_event_ndims}. Received: {event_ndims}"
        )
    return tf.reduce_sum(log_det, axis=list(range(-extra, 0))) if extra else log_det


def event_shape_tuple(event_shape, name="event_shape"):
    """Returns an event shape as a tuple of positive ints; raises a clear error otherwise."""
    shape = (event_shape,) if isinstance(event_shape, int) else event_shape
    if isinstance(event_shape, bool):
        shape = (None,)
    try:
        shape = tuple(tf.TensorShape(shape).as_list())
    except (TypeError, ValueError):
        shape = (None,)
    if not shape or any(size is None or size < 1 for size in shape):
        raise ValueError(
            f"`{name}` must be a positive int or a non-empty sequence of them. "
            f"Received: {event_shape!r}"
        )
    return shape


def _ends_in(shape, event_shape):
    """Tells whether a shape ends in `event_shape`, as far as it is known."""
    rank = len(event_shape)
    return shape.rank is None or (
        shape.rank >= rank and shape[shape.rank - rank :].is_compatible_with(event_shape)
    )


def check_event(bijector, x, event_shape):
    """Raises an error unless `x` holds floats and ends in `event_shape`, as far as known.

    Raises:
      TypeError: for integers and other types that have no derivatives.
      ValueError: for another shape.
    """
    if not x.dtype.is_floating:
        raise TypeError(
            f"{bijector.name}: expected a tensor of floats, which `tf.cast(x, tf.float32)` makes. "
            f"Received dtype: {x.dtype.name}"
        )
    check_shape(bijector, x, event_shape)


def check_shape(bijector, x, shape, what="a tensor"):
    """Raises `ValueError` unless `x` ends in `shape`, as far as its shape is known."""
    if not _ends_in(x.shape, shape):
        raise ValueError(
            f"{bijector.name}: expected {what} of shape [..., {', '.join(map(str, shape))}]. "
            f"Received shape: {x.shape}"
        )
