"""Couplings of equal shape as one program: a loop over stacked weights."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import _internals
from tfnvp._internals import prefer_static as ps
from tfnvp.arguments import check_flags
from tfnvp.bijectors.bijector import Bijector, check_event, event_shape_tuple
from tfnvp.bijectors.coupling import Coupling, broadcast, mark_not_finite
from tfnvp.conditioners import GradientCheckpointing
from tfnvp.optimizers import STACK
from tfnvp.partitions import Partition
from tfnvp.partitions.gather import permute_by, reshape_event


class ScannedCouplings(Bijector):
    """Couplings that differ in weights and partition, as a loop over one coupling.

    With `C_w` the coupling as a function of its weights, and `P_i` the permutation that puts the
    variables that pass in the i-th partition where those that pass in the coupling are::

        forward:  y = (f_1 o f_2 o ... o f_N)(x),    f_i = P_i^-1 o C_w_i o P_i
        inverse:  x = (f_N^-1 o ... o f_1^-1)(y)     log|det J| = sum of those of the couplings

    That is what `tfnvp.bijectors.Chain` makes of the same couplings. But the weights are stacked,
    one array `[N, ...]` for each weight of the coupling, and a loop runs the same operations N
    times: the first step of training, and the memory that compilation takes, do not grow with the
    number of couplings. Compositions see one bijector: diagnostics and messages do not tell
    its couplings apart.

    Args:
      coupling: the `tfnvp.bijectors.Coupling`, such as an `AffineCoupling`, made for events of a
        shape. Its own weights are the initial ones of the first coupling, those of the others are
        initialised anew; afterwards it only serves as a pattern.
      partitions: sequence of `tfnvp.partitions.Partition`s, one for each coupling, that next to the
        data first. Each must let as many variables pass as the partition of `coupling`.
      event_shape: int or tuple, shape of one event of the partitions; default: that of `coupling`.
        Both have the same number of variables.
      gradient_checkpointing: bool, keep only the inputs of each coupling in training, and compute
        the activations again for the backward pass; see
        `tfnvp.conditioners.GradientCheckpointing`, which cannot be around the conditioner here.
      name: name of the bijector.

    `forward` and `inverse` map `[..., *event_shape]` to the same shape; log-dets have the batch
    shape and are in nats. A `condition=` goes to every coupling.

    Raises:
      TypeError: if `coupling` is not a coupling, or `partitions` holds something else.
      ValueError: if `coupling` has no event shape; if its conditioner has variables that do not
        train, such as those of dropout and batch normalization, or constraints, or layers that
        compute their gradients again, or no configuration to make others from; if partitions and
        shapes do not fit; in calls, if layers of the conditioner add losses.

    >>> import tensorflow as tf, tfnvp
    >>> half = tfnvp.partitions.Split(2)
    >>> coupling = tfnvp.bijectors.AffineCoupling(tfnvp.conditioners.MLP(4, (8,)), half, 4)
    >>> scanned = tfnvp.bijectors.ScannedCouplings(coupling, [half, half.swap(), half])
    >>> scanned.trainable_variables[0].shape.as_list()
    [3, 2, 8]
    >>> scanned.forward(tf.constant([[1.0, 2.0, 3.0, 4.0]])).numpy().tolist()
    [[1.0, 2.0, 3.0, 4.0]]

    Source: the loop over layers of Kolesnikov, Pinto and Tschannen 2024 (Jet).
    """

    def __init__(
        self,
        coupling: Any,
        partitions: Iterable[Partition],
        event_shape: Any = None,
        gradient_checkpointing: bool = False,
        name: str = "scanned_couplings",
    ):
        partitions = list(partitions)
        check_flags(gradient_checkpointing=gradient_checkpointing)
        _check(coupling, partitions)
        self.event_shape = event_shape_tuple(
            coupling.event_shape if event_shape is None else event_shape
        )
        self.condition_shape = coupling.condition_shape
        self.gradient_checkpointing = gradient_checkpointing
        self._pattern = _Pattern(coupling, tuple(_variables(coupling)))
        # Each brings variables from the order of one coupling into that of the next. The first one
        # starts from the order of events, and the last one ends there.
        orders = [_order(coupling, partition, self.event_shape) for partition in partitions]
        inverses = [np.arange(orders[0].size), *map(np.argsort, orders)]
        orders.append(inverses[0])
        self._orders = np.stack([back[order] for back, order in zip(inverses, orders, strict=True)])
        self._inverse_orders = np.argsort(self._orders, axis=-1)
        self.stack = StackedWeights(coupling, len(partitions), name)
        parameters = {
            "partitions": partitions,
            "event_shape": event_shape,
            "gradient_checkpointing": gradient_checkpointing,
            "name": name,
        }
        super().__init__(len(self.event_shape), [self.stack], parameters, name)

    @property
    def weights(self) -> list[keras.Variable]:
        """The stacked weights, `[couplings, ...]` for each weight of the coupling."""
        return self.stack.weights

    @property
    def parameters(self) -> dict:
        # The coupling is not among attributes, where TensorFlow would find its variables.
        return {"coupling": self._pattern.coupling, **super().parameters}

    @property
    def takes_condition(self) -> bool:
        return self.condition_shape is not None

    def _forward_and_log_det(self, x, condition=None):
        return self._scan(x, condition, inverse=False)

    def _inverse_and_log_det(self, y, condition=None):
        return self._scan(y, condition, inverse=True)

    def _scan(self, x, condition, inverse):
        """Runs the loop over the couplings, from the last one to the first unless `inverse`."""
        check_event(self, x, self.event_shape)
        ndims, count = len(self.event_shape), len(self._orders) - 1
        x = tf.ensure_shape(x, [None] * (x.shape.rank - ndims) + list(self.event_shape))
        if condition is not None or self.takes_condition:
            x, condition = broadcast(self, x, condition)
        orders = (self._orders, self._inverse_orders)
        if not inverse:
            orders = [order[::-1] for order in reversed(orders)]
        orders = [tf.constant(order, tf.int32) for order in orders]
        weights = [
            tf.TensorArray(v.dtype, count, element_shape=v.shape[1:]).unstack(v.value)
            for v in self.weights
        ]

        def reorder(flat, step):
            return permute_by(flat, *(tf.gather(order, step) for order in orders))

        def body(step, flat, log_det):
            i = step if inverse else count - 1 - step
            values = [array.read(i) for array in weights]
            y, change = self._one(reorder(flat, step), condition, inverse, values)
            # The shapes of a loop's variables stay the same.
            y, total = tf.ensure_shape(y, flat.shape), log_det + change
            return step + 1, y, tf.ensure_shape(total, log_det.shape)

        flat = reshape_event(x, ndims, [self._orders.shape[1]])
        start = 0, flat, tf.zeros(ps.shape(flat)[:-1], flat.dtype)
        _, flat, log_det = tf.while_loop(
            lambda step, *_: step < count, body, start, maximum_iterations=count
        )
        y = reshape_event(reorder(flat, count), 1, self.event_shape)
        if condition is None:
            return y, log_det
        return mark_not_finite(y, log_det, ndims, condition, len(self.condition_shape))

    def _one(self, flat, condition, inverse, values):
        """Returns what one coupling makes of variables in its order, and its log-det.

        Args:
          flat: `[..., variables]`.
          condition: as for the other methods.
          inverse: bool, the direction.
          values: the values of the weights of that coupling.
        """
        coupling, variables = self._pattern.coupling, self._pattern.variables

        def evaluate(flat, *values, condition=None):
            x = reshape_event(flat, 1, coupling.event_shape)
            pairs = list(zip(variables, values, strict=True))
            with keras.StatelessScope(pairs, collect_losses=True) as scope:
                y, log_det, _ = coupling.evaluate(x, inverse, condition=condition, mark=False)
            if scope.losses:  # They cannot leave the loop.
                raise ValueError(
                    "`coupling` must have a conditioner without `activity_regularizer` and "
                    f"`add_loss`. Received: {coupling.conditioner!r}"
                )
            return reshape_event(y, len(coupling.event_shape), flat.shape[-1:]), log_det

        if not (self.gradient_checkpointing and _internals.is_training()):
            return evaluate(flat, *values, condition=condition)
        if condition is None:
            return tf.recompute_grad(evaluate)(flat, *values)
        # It has no gradients by keyword arguments.
        again = tf.recompute_grad(lambda c, *tensors: evaluate(*tensors, condition=c))
        return again(condition, flat, *values)


class StackedWeights(keras.layers.Layer):
    """The weights of a coupling and of others like it: models list, freeze and save this layer."""

    def __init__(self, coupling: Coupling, count: int, name: str):
        conditioner, variables = coupling.conditioner, _variables(coupling)
        super().__init__(name=name, dtype=conditioner.dtype_policy)
        rows = [[v.numpy() for v in variables]]
        for _ in range(count - 1):
            # Initialisers without a seed draw other numbers for each.
            fresh = coupling.copy(conditioner=_made_again(conditioner))
            rows.append([v.numpy() for v in _variables(fresh)])
        for variable, values in zip(variables, zip(*rows, strict=True), strict=True):
            stack = np.stack(values)
            self.add_weight(
                stack.shape,
                lambda *_, stack=stack, **__: stack,
                variable.dtype,
                regularizer=variable.regularizer,
                name=STACK + (variable.path.partition("/")[2].replace("/", "_") or variable.name),
            )
        self.built = True


@dataclasses.dataclass(frozen=True)
class _Pattern:
    """A coupling and its Keras variables, hidden from TensorFlow's search for variables."""

    coupling: Coupling
    variables: tuple


