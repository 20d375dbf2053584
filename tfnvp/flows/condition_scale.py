"""The conditioners of a flow that standardise conditions, as one."""

import warnings

import numpy as np

from tfnvp.conditioners import StandardizedCondition


class ConditionScale:
    """Lets all `StandardizedCondition`s of a flow start from the same data.

    No layer: Keras would count their weights a second time.

    Args:
      layers: the Keras layers of the flow's bijector.
    """

    def __init__(self, layers):
        self._standardizers = [
            part
            for layer in layers
            for part in layer._flatten_layers()
            if isinstance(part, StandardizedCondition)
        ]

    def __bool__(self):
        return bool(self._standardizers)

    def adapt(self, condition, again=True):
        """Takes mean and deviation of conditions, and warns of such that are constant.

        Args:
          condition: `[batch, *condition_shape]`.
          again: bool; if not, layers that have figures already keep them.

        Raises:
          ValueError: as `StandardizedCondition.adapt`.
        """
        starting = [layer for layer in self._standardizers if again or not layer.started]
        for layer in starting:
            layer.adapt(condition)
        if not starting:
            return
        low, high = self.seen()
        if len(constant := np.flatnonzero(low == high)):
            warnings.warn(
                f"`condition` is constant: variable {constant[0]} is {low[constant[0]]:.6g} in "
                f"all {len(condition)} rows that the flow starts from, so that the flow learns "
                "nothing of other values; leave it out, or shuffle a data set that is sorted",
                stacklevel=5,
            )

    def seen(self):
        """Returns smallest and largest values that the flow started from, of each last axis' entry.

        Where it has not started, the smallest are above the largest.
        """
        # Read like this in a third of the time that `.numpy()` takes: every call pays for it.
        first = self._standardizers[0]
        return [v.value.value().numpy() for v in (first.low, first.high)]

    def figures(self):
        """Returns what the first of the layers knows of conditions, arrays by their names."""
        first = self._standardizers[0]
        return {
            "mean": first.mean.numpy(),
            "standard_deviation": first.deviation.numpy(),
            "smallest": first.low.numpy(),
            "largest": first.high.numpy(),
        }
