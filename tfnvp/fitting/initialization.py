"""Sets the data-dependent parts of a flow from data and conditions."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp._internals import all_layers
from tfnvp.bijectors import ActNorm, BatchNormalization, ScannedCouplings, Standardization
from tfnvp.bijectors.compose import adapts, initialize, walk
from tfnvp.bijectors.coupling import Coupling
from tfnvp.conditioners import StandardizedCondition, StandardizedInputs
from tfnvp.conditioners.parts import packed
from tfnvp.inputs.columns import column_namer, largest_distances, spread_sample
from tfnvp.inputs.condition_network import OF_LABELS
from tfnvp.inputs.conditions import ConditionSpec
from tfnvp.inputs.support import DataSide

# Ranges of nearly all values of a column: means and deviations would be those of a single row.
_FAR = 1e3

# Share of the distinct values of a variable that must stay distinct.
_DISTINCT = 0.9

# Members that shift and scale every variable or channel.
_STANDARDIZING = (Standardization, ActNorm, BatchNormalization)


class ConditionScale:
    """The layers of a flow that standardise conditions, as one.

    It is not a Keras layer, since Keras would count the weights of its layers twice.

    Args:
      bijector: the flow's bijector.
      network: the flow's condition network, or None.
      conditions: `ConditionSpec` of the flow, or None.
    """

    def __init__(self, bijector: Any, network: Any = None, conditions: ConditionSpec | None = None):
        layers = [
            layer
            for part in (bijector, *bijector.submodules)
            if isinstance(part, Coupling)
            for layer in all_layers(part.conditioner)
        ]
        self.conditions = conditions
        # All of the couplings' layers have the same statistics.
        inner = [layer for layer in layers if isinstance(layer, StandardizedCondition)]
        self._behind_network = [] if network is None else inner
        #: Whether the networks of couplings take whole numbers as labels.
        self.takes_labels = network is None and any(isinstance(v, OF_LABELS) for v in layers)
        # Pairs of an array of conditions and the layers that standardise it.
        self._parts = [(part, inner) for part in conditions.inputs] if inner else []
        if network is not None:
            statistics = network.statistics if isinstance(network, StandardizedInputs) else {}
            self._parts = [
                (part, [statistics[str(part.key)]])
                for part in conditions.inputs
                if statistics and not part.takes_labels
            ]

    def __bool__(self) -> bool:
        return bool(self._parts or self._behind_network)

    def initialize(self, condition: Any, overwrite: bool = True) -> None:
        """Sets mean and deviation from conditions, and warns of constant ones.

        Args:
          condition: `[batch, *condition_shape]`, or a structure of such arrays.
          overwrite: also set layers that have been initialised before.
        """
        for part, layers, values in self._given(condition):
            layers = [layer for layer in layers if overwrite or not layer.is_initialized]
            for layer in layers:
                layer.adapt(values)
            if layers:
                seen = layers[0].seen()
                advice.warn_of_constant_condition(*seen, len(values), part.name)

    def initialize_couplings(self, embedded: Any, overwrite: bool = True) -> None:
        """Sets mean and deviation in couplings behind a condition network, from its outputs."""
        for layer in self._behind_network:
            if overwrite or not layer.is_initialized:
                layer.adapt(embedded)

    def _given(self, condition):
        """Returns input, layers and values of each array of conditions that is standardised."""
        arrays = {part.key: array for part, array in self.conditions.parts(condition)}
        return [
            (part, layers, np.asarray(arrays[part.key]).reshape(-1, *(part.shape or (1,))))
            for part, layers in self._parts
        ]

    def standardize(self, condition: Any) -> list:
        """Returns `(input, values, standardised values)` of each array of conditions."""
        return [
            (part, values, np.asarray(layers[0].standardize(values)))
            for part, layers, values in self._given(condition)
        ]

    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the smallest and largest conditions of the initialisation, or None before it.

        Of several arrays, those of the first.
        """
        return self._parts[0][1][0].seen() if self._parts else None

    def figures(self) -> dict[str, Any]:
        """Returns the statistics of conditions by name: arrays, or dictionaries of them by key."""
        names = {
            "mean": "mean",
            "standard_deviation": "deviation",
            "smallest": "low",
            "largest": "high",
        }
        return {
            name: packed(
                {
                    part.key if part.key is None else str(part.key): getattr(layers[0], v).numpy()
                    for part, layers in self._parts
                }
            )
            for name, v in names.items()
        }

    def advise(self, condition: Any) -> None:
        """Warns of conditions that the networks cannot use well: `[n, *condition_shape]`."""
        if self.takes_labels:
            return
        standardised = {part.key: layers[0] for part, layers in self._parts}
        for part, values in self.conditions.floats(condition):
            values = np.asarray(values)
            if not len(values):
                continue
            seen = part.key in standardised and standardised[part.key].seen()
            if seen:
                advice.warn_of_condition_range(values, seen, part.name)
            else:
                advice.warn_of_condition_scale(values, part.key in standardised, part.name)

    def advise_on_labels(self, condition: Any) -> None:
        """Warns of whole numbers that may be labels, where the networks take none."""
        for part, values in [] if self.takes_labels else self.conditions.floats(condition):
            advice.warn_of_labels(np.asarray(values), part.name)


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
      condition_scale: the `ConditionScale` of the flow.
      embed: function that makes of conditions what the bijector takes.
      data_side: the `DataSide` of the flow.
    """

    def __init__(
        self,
        bijector: Any,
        condition_scale: ConditionScale,
        embed: Callable,
        data_side: DataSide,
    ):
        super().__init__(name="adaptation", dtype="float32")
        self._bijector = bijector
        self._condition_scale, self._embed = condition_scale, embed
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
            for _, values in self._condition_scale.conditions.floats(condition):
                usual &= _usual_rows(values)
        if not usual.all():
            advice.warn_of_extreme_rows(int(np.sum(~usual)), len(usual))
            x = np.asarray(x)[usual]
            if condition is not None:
                spec = self._condition_scale.conditions
                condition = spec.take(condition, usual, len(usual))
        if condition is not None:
            self._condition_scale.initialize(condition, overwrite)
            condition = self._embed(condition)
            self._condition_scale.initialize_couplings(condition, overwrite)
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
            for part, given, seen in self._condition_scale.standardize(condition):
                name, cure = f"`{part.name}`: variable {{0[0]}}", 'standardize_condition="robust"'
                _advise_on_merged_values(given, seen, name.format, cure)
        x = spread_sample(np.asarray(x))
        if x.dtype.kind != "f":
            return
        for step in walk(self._bijector, tf.cast(x, tf.float32), x.ndim - 1):
            if isinstance(step.bijector, (Coupling, ScannedCouplings)):
                return
            if isinstance(step.bijector, _STANDARDIZING):
                name = column_namer(names)
                _advise_on_merged_values(x, step.output, name, 'standardize="robust"')
                return
