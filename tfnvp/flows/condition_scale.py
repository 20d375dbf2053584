"""The conditioners of a flow that standardise conditions, as one."""

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
        """Takes mean and deviation of conditions, `[batch, *condition_shape]`.

        With `again=False`, layers that have some already keep them.
        """
        for layer in self._standardizers:
            if again or not layer.started:
                layer.adapt(condition)

    def __call__(self, condition):
        """Returns conditions as an array as networks get them, if they are all alike in this."""
        if not self:
            return np.asarray(condition)
        # In NumPy, and read like this, in a third of the time: every call pays for it.
        mean, deviation = self.figures()
        return (np.asarray(condition) - mean) / deviation

    def figures(self):
        """Returns mean and standard deviation as arrays, of the first of several."""
        first = self._standardizers[0]
        return [v.value.value().numpy() for v in (first.mean, first.deviation)]
