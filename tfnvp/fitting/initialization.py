"""Sets the data-dependent parts of a flow from data and conditions."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp._internals import all_layers
from tfnvp.bijectors import ActNorm, BatchNormalization, Standardization
from tfnvp.bijectors.compose import adapts, initialize, walk
from tfnvp.bijectors.coupling import Coupling
from tfnvp.conditioners import StandardizedCondition
from tfnvp.inputs.columns import column_namer, largest_distances, spread_sample
from tfnvp.inputs.support import DataSide

# Ranges of nearly all values of a column: means and deviations would be those of a single row.
_FAR = 1e3

# Layers whose inputs are labels, of any size.
_OF_LABELS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)

# Share of the distinct values of a variable that must stay distinct.
_DISTINCT = 0.9

# Members that shift and scale every variable or channel.
_STANDARDIZING = (Standardization, ActNorm, BatchNormalization)


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

    def standardize(self, condition: Any) -> np.ndarray:
        """Returns conditions as the networks get them: `[n, *condition_shape]`."""
        return np.asarray(self._layers[0].standardize(condition))

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


def _advise_on_merged_values(given, seen, name, cure):
    """Warns of variables `[n, ...]` that have fewer distinct values as the flow sees them."""

    def distinct(rows):
        return 1 + (np.diff(np.sort(rows, axis=0), axis=0) != 0).sum(axis=0)

    given, seen = (spread_sample(np.asarray(rows)) for rows in (given, seen))
    before, after = distinct(given), distinct(seen.reshape(given.shape))
    for index in np.argwhere(after < _DISTINCT * before)[:1]:
        index = tuple(index)
        advice.warn_of_merged_values(name(index), int(before[index]), int(after[index]), cure)


class Adaptation(keras.layers.Layer):
    """Initialises every member of a bijector that depends on data, the one next to the data first.

    A layer, so that "done" is a weight: a loaded flow is not initialised again.

    Args:
      bijector: the bijector of the flow.
      condition_scale: the `ConditionScale` of the bijector's layers.
      data_side: the `DataSide` of the flow.
    """

    def __init__(self, bijector: Any, condition_scale: ConditionScale, data_side: DataSide):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._condition_scale = condition_scale
        self._data_side = data_side
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
        # Behind bounds, logarithms of extreme values are usual.
        usual = _usual_rows(self._data_side.latents(x))
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

    def advise(self, x: Any, condition: Any = None, names: list[str] | None = None) -> None:
        """Warns of values that differ, and are equal where the flow has standardised them.

        Args:
          x: `[batch, *event_shape]`, as it was given.
          condition: `[batch, *condition_shape]`, or None.
          names: what messages call the columns of `x`.
        """
        if condition is not None and self._condition_scale:
            seen = self._condition_scale.standardize(condition)
            name, cure = "`condition`: variable {0[0]}".format, 'standardize_condition="robust"'
            _advise_on_merged_values(condition, seen, name, cure)
        x = spread_sample(np.asarray(x))
        if x.dtype.kind != "f":
            return
        for step in walk(self._bijector, tf.cast(x, tf.float32), x.ndim - 1):
            if isinstance(step.bijector, Coupling):
                return
            if isinstance(step.bijector, _STANDARDIZING):
                name = column_namer(names)
                _advise_on_merged_values(x, step.output, name, 'standardize="robust"')
                return
