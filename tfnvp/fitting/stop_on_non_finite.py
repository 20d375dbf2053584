"""Stops training at the first loss that is not a finite number."""

import math

import keras

from tfnvp.fitting.explosion import find_bad_data


class NonFiniteLossError(ValueError):
    """The loss of a flow became NaN or infinite in training."""


class StopOnNonFinite(keras.callbacks.Callback):
    """Raises `NonFiniteLossError` before other callbacks can save broken weights.

    The message has epoch and batch, and names the first row of the data that is not finite, if
    there is one. `Flow.fit` adds this callback by itself, where there is none of its kind.

    Attributes:
      data: function that returns the data as a `tf.data.Dataset`, or None; set by `Flow.fit`.
    """

    def __init__(self):
        super().__init__()
        self.data = lambda: None
        self._epoch = 0
        self._empty = True

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._empty = False
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self._on_loss(loss, batch)

    def on_epoch_end(self, epoch, logs=None):
        if self._empty:
            raise ValueError("the training data is empty: it gave no batch")
        loss = float((logs or {}).get("val_loss", 0.0))
        if not math.isfinite(loss):
            self._on_validation_loss(loss)

    def _on_loss(self, loss, batch):
        bad = find_bad_data(self.model, self.data(), batch + 1)
        raise NonFiniteLossError(
            f"training stopped: {self._what(loss, batch)}. "
            + (bad or "Lower the learning rate, clip gradients (`global_clipnorm`), or give `fit` ")
            + (
                ""
                if bad
                else "the callback `tfnvp.callbacks.RollBackOnNonFinite()`, which finds the cause"
            )
        )

    def _on_validation_loss(self, loss):
        raise NonFiniteLossError(
            f"training stopped: the validation loss became {loss} in epoch {self._epoch + 1}. Look "
            "for validation data that is not finite or outside of what the flow can take; where "
            "there is none, lower the learning rate"
        )

    def _what(self, loss, batch):
        # Keras calls back after several batches where they run in one program.
        single = self.model.steps_per_execution == 1
        last = min(batch + 1, self.params.get("steps") or batch + 1)
        return (
            f"the loss became {loss} in epoch {self._epoch + 1}, batch {last}"
            f"{'' if single else ' at the latest'}"
        )
