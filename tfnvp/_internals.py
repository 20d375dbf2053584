"""Every private name of TensorFlow, TFP and Keras that tfnvp uses.

Nothing else in the package reaches into another library. `tests/test_internals.py` has one test for
each name here, which says what broke when a library renames it.
"""

import keras
import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow_probability.python.bijectors.chain import _Chain
from tensorflow_probability.python.bijectors.invert import _Invert
from tensorflow_probability.python.internal import cache_util, prefer_static

__all__ = [
    "AdoptedVariable",
    "BuiltModel",
    "adam_slots",
    "all_layers",
    "cache_util",
    "is_chain",
    "is_invert",
    "learning_rate",
    "objects_in",
    "plain_chain",
    "prefer_static",
    "record",
    "set_initial_epoch",
    "strategy_of",
    "sum_gradients_before_clipping",
]

#: The class behind `tfb.Chain`, which is a function where no member is of a subclass.
plain_chain = _Chain


# --- TensorFlow Probability -------------------------------------------------------------------


def is_chain(bijector) -> bool:
    """Whether a bijector is a `tfb.Chain` or ours."""
    return isinstance(bijector, _Chain)


def is_invert(bijector) -> bool:
    """Whether a bijector is a `tfb.Invert`."""
    return isinstance(bijector, _Invert)


# --- TensorFlow -------------------------------------------------------------------------------


def objects_in(module: tf.Module, kind) -> list:
    """Returns the objects of a class that a `tf.Module` and its submodules hold as attributes."""
    return list(module._flatten(predicate=lambda value: isinstance(value, kind)))


# --- Keras ------------------------------------------------------------------------------------


def all_layers(layer: keras.layers.Layer, include_self: bool = True) -> list:
    """Returns a Keras layer with all layers inside it."""
    return list(layer._flatten_layers(include_self=include_self))


class AdoptedVariable(keras.Variable):
    """A Keras variable around a `tf.Variable` that exists already, as TFP's own bijectors have."""

    def _convert_to_tensor(self, value, dtype=None):
        if isinstance(value, tf.Variable):
            return value
        return super()._convert_to_tensor(value, dtype)


class BuiltModel(keras.Model):
    """A model that has its weights from the start."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras' own reads a batch for it under `tf.distribute`, and fails on dictionaries.
        pass


def initial_epoch(model: keras.Model) -> int:
    """Returns the epoch in which Keras' `fit` begins."""
    return model._initial_epoch or 0


def set_initial_epoch(model: keras.Model, epoch: int | None) -> None:
    """Sets the epoch in which Keras' `fit` begins, from a callback's `on_train_begin`."""
    model._initial_epoch = epoch


def learning_rate(optimizer: keras.Optimizer):
    """Returns what an optimizer holds as learning rate: a variable, or a schedule."""
    return optimizer._learning_rate


def adam_slots(optimizer: keras.Optimizer, variable) -> tuple:
    """Returns Adam's averages of the gradient, and of its square, for a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def strategy_of(optimizer: keras.Optimizer, default):
    """Returns the `tf.distribute` strategy that an optimizer was made under."""
    return getattr(optimizer, "_distribution_strategy", default)


def sum_gradients_before_clipping(optimizer: keras.Optimizer, total) -> None:
    """Lets an optimizer add up replicas' gradients by `total` before it clips them.

    By itself Keras clips each replica's part, which gives another length and another direction.
    """
    if "_clip_gradients" in vars(optimizer):
        return  # Done in an earlier `compile`.
    clip = optimizer._clip_gradients
    optimizer._clip_gradients = lambda gradients: clip(total(gradients))
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
