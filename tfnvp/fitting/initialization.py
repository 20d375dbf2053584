"""Sets the data-dependent parts of a flow from data and conditions."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp._internals import all_layers
from tfnvp.bijectors.compose import adapts, initialize
from tfnvp.bijectors.coupling import Coupling
from tfnvp.conditioners import StandardizedCondition
from tfnvp.inputs.columns import largest_distances

# Ranges of nearly all values of a column: means and deviations would be those of a single row.
_FAR = 1e3

# Layers whose inputs are labels, of any size.
_OF_LABELS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)


class ConditionScale:
    """The layers of a flow that standardise conditions, as one.

    It is not a Keras layer, since Keras would count the weights of its layers twice.

    Args:
      bijector: the flow's bijector.
    """

    def __init__(self, bijector: Any):
        layers = [
            layer
            for part in (bijector, *bijector.submodules)
            if isinstance(part, Coupling)
            for layer in all_layers(part.conditioner)
        ]
        self._layers = [layer for layer in layers if isinstance(layer, StandardizedCondition)]
        #: Whether the networks take whole numbers as labels.
        self.takes_labels = any(isinstance(layer, _OF_LABELS) for layer in layers)

    def __bool__(self) -> bool:
        return bool(self._layers)

    def initialize(self, condition: Any, overwrite: bool = True) -> None:
        """Sets mean and deviation from conditions, and warns of constant ones.

        Args:
          condition: `[batch, *condition_shape]`.
          overwrite: also set layers that have been initialised before.
        """
        layers = [layer for layer in self._layers if overwrite or not layer.is_initialized]
        for layer in layers:
            layer.adapt(condition)
        if layers:
            advice.warn_of_constant_condition(*layers[0].seen(), len(condition))

    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the smallest and largest conditions of the initialisation, or None before it."""
        return self._layers[0].seen() if self._layers else None

    def figures(self) -> dict[str, np.ndarray]:
        """Returns the statistics of conditions in the layers, arrays by name."""
        first = self._layers[0]
        return {
            "mean": first.mean.numpy(),
            "standard_deviation": first.deviation.numpy(),
            "smallest": first.low.numpy(),
            "largest": first.high.numpy(),
        }

    def advise(self, condition: Any) -> None:
        """Warns of conditions that the networks cannot use well: `[n, *condition_shape]`."""
        condition = np.asarray(condition)
        if not len(condition) or self.takes_labels:
            return
        if (seen := self.seen()) is not None:
            advice.warn_of_condition_range(condition, *seen)
        else:
            advice.warn_of_condition_scale(condition, is_standardized=bool(self))


def _usual_rows(rows):
    """Returns the rows without values that are far from the rest of their column: bool `[n]`."""
    columns = np.asarray(rows).reshape(len(rows), -1)
    far, median, ranges = largest_distances(columns)
    wide = far > _FAR
    return (np.abs(columns[:, wide] - median[wide]) <= _FAR * ranges[wide]).all(axis=1)


class Adaptation(keras.layers.Layer):
    """Initialises every member of a bijector that depends on data, the one next to the data first.

    A layer, so that "done" is a weight: a loaded flow is not initialised again.

    Args:
      bijector: the bijector of the flow.
      condition_scale: the `ConditionScale` of the bijector's layers.
    """

    def __init__(self, bijector: Any, condition_scale: ConditionScale):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._condition_scale = condition_scale
        self.done = None
        if condition_scale or adapts(bijector):
            self.done = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name="done"
            )
        self.built = True

    @property
    def is_needed(self) -> bool:
        """Whether the flow depends on data and has not been initialised."""
        return self.done is not None and not self.done.numpy()

    def run(self, x: tf.Tensor, condition: Any = None, overwrite: bool = True) -> None:
        """Initialises from data and conditions, but not from rows with extreme values.

        Args:
          x: float32 `[batch, *event_shape]`.
          condition: `[batch, *condition_shape]`, or None.
          overwrite: also set members that have values from `adapt`, training or a checkpoint.
        """
        usual = _usual_rows(x)
        if condition is not None:
            usual &= _usual_rows(condition)
        if not usual.all():
            advice.warn_of_extreme_rows(int(np.sum(~usual)), len(usual))
            x, condition = (v if v is None else np.asarray(v)[usual] for v in (x, condition))
        if condition is not None:
            self._condition_scale.initialize(condition, overwrite)
            condition = tf.cast(condition, tf.float32)
        initialize(self._bijector, x, condition, overwrite)
        if self.done is not None:
            self.done.assign(1)
