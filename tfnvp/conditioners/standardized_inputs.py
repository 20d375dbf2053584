"""A layer that brings the inputs of a condition network to unit size."""

from typing import Any

import keras

from tfnvp.conditioners.condition_statistics import ConditionStatistics, dtype_around
from tfnvp.conditioners.parts import name_of, packed, parts_of


@keras.saving.register_keras_serializable("tfnvp")
class StandardizedInputs(keras.layers.Wrapper):
    """Calls a condition network with standardised inputs.

    ::

        outputs = layer((inputs - mean) / deviation)

    with one `mean` and `deviation` for each entry of the last axis of each input, computed as those
    of `tfnvp.conditioners.StandardizedCondition` by a `tfnvp.Flow` in `fit` and `adapt`. Whole
    numbers, which are labels, are not changed. `tfnvp.RealNVP` and the like use it for their
    `condition_network`; in a `tfnvp.Flow` of your own bijector, put it around the network.

    Args:
      layer: Keras layer or model.
      robust: bool, median and quartiles instead of mean and standard deviation.
      **kwargs: arguments of `keras.layers.Layer`. Inputs are standardised in float32 or wider, with
        any dtype of the network.

    Inputs: an array, or a dictionary or tuple of arrays; outputs are those of `layer`.

    Raises:
      TypeError: if `layer` is not a Keras layer.
      ValueError: for a `layer` that holds another of these.

    >>> import keras, numpy as np, tfnvp
    >>> network = tfnvp.conditioners.StandardizedInputs(keras.layers.Dense(4))
    >>> network(np.array([[1960.0], [2000.0]])).shape.as_list()
    [2, 4]

    Source: tfnvp.
    """

    def __init__(self, layer: keras.layers.Layer, robust: bool = False, **kwargs):
        dtype = dtype_around(layer, StandardizedInputs, "inputs")
        super().__init__(layer, **{"dtype": dtype, **kwargs})
        self.robust = bool(robust)

    def build(self, input_shape: Any) -> None:
        self.statistics = {}
        for key, shape in parts_of(input_shape).items():
            statistics = ConditionStatistics(dtype=self.dtype_policy)
            statistics.robust, statistics.of = self.robust, name_of("condition", key)
            statistics.add_statistics(shape[-1] if len(shape) > 1 else 1)
            statistics.built = True
            self.statistics[str(key)] = statistics
        self.built = True  # The network is built when it is called.

    def call(self, inputs: Any) -> Any:
        def standardized(key, part):
            is_float = keras.backend.is_float_dtype(part.dtype)
            return self.statistics[str(key)].standardize(part) if is_float else part

        return self.layer(packed({k: standardized(k, p) for k, p in parts_of(inputs).items()}))

    def get_config(self) -> dict:
        return {**super().get_config(), "robust": self.robust}

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)
