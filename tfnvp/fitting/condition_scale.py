"""The conditioners of a flow that standardise conditions, as one."""

import warnings

import numpy as np

from tfnvp.bijectors.coupling import Coupling
from tfnvp.conditioners import StandardizedCondition


class ConditionScale:
    """Lets all `StandardizedCondition`s of a flow start from the same data.

    No layer: Keras would count their weights a second time.

    Args:
      bijector: the flow's bijector.
    """

    def __init__(self, bijector):
        found = {
            layer: None
            for part in (bijector, *bijector.submodules)
            if isinstance(part, Coupling)
            for layer in part.conditioner._flatten_layers()
            if isinstance(layer, StandardizedCondition)
        }
        self._standardizers = list(found)

    def __bool__(self):
        return bool(self._standardizers)

    def adapt(self, condition, again=True):
        """Takes mean and deviation of conditions, and warns of such that are constant.

        Args:
          condition: `[batch, *condition_shape]`.
          again: bool; if not, layers that have figures already keep them, and networks that were
            trained without any go without.

        Raises:
          ValueError: as `StandardizedCondition.adapt`.
        """
        starting = [layer for layer in self._standardizers if again or not layer.started]
        for layer in starting:
            layer.adapt(condition)
        if not starting:
            return
        low, high = starting[0].seen()
        if len(constant := np.flatnonzero(low == high)):
            others = f" (and {len(constant) - 1} more)" * (len(constant) > 1)
            warnings.warn(
                f"`condition` is constant: variable {constant[0]}{others} is "
                f"{low[constant[0]]:.8g} in all {len(condition)} rows that the flow starts from, "
                "so that it learns nothing of other values; leave it out, or shuffle a data set "
                "that is sorted",
                stacklevel=5,
            )

    def seen(self):
        """Returns smallest and largest values of conditions that the flow started from, or None."""
        return self._standardizers[0].seen() if self else None

    def figures(self):
        """Returns what the first of the layers knows of conditions, arrays by their names."""
        first = self._standardizers[0]
        return {
            "mean": first.mean.numpy(),
            "standard_deviation": first.deviation.numpy(),
            "smallest": first.low.numpy(),
            "largest": first.high.numpy(),
        }
