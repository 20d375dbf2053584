"""A layer that brings conditions to unit size before a conditioner sees them."""

from typing import Any

import keras
import numpy as np

from tfnvp import advice
from tfnvp._internals import all_layers
from tfnvp.precision import check_resolution, location_and_scale


@keras.saving.register_keras_serializable("tfnvp")
class StandardizedCondition(keras.layers.Wrapper):
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
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(f"`layer` must be a Keras 3 layer or model. Received: {layer!r}")
        if any(isinstance(part, StandardizedCondition) for part in all_layers(layer)):
            raise ValueError(f"`layer` standardises its condition already. Received: {layer!r}")
        dtype = "float64" if layer.variable_dtype == "float64" else "float32"
        super().__init__(layer, **{"dtype": dtype, **kwargs})
        self.robust = bool(robust)

    def build(self, input_shape: Any) -> None:
        if len(input_shape) != 2 or not isinstance(input_shape[0], (list, tuple)):
            raise ValueError(
                f"{self.name} needs variables and a condition: make its coupling with "
                f"`condition_shape`. Received inputs of shape {input_shape}"
            )
        channels = input_shape[1][-1:]
        # No number lies between low and high: not initialised.
        initial = {"mean": "zeros", "deviation": "ones", "low": "ones", "high": "zeros"}
        self.mean, self.deviation, self.low, self.high = (
            self.add_weight(name=name, shape=channels, initializer=value, trainable=False)
            for name, value in initial.items()
        )
        super().build(input_shape)

    @property
    def is_initialized(self) -> bool:
        """Whether `adapt` has been called: `fit` of a flow then keeps mean and deviation.

        It is saved with the weights, as the range of conditions.
        """
        return self.seen() is not None

    @property
    def started(self) -> bool:
        """Old name of `is_initialized`."""
        advice.warn_of_renamed("started", "is_initialized")
        return self.is_initialized

    def seen(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns the smallest and largest values that `adapt` saw, as arrays; None before it."""
        # This takes a third of the time of `.numpy()`, and every call of a flow pays for it.
        low, high = (v.value.value().numpy() for v in (self.low, self.high))
        return (low, high) if (low <= high).all() else None

    def adapt(self, condition: Any) -> None:
        """Sets mean and deviation to those of a sample of conditions, and stores their range.

        Args:
          condition: array `[batch, *condition_shape]`.

        Raises:
          ValueError: for another last axis, no rows or numbers that are not finite; for an entry
            that float32 cannot resolve, such as seconds since 1970 over an hour; and before the
            layer has its weights, which a coupling with an `event_shape` gives it.
        """
        if not self.built:
            raise ValueError(f"{self.name} has no weights yet: make its coupling, or call it")
        rows, channels = np.asarray(condition, "float64"), self.mean.shape[0]
        if not rows.size or rows.shape[-1:] != (channels,) or not np.isfinite(rows).all():
            raise ValueError(
                f"`condition` must be finite numbers of shape [batch, ..., {channels}]. Received: "
                f"shape {rows.shape}, {np.sum(~np.isfinite(rows))} numbers that are not finite"
            )
        rows = rows.reshape(-1, channels)
        mean, deviation = location_and_scale(rows, self.robust)
        rounded, name = rows.astype(self.variable_dtype), "`condition`: variable {0[0]}".format
        check_resolution(rounded, name, self.variable_dtype)
        low, high = rounded.min(axis=0), rounded.max(axis=0)
        is_flag = np.isin(rows, (0.0, 1.0)).all(axis=0)
        self.mean.assign(np.where(is_flag, 0.0, mean))
        self.deviation.assign(np.where(is_flag, 1.0, deviation))
        self.low.assign(low)
        self.high.assign(high)

    def standardize(self, condition: Any) -> Any:
        """Returns `(condition - mean) / deviation`."""
        return (keras.ops.cast(condition, self.compute_dtype) - self.mean) / self.deviation

    def call(self, inputs: Any) -> Any:
        variables, condition = inputs
        return self.layer([variables, self.standardize(condition)])

    def get_config(self) -> dict:
        return {**super().get_config(), "robust": self.robust}

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)
