"""Stops training at the first loss that is not a finite number."""

import math

import keras


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `ValueError`, with epoch and batch, before other callbacks can save broken weights."""

    def on_train_begin(self, logs=None):
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise ValueError(
                f"training stopped: the loss became {loss} in epoch {self._epoch + 1}, batch "
                f"{batch + 1}. Look for NaN or infinite values in the data; where there are none, "
                "lower the learning rate or clip gradients (`global_clipnorm`)"
            )
