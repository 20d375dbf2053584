"""Keras' progress bar, for calls of several steps."""

import keras


class ProgressBar(keras.callbacks.ProgbarLogger):
    """The bar of `fit` and `evaluate`, which Keras leads past its end where the last call is short.

    Keras counts every call as `steps_per_execution` batches, also the one that finds fewer.
    """

    # As Keras' own bar, which is not asked: it shows what it is told and changes nothing.
    async_safe = True

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(self._within(batch), logs)

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(self._within(batch), logs)

    def on_predict_batch_end(self, batch, logs=None):
        super().on_predict_batch_end(self._within(batch), logs)

    def _within(self, batch):
        return batch if self.target is None else min(batch, self.target - 1)


def with_bar(callbacks, verbose):
    """Returns callbacks with the bar that Keras would add; `verbose` is that of `fit`."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    callbacks = keras.tree.flatten(callbacks) if callbacks else []
    has_bar = any(isinstance(c, keras.callbacks.ProgbarLogger) for c in callbacks)
    return callbacks if has_bar or verbose == 0 else [*callbacks, ProgressBar()]
