"""Mean, deviation and range of conditions, as weights of a layer that do not train."""

from typing import Any

import keras
import numpy as np

from tfnvp._internals import all_layers
from tfnvp.precision import check_resolution, location_and_scale


class ConditionStatistics(keras.layers.Layer):
    """A layer that holds the statistics of an array of conditions, and standardises by them.

    There is one of each for every entry of the last axis.
    """

    #: Whether `adapt` takes median and quartiles.
    robust = False

    #: What messages call the conditions.
    of = "condition"

    def add_statistics(self, channels: int) -> None:
        """Adds the weights, for a last axis of so many entries."""
        # No number lies between low and high: not initialised.
        initial = {"mean": "zeros", "deviation": "ones", "low": "ones", "high": "zeros"}
        self.mean, self.deviation, self.low, self.high = (
            self.add_weight(name=name, shape=(channels,), initializer=value, trainable=False)
            for name, value in initial.items()
        )

    @property
    def is_initialized(self) -> bool:
        """Whether `adapt` has been called: `fit` of a flow then keeps mean and deviation.

        It is saved with the weights, as the range of conditions.
        """
        return self.seen() is not None

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
        rounded, name = rows.astype(self.variable_dtype), f"`{self.of}`: variable {{0[0]}}".format
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


def dtype_around(layer: Any, kind: type, what: str) -> str:
    """Returns the dtype of a layer of `kind` around another layer, which is checked.

    Args:
      layer: the inner layer.
      kind: class of layers that `layer` must not hold.
      what: what a layer of `kind` standardises, for messages.

    Raises:
      TypeError: if `layer` is no Keras layer.
      ValueError: if it holds a layer of `kind`.
    """
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"`layer` must be a Keras 3 layer or model. Received: {layer!r}")
    if any(isinstance(part, kind) for part in all_layers(layer)):
        raise ValueError(f"`layer` standardises its {what} already. Received: {layer!r}")
    return "float64" if layer.variable_dtype == "float64" else "float32"
