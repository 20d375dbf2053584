"""A layer that brings conditions to unit size before a conditioner sees them."""

from typing import Any

import keras

from tfnvp import advice
from tfnvp.conditioners.condition_statistics import ConditionStatistics, dtype_around


@keras.saving.register_keras_serializable("tfnvp")
class StandardizedCondition(ConditionStatistics, keras.layers.Wrapper):
    """Calls a conditioner with a standardised condition.

    ::

        outputs = layer([inputs, (condition - mean) / deviation])

    with one `mean` and `deviation` for each entry of the condition's last axis. They come from
    `adapt`, which a `tfnvp.Flow` calls in `fit` and `adapt`; until then conditions go through as
    they are. They are saved but not trained. In a training loop of your own, call `adapt` before
    the first step. An entry of only zeros and ones, as in one-hot labels, is not changed, and one
    that is constant is only shifted.

    Args:
      layer: Keras layer or model, to be called with a list of variables and condition.
      robust: bool, whether `adapt` takes the median and the distance between the quartiles (over
        that of a standard normal, 1.349) instead of mean and standard deviation.
      **kwargs: arguments of `keras.layers.Layer`. Conditions are standardised in float32 or wider,
        with any dtype of the network.

    Inputs: a list `[variables, condition]`; outputs are those of `layer`.

    Raises:
      TypeError: if `layer` is not a Keras layer.
      ValueError: for inputs without a condition, and for a `layer` that holds another of these.

    >>> import numpy as np, tfnvp
    >>> network = tfnvp.conditioners.MLP(2, hidden_units=(8,))
    >>> conditioner = tfnvp.conditioners.StandardizedCondition(network)
    >>> conditioner([np.ones([3, 1]), np.ones([3, 2])]).shape.as_list()
    [3, 2]
    >>> conditioner.adapt(np.array([[1960.0, 0.0], [2000.0, 1.0]]))
    >>> conditioner.standardize(np.array([[1960.0, 0.0], [2000.0, 1.0]])).numpy().tolist()
    [[-1.0, 0.0], [1.0, 1.0]]
    """

    def __init__(self, layer: keras.layers.Layer, robust: bool = False, **kwargs):
        dtype = dtype_around(layer, StandardizedCondition, "condition")
        super().__init__(layer, **{"dtype": dtype, **kwargs})
        self.robust = bool(robust)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2 or not isinstance(input_shape[0], (list, tuple)):
            raise ValueError(
                f"{self.name} needs variables and a condition: make its coupling with "
                f"`condition_shape`. Received inputs of shape {input_shape}"
            )
        self.add_statistics(input_shape[1][-1])
        super().build(input_shape)

    @property
    def started(self) -> bool:
        """Old name of `is_initialized`."""
        advice.warn_of_renamed("started", "is_initialized")
        return self.is_initialized

    def __dir__(self) -> list[str]:
        # Keras reads every attribute in this list when it saves and loads.
        return [name for name in super().__dir__() if name != "started"]

    def call(self, inputs: Any) -> Any:
        variables, condition = inputs
        return self.layer([variables, self.standardize(condition)])

    def get_config(self) -> dict:
        return {**super().get_config(), "robust": self.robust}

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)
