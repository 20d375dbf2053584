"""What all coupling layers share: split, condition, transform the moved part, merge."""

from typing import Any

import keras
import tensorflow as tf

from tfnvp._internals import prefer_static as ps
from tfnvp.bijectors import bijector
from tfnvp.conditioners.first_call import first_outputs
from tfnvp.partitions import Partition


class Coupling(bijector.Bijector):
    """Moves a part of the variables by parameters computed from the part that passes.

    With `(x1, x2) = partition.split(x)` and `theta = conditioner(x1)`::

        forward:  y1 = x1,  y2 = g(x2; theta)
        inverse:  x1 = y1,  x2 = g^-1(y2; theta)

    Subclasses state how many parameters each moved variable takes and what `g` is.
    """

    #: Parameters that the conditioner gives for each moved variable.
    parameters_per_variable = 1

    def __init__(
        self,
        conditioner: Any,
        partition: Any,
        event_shape: Any,
        condition_shape: Any,
        parameters: Any,
        name: str,
        variables: Any = (),
    ):
        if not isinstance(partition, Partition):
            raise TypeError(f"`partition` must be of tfnvp.partitions. Received: {partition!r}")
        if not isinstance(conditioner, keras.layers.Layer):
            raise TypeError(
                "`conditioner` must be a Keras 3 layer or model, whose `call` can be any function. "
                f"Received: {conditioner!r}"
            )
        if event_shape is None and not conditioner.built:
            raise ValueError(
                f"`conditioner` is not built: give `event_shape`. Received: {conditioner!r}"
            )
        self.conditioner = conditioner
        self.partition = partition
        self.event_shape = self.condition_shape = None
        if condition_shape is not None:
            self.condition_shape = bijector.event_shape_tuple(condition_shape, "condition_shape")
        if event_shape is not None:
            self.event_shape = bijector.event_shape_tuple(event_shape)
            self._build_conditioner()
        event_ndims = len(self.event_shape or ()) or partition.event_ndims
        super().__init__(event_ndims, (conditioner, *variables), parameters=parameters, name=name)

    @property
    def takes_condition(self) -> bool:
        return self.condition_shape is not None

    def _build_conditioner(self):
        """Calls the conditioner once, so that its weights exist and its output is checked."""
        passed_shape = self.partition.shapes(self.event_shape)[0]
        if 0 in passed_shape and not self.takes_condition:
            raise ValueError(
                "`partition` must let variables pass, unless the coupling has a `condition_shape`. "
                f"Received: {self.partition} for events of shape {self.event_shape}"
            )
        shape = self.partition.parameters_shape(self.event_shape)
        inputs = self._seen(tf.zeros((1, *passed_shape), self.conditioner.compute_dtype))
        if self.takes_condition:
            inputs = [inputs, tf.zeros((1, *self.condition_shape), inputs.dtype)]
        self._together(first_outputs(self.conditioner, inputs, "conditioner"), shape)

    def _together(self, outputs, shape):
        """Returns all parameters in one tensor; raises `ValueError` unless they have their shapes.

        A smaller output would be broadcast, and its log-det counted once instead of once for each
        variable.
        """
        count = self.parameters_per_variable
        together = (*shape[:-1], shape[-1] and shape[-1] * count)
        separate = isinstance(outputs, (list, tuple))
        outputs = list(outputs) if separate else [outputs]
        expected = [(None, *shape)] * count if separate else [(None, *together)]
        found = [[None] + tf.TensorShape(output.shape)[1:] for output in outputs]
        fit = map(tf.TensorShape.is_compatible_with, found, expected)
        if len(found) != len(expected) or not all(fit):
            raise ValueError(
                f"`conditioner` must give {count} parameter(s) for each of the moved variables "
                f"{shape}: outputs of shape {(None, *together)}, or {count} of {(None, *shape)}. "
                f"Received: a conditioner with outputs of shape {', '.join(map(str, found))}"
            )
        return tf.concat(outputs, axis=-1) if separate else outputs[0]

    def _divide(self, parameters):
        """Returns the arguments of `_forward_moved`: a tensor for each parameter of a variable."""
        return tf.split(parameters, self.parameters_per_variable, axis=-1)

    def _seen(self, passed):
        """Returns what the conditioner gets of the passed variables: `[batch, *passed_shape]`."""
        return passed

    def _forward_moved(self, moved, *parameters):
        """Returns `g(moved; parameters)` and its log-scale.

        That is the log-det of each moved variable in this direction, or None where all are 0.
        """
        raise NotImplementedError

    def _inverse_moved(self, moved, *parameters):
        """Returns `g^-1(moved; parameters)` and its log-scale, as `_forward_moved`."""
        raise NotImplementedError

    def _forward_and_log_det(self, x, condition=None):
        return self.evaluate(x, False, condition=condition)[:2]

    def _inverse_and_log_det(self, y, condition=None):
        return self.evaluate(y, True, condition=condition)[:2]

    def evaluate(
        self,
        x: tf.Tensor,
        inverse: bool,
        event_ndims: int | None = None,
        condition: Any = None,
        mark: bool = True,
    ) -> tuple:
        """Returns the value, its log-det, and the log-det of each moved variable or None.

        Args:
          x: tensor `[..., *event_shape]`.
          inverse: bool, evaluate `inverse` instead of `forward`.
          event_ndims: number of trailing axes that make one event; default: the bijector's own.
          condition: `[..., *condition_shape]`, where the coupling takes one.
          mark: bool, return NaN where `condition` is not finite. Compositions do this themselves.
        """
        x = tf.convert_to_tensor(x)
        own_ndims = self.forward_min_event_ndims
        batch_ndims = x.shape.rank - own_ndims
        event_shape = self.event_shape or tuple(x.shape[batch_ndims:])
        bijector.check_event(self, x, event_shape)
        if not x.shape[batch_ndims:].is_fully_defined():
            # The static shape of events can be unknown here.
            x = tf.ensure_shape(x, [None] * batch_ndims + list(event_shape))
        if condition is not None or self.takes_condition:
            x, condition = broadcast(self, x, condition)

        passed, moved = self.partition.split(x)
        batch = ps.shape(x)[:-own_ndims]
        parameters = self._parameters_at(passed, event_shape, batch, condition)
        transform = self._inverse_moved if inverse else self._forward_moved
        parameters = self._divide(self.partition.select_moved(parameters))
        moved, log_scale = transform(moved, *parameters)
        y = self.partition.merge(passed, moved)
        y.set_shape(x.shape)
        if log_scale is None:
            log_det = tf.zeros(batch, x.dtype)
        else:
            moved_ndims = len(self.partition.shapes(event_shape)[1])
            log_det = tf.reduce_sum(log_scale, axis=list(range(-moved_ndims, 0)))
        if mark and condition is not None:
            condition_ndims = len(self.condition_shape)
            y, log_det = mark_not_finite(y, log_det, own_ndims, condition, condition_ndims)
        return y, self._sum_last(log_det, inverse, event_ndims), log_scale

    def _parameters_at(self, passed, event_shape, batch, condition):
        """Calls the conditioner, on one flat batch axis, for any batch shape of `passed`."""
        passed_shape = self.partition.shapes(event_shape)[0]
        shape = self.partition.parameters_shape(event_shape)
        one_batch_axis = passed.shape.rank == len(passed_shape) + 1
        inputs = self._seen(passed if one_batch_axis else tf.reshape(passed, (-1, *passed_shape)))
        if condition is not None:
            inputs = [inputs, tf.reshape(condition, (-1, *self.condition_shape))]
        outputs = self._together(self.conditioner(inputs), shape)
        # The likelihood has the dtype of the data, which can differ from the conditioner's.
        outputs = tf.cast(outputs, passed.dtype)
        if one_batch_axis:
            return outputs
        return tf.reshape(outputs, ps.concat([batch, outputs.shape[1:]], axis=0))


