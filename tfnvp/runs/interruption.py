"""How Ctrl-C and SIGTERM end a training."""

import signal
import threading
from typing import Any, Self

import keras


class EndBetweenSteps(keras.callbacks.Callback):
    """Raises `KeyboardInterrupt` after the step in which a signal came; a context manager.

    Where a signal's handler raises it, TensorFlow can lose it, or leave weights half written. A
    second signal does not wait for the step. Only handlers that raise `KeyboardInterrupt` are
    replaced.
    """

    # It follows no single batch, so that programs can have many.
    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self._replaced: tuple[signal.Signals, ...] = ()
        self._came = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            raising = signal.default_int_handler
            signals = (signal.SIGINT, signal.SIGTERM)
            self._replaced = tuple(s for s in signals if signal.getsignal(s) is raising)
            for number in self._replaced:
                signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        self._restore()
        if kind is None:
            self._end()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._end()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._end()

    def _remember(self, *_: Any) -> None:
        self._came = True
        self._restore()

    def _restore(self) -> None:
        for number in self._replaced:
            signal.signal(number, signal.default_int_handler)

    def _end(self) -> None:
        if self._came:
            raise KeyboardInterrupt
