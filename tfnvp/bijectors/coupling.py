"""What both coupling layers share: split, condition, transform the moved part, merge."""

import contextlib

import keras
import tensorflow as tf
from tensorflow_probability.python.internal import prefer_static

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
        self, conditioner, partition, event_shape, condition_shape, parameters, name, variables=()
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
        self._untrained = self._sums_of_weights() if self.takes_condition else None

    def _sums_of_weights(self):
        if not tf.executing_eagerly():
            return None
        return [float(tf.reduce_sum(v.value)) for v in self.conditioner.trainable_weights]

    def has_learned_from(self, condition):
        """Tells whether the network gives different answers for some conditions, and not by chance.

        Its weights are others than when the coupling was made: they were trained, or read from a
        checkpoint, with conditions as they went in.

        Args:
          condition: `[n, *condition_shape]`.
        """
        if self._untrained is None or self._sums_of_weights() == self._untrained:
            return False
        if self.event_shape is None:
            return True
        passed_shape = self.partition.shapes(self.event_shape)[0]
        passed = tf.zeros((len(condition), *passed_shape), self.conditioner.compute_dtype)
        outputs = tf.nest.flatten(self.conditioner([passed, condition]))
        return any(bool(tf.reduce_any(output != output[:1])) for output in outputs)

    @property
    def takes_condition(self):
        return self.condition_shape is not None

    def _build_conditioner(self):
        """Calls the conditioner once, so that its weights exist and its output is checked."""
        passed_shape = self.partition.shapes(self.event_shape)[0]
        shape = self.partition.parameters_shape(self.event_shape)
        inputs = tf.zeros((1, *passed_shape), self.conditioner.compute_dtype)
        if self.takes_condition:
            inputs = [inputs, tf.zeros((1, *self.condition_shape), inputs.dtype)]
        # No tape records inside of `tf.init_scope`, which only graphs need.
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

        A smaller output would be broadcast, and its log-det be counted once instead of for each
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
        return self._transform(x, condition, self._forward_moved)

    def _inverse_and_log_det(self, y, condition=None):
        return self._transform(y, condition, self._inverse_moved)

    def _transform(self, x, condition, transform_moved):
        event_ndims = self.forward_min_event_ndims
        event_shape = self.event_shape or tuple(x.shape[x.shape.rank - event_ndims :])
        check_event(self, x, event_shape)
        if not x.shape[x.shape.rank - event_ndims :].is_fully_defined():
            # What comes before may not know the shape of events.
            x = tf.ensure_shape(x, [None] * (x.shape.rank - event_ndims) + list(event_shape))
        if condition is not None or self.takes_condition:
            x, condition = self._broadcast(x, condition)
        passed_shape, moved_shape = self.partition.shapes(event_shape)
        batch = prefer_static.shape(x)[: prefer_static.rank(x) - event_ndims]

        passed, moved = self.partition.split(x)
        parameters_shape = self.partition.parameters_shape(event_shape)
        parameters = self._parameters_at(passed, passed_shape, parameters_shape, batch, condition)
        parameters = [self.partition.select_moved(p) for p in parameters]
        moved, log_det = transform_moved(moved, *parameters)
        y = self.partition.merge(passed, moved)
        y.set_shape(x.shape)
        if log_det is None:
            return y, tf.zeros(batch, x.dtype)
        return y, tf.reduce_sum(log_det, axis=list(range(-len(moved_shape), 0)))

    def _parameters_at(self, passed, passed_shape, parameters_shape, batch, condition):
        """Calls the conditioner, on one flat batch axis whatever the batch shape of `passed`."""
        one_batch_axis = passed.shape.rank == len(passed_shape) + 1
        inputs = passed if one_batch_axis else tf.reshape(passed, (-1, *passed_shape))
        if condition is None:
            outputs = self.conditioner(inputs)
        else:
            condition = tf.reshape(condition, (-1, *self.condition_shape))
            outputs = _nan_unless_finite(self.conditioner([inputs, condition]), condition)
        outputs = self._split_outputs(outputs, parameters_shape)
        # The likelihood keeps the precision of the data, whatever the conditioner computes in.
        outputs = [tf.cast(output, passed.dtype) for output in outputs]
        if one_batch_axis:
            return outputs
        shape = prefer_static.concat([batch, parameters_shape], axis=0)
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
                f"`forward(x, {self.name}={{'condition': c}})` (inside of `tfb.Invert` by that "
                "one's, `invert_...`, which a chain of both needs too), and a "
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


def _nan_unless_finite(outputs, condition):
    """Returns a network's outputs, NaN for conditions that are not finite.

    A network may hide them: in graphs, TensorFlow's ReLU makes 0 of NaN.
    """
    if not condition.dtype.is_floating:
        return outputs
    finite = tf.reduce_all(tf.math.is_finite(condition), axis=list(range(1, condition.shape.rank)))
    nothing = tf.where(finite, 0.0, float("nan"))

    def marked(output):
        return output + tf.cast(
            tf.reshape(nothing, (-1, *[1] * (output.shape.rank - 1))), output.dtype
        )

    return tf.nest.map_structure(marked, outputs)


def _parts(variable):
    """A variable, and under a strategy its copies on the replicas."""
    return [variable, *getattr(variable, "values", ())]