def _variables(coupling):
    """Returns the Keras variables of a coupling: those of its conditioner and its own."""
    return [*coupling.conditioner.weights, *_internals.objects_in(coupling, keras.Variable)]


def _check(coupling, partitions):
    """Raises an error unless a coupling can be a pattern for others."""
    if not isinstance(coupling, Coupling):
        raise TypeError(f"`coupling` must be a coupling of tfnvp.bijectors. Received: {coupling!r}")
    if coupling.event_shape is None:
        raise ValueError(f"`coupling` must be made with an `event_shape`. Received: {coupling}")
    tails = getattr(coupling, "tails", "linear")
    if not isinstance(tails, str) and len(set(tails)) > 1:
        raise ValueError(
            "`coupling` must have the same tails for all variables, since each partition puts "
            f"others in their places. Received: tails={tails}"
        )
    if not partitions:
        raise ValueError("`partitions` must hold one partition or more. Received: []")
    for partition in partitions:
        if not isinstance(partition, Partition):
            raise TypeError(f"`partitions` must be of tfnvp.partitions. Received: {partition!r}")
    _check_weights(coupling)


def _check_weights(coupling):
    """Raises an error unless the weights of a coupling can be stacked with those of others."""
    conditioner = coupling.conditioner
    if state := [v.path for v in conditioner.variables if not v.trainable]:
        raise ValueError(
            "`coupling` must have a conditioner whose variables all train, without dropout and "
            f"running statistics. Received: {conditioner!r} with {', '.join(state)}"
        )
    if fixed := [v.path for v in _variables(coupling) if v.constraint is not None]:
        raise ValueError(
            f"`coupling` must have no constraints of weights. Received: those of {', '.join(fixed)}"
        )
    if any(
        isinstance(layer, GradientCheckpointing) for layer in _internals.all_layers(conditioner)
    ):
        raise ValueError(
            "`coupling` must have a conditioner without GradientCheckpointing: take the argument "
            f"`gradient_checkpointing` instead. Received: {conditioner!r}"
        )


def _order(coupling, partition, event_shape):
    """Returns where, in a flat event, a coupling with another partition finds its variables."""
    size = math.prod(event_shape)
    with tf.init_scope():
        parts = partition.split(tf.reshape(tf.range(size), event_shape))
        shapes = coupling.partition.shapes(coupling.event_shape)
        sizes = [part.shape.num_elements() for part in parts]
        expected = [math.prod(shape) for shape in shapes]
        if sizes != expected or sum(sizes) != size:
            raise ValueError(
                "`partitions` must let as many variables pass, and move, as the partition of "
                f"`coupling`, {expected}, and fill none with zeros, as a Checkerboard does and a "
                f"PackedCheckerboard does not. Received: {partition}, with {sizes} of {size}"
            )
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]
        return np.ravel(coupling.partition.merge(*parts))


def _made_again(conditioner):
    """Returns another conditioner of the same configuration, with weights of its own."""
    try:
        return type(conditioner).from_config(conditioner.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            "`coupling` must have a conditioner that Keras can make from its configuration, once "
            "for each of the couplings: a class of your own needs `get_config`, and `Lambda` "
            f"layers have none. Received: {conditioner!r}"
        ) from error
