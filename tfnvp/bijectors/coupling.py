"""What both coupling layers share: split, condition, transform the moved part, merge."""

import contextlib
from typing import Any

import keras
import tensorflow as tf

from tfnvp._internals import prefer_static
from tfnvp.bijectors.bijector import Bijector, check_event, check_shape, event_shape_tuple
from tfnvp.partitions import Partition


class Coupling(Bijector):
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
            raise TypeError(
                f"`partition` must be a tfnvp.partitions.Partition. Received: {partition!r}"
            )
        if not isinstance(conditioner, keras.layers.Layer):
            raise TypeError(
                "`conditioner` must be a Keras 3 layer or model; a function goes into the `call` "
                f"of a layer. Received: {conditioner!r}"
            )
        if event_shape is None and not conditioner.built:
            raise ValueError(
                "`conditioner` has no weights yet: build it first, or give `event_shape` so that "
                f"it can be built here. Received: unbuilt {conditioner!r} and event_shape=None"
            )
        self.conditioner = conditioner
        self.partition = partition
        self.event_shape = None if event_shape is None else event_shape_tuple(event_shape)
        self.condition_shape = (
            None
            if condition_shape is None
            else event_shape_tuple(condition_shape, "condition_shape")
        )
        if self.event_shape is not None:
            self._build_conditioner()
        event_ndims = len(self.event_shape or ()) or partition.event_ndims
        super().__init__(event_ndims, (conditioner, *variables), parameters=parameters, name=name)

    @property
    def takes_condition(self) -> bool:
        return self.condition_shape is not None

    def _build_conditioner(self):
        """Calls the conditioner once, so that its weights exist and its output is checked."""
        passed_shape = self.partition.shapes(self.event_shape)[0]
        shape = self.partition.parameters_shape(self.event_shape)
        inputs = tf.zeros((1, *passed_shape), self.conditioner.compute_dtype)
        if self.takes_condition:
            inputs = [inputs, tf.zeros((1, *self.condition_shape), inputs.dtype)]
        # Tapes do not record inside of `tf.init_scope`, which is needed only in graphs.
        eager = contextlib.nullcontext() if tf.executing_eagerly() else tf.init_scope()
        with eager, tf.GradientTape() as tape:
            outputs = self.conditioner(inputs)
        self._split_outputs(outputs, shape)
        tracked = {id(part) for v in self.conditioner.weights for part in _parts(v.value)}
        if others := [v.name for v in tape.watched_variables() if id(v) not in tracked]:
            raise ValueError(
                "`conditioner` must hold its variables as weights of Keras, by `add_weight` or "
                "`keras.Variable`: others would be neither trained nor saved. Received: "
                f"{self.conditioner!r}, which reads {', '.join(others)}"
            )

    def _split_outputs(self, outputs, shape):
        """Returns a tensor for each parameter; raises `ValueError` unless all have that shape.

        A smaller output would be broadcast, and its log-det counted once instead of once for each
        variable.
        """
        count = self.parameters_per_variable
        together = (*shape[:-1], shape[-1] and shape[-1] * count)
        separate = isinstance(outputs, (list, tuple))
        found = [
            tf.TensorShape(output.shape)[1:] for output in (outputs if separate else [outputs])
        ]
        expected = [shape] * count if separate else [together]
        if len(found) != len(expected) or not all(
            a.is_compatible_with(b) for a, b in zip(found, expected, strict=True)
        ):
            raise ValueError(
                f"`conditioner` must give {count} parameter(s) for each of the moved variables "
                f"{shape}: outputs of shape {(None, *together)}, or {count} of {(None, *shape)}. "
                "Received: a conditioner with outputs of shape "
                + ", ".join(str(tf.TensorShape([None]).concatenate(one)) for one in found)
            )
        return list(outputs) if separate else tf.split(outputs, count, axis=-1)

    def _forward_moved(self, moved, *parameters):
        """Returns `g(moved; parameters)` and the log-det of each moved variable, or None for 0."""
        raise NotImplementedError

    def _inverse_moved(self, moved, *parameters):
        """Returns `g^-1(moved; parameters)` and its log-det, as `_forward_moved`."""
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
        event_shape = self.event_shape or tuple(x.shape[x.shape.rank - own_ndims :])
        check_event(self, x, event_shape)
        if not x.shape[x.shape.rank - own_ndims :].is_fully_defined():
            # The static shape of events can be unknown here.
            x = tf.ensure_shape(x, [None] * (x.shape.rank - own_ndims) + list(event_shape))
        if condition is not None or self.takes_condition:
            x, condition = self._broadcast(x, condition)

        passed, moved = self.partition.split(x)
        batch = prefer_static.shape(x)[: prefer_static.rank(x) - own_ndims]
        parameters = self._parameters_at(passed, event_shape, batch, condition)
        transform = self._inverse_moved if inverse else self._forward_moved
        moved, log_scale = transform(moved, *map(self.partition.select_moved, parameters))
        y = self.partition.merge(passed, moved)
        y.set_shape(x.shape)
        if log_scale is None:
            log_det = tf.zeros(batch, x.dtype)
        else:
            moved_ndims = len(self.partition.shapes(event_shape)[1])
            log_det = tf.reduce_sum(log_scale, axis=list(range(-moved_ndims, 0)))
        if mark and condition is not None:
            nan = nan_where_not_finite(condition, len(self.condition_shape), x.dtype)
            y, log_det = y + nan[(..., *[tf.newaxis] * own_ndims)], log_det + nan
        return y, self._sum_last(log_det, inverse, event_ndims), log_scale

    def _parameters_at(self, passed, event_shape, batch, condition):
        """Calls the conditioner, on one flat batch axis, for any batch shape of `passed`."""
        passed_shape = self.partition.shapes(event_shape)[0]
        shape = self.partition.parameters_shape(event_shape)
        one_batch_axis = passed.shape.rank == len(passed_shape) + 1
        inputs = passed if one_batch_axis else tf.reshape(passed, (-1, *passed_shape))
        if condition is not None:
            inputs = [inputs, tf.reshape(condition, (-1, *self.condition_shape))]
        outputs = self._split_outputs(self.conditioner(inputs), shape)
        # The likelihood has the dtype of the data, which can differ from the conditioner's.
        outputs = [tf.cast(output, passed.dtype) for output in outputs]
        if one_batch_axis:
            return outputs
        shape = prefer_static.concat([batch, shape], axis=0)
        return [tf.reshape(output, shape) for output in outputs]

    def _broadcast(self, x, condition):
        """Gives `x` and `condition` the same batch shape."""
        if not self.takes_condition:
            raise ValueError(
                f"{self.name} was made without `condition_shape` and takes no condition. "
                f"Received: condition={condition!r}"
            )
        if condition is None:
            raise ValueError(
                f"{self.name} needs `condition=`, which is missing. A flow takes it in every "
                "method and in `fit(x, condition)`, a bijector and tfnvp.bijectors.Chain as "
                "`forward(x, condition=c)`, TFP's compositions by the member's name, "
                f"`forward(x, {self.name}={{'condition': c}})` (inside of `tfb.Invert`, also in a "
                "chain, by the name `invert_...` of the `tfb.Invert`), and a "
                "TransformedDistribution of "
                "TFP's in `bijector_kwargs`"
            )
        condition = tf.convert_to_tensor(condition)
        check_shape(self, condition, self.condition_shape, "a condition")
        try:
            tf.broadcast_static_shape(
                x.shape[: x.shape.rank - self.forward_min_event_ndims],
                condition.shape[: condition.shape.rank - len(self.condition_shape)],
            )
        except ValueError:
            raise ValueError(
                f"{self.name}: expected a condition with one row for each of the argument's, or "
                f"one for all. Received shapes: {condition.shape} for {x.shape}"
            ) from None
        ps = prefer_static
        x_batch = ps.shape(x)[: ps.rank(x) - self.forward_min_event_ndims]
        condition_batch = ps.shape(condition)[: ps.rank(condition) - len(self.condition_shape)]
        batch = ps.broadcast_shape(x_batch, condition_batch)
        event = ps.shape(x)[ps.rank(x) - self.forward_min_event_ndims :]
        return (
            tf.broadcast_to(x, ps.concat([batch, event], axis=0)),
            tf.broadcast_to(condition, ps.concat([batch, self.condition_shape], axis=0)),
        )


def nan_where_not_finite(condition: Any, condition_ndims: int, dtype: Any) -> tf.Tensor:
    """Returns `[batch...]`: NaN where a condition is not finite, and 0 elsewhere.

    It is added to results, since a network can hide NaN: in graphs, TensorFlow's ReLU returns 0.
    """
    axes = list(range(-condition_ndims, 0))
    finite = tf.math.is_finite(condition) if condition.dtype.is_floating else condition == condition
    return tf.where(tf.reduce_all(finite, axis=axes), tf.zeros([], dtype), float("nan"))


def _parts(variable):
    """A variable, and under a strategy its copies on the replicas."""
    return [variable, *getattr(variable, "values", ())]
