"""Keras' progress bar, for programs of several steps."""

from typing import Any

import keras


class ProgressBar(keras.callbacks.ProgbarLogger):
    """The bar of `fit`, `evaluate` and `predict` that stops at its end.

    Keras counts every program as `steps_per_execution` batches, also the last one, which may hold
    fewer.
    """

    # As Keras' own bar: it only shows logs, so Keras need not wait for it.
    async_safe = True

    def on_train_batch_end(self, batch: Any, logs: Any = None) -> None:
        super().on_train_batch_end(self._within(batch), logs)

    def on_test_batch_end(self, batch: Any, logs: Any = None) -> None:
        super().on_test_batch_end(self._within(batch), logs)

    def on_predict_batch_end(self, batch: Any, logs: Any = None) -> None:
        super().on_predict_batch_end(self._within(batch), logs)

    def _within(self, batch: int) -> int:
        return batch if self.target is None else min(batch, self.target - 1)


def with_bar(callbacks: Any, verbose: Any) -> Any:
    """Returns callbacks with the bar that Keras would add; `verbose` is that of `fit`."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = keras.tree.flatten(callbacks) if callbacks else []
    has_bar = any(isinstance(c, keras.callbacks.ProgbarLogger) for c in callbacks)
    return callbacks if has_bar or verbose == 0 else [*callbacks, ProgressBar()]
