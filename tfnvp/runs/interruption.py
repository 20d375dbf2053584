"""How Ctrl-C and SIGTERM end a training."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tfnvp.runs.signals import handling


@contextlib.contextmanager
def ending_between_steps() -> Iterator[keras.callbacks.Callback]:
    """Lets a signal end `fit` after the step in which it comes, by `KeyboardInterrupt`.

    Where a signal's handler raises it, TensorFlow can lose it, or leave weights half written. A
    second signal does not wait for the step.

    Yields:
      A callback for `fit`.
    """
    end = _End()

    def remember(*_):
        end.is_due = True
        restore()

    with handling(remember) as restore:
        yield end
    end.check()


class _End(keras.callbacks.Callback):
    # It follows no single batch, so that programs can have many.
    async_safe = True

    is_due = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.check()

    def check(self) -> None:
        if self.is_due:
            raise KeyboardInterrupt