def mark_not_finite(
    value: tf.Tensor, log_det: Any, event_ndims: int, condition: tf.Tensor, condition_ndims: int
) -> tuple:
    """Returns a value and its log-det with NaN where a condition is not finite.

    It is added to results, since a network can hide NaN: in graphs, TensorFlow's ReLU returns 0.
    """
    finite = tf.math.is_finite(condition) if condition.dtype.is_floating else condition == condition
    finite = tf.reduce_all(finite, axis=list(range(-condition_ndims, 0)))
    nan = tf.where(finite, tf.zeros([], value.dtype), float("nan"))
    return value + nan[(..., *[tf.newaxis] * event_ndims)], log_det + nan


def broadcast(coupling: Any, x: tf.Tensor, condition: Any) -> tuple:
    """Gives `x` and the condition of a bijector the same batch shape.

    Raises:
      ValueError: if the condition is missing or unexpected, or its shape does not fit.
    """
    bijector.check_condition(coupling, condition)
    if condition is None:
        raise ValueError(
            f"{coupling.name} needs `condition=`, which is missing. A flow takes it in every "
            "method and in `fit(x, condition)`, a bijector and tfnvp.bijectors.Chain as "
            "`forward(x, condition=c)`, TFP's compositions by the member's name, `forward(x, "
            f"{coupling.name}={{'condition': c}})` (or by the name `invert_...` of a `tfb.Invert` "
            "around it), and a TransformedDistribution of TFP's in `bijector_kwargs`"
        )
    condition = tf.convert_to_tensor(condition)
    bijector.check_shape(coupling, condition, coupling.condition_shape, "a condition")
    ndims, condition_ndims = coupling.forward_min_event_ndims, len(coupling.condition_shape)
    try:
        tf.broadcast_static_shape(x.shape[:-ndims], condition.shape[:-condition_ndims])
    except ValueError:
        raise ValueError(
            f"{coupling.name}: expected a condition with one row for each of the argument's, or "
            f"one for all. Received shapes: {condition.shape} for {x.shape}"
        ) from None
    shape = ps.shape(x)
    batch = ps.broadcast_shape(shape[:-ndims], ps.shape(condition)[:-condition_ndims])
    x = tf.broadcast_to(x, ps.concat([batch, shape[-ndims:]], axis=0))
    shape = ps.concat([batch, coupling.condition_shape], axis=0)
    return x, tf.broadcast_to(condition, shape)
