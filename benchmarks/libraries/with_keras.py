"""Blocks that are epochs of Keras' `fit`."""

import threading
import time

import keras


class FitBlocks(keras.callbacks.Callback):
    """Blocks that are the epochs of one long `fit`, which waits before each for its go.

    Args:
      fit: `model.fit` with its data, to be called with epochs and callbacks; an epoch of the data
        is one block.
    """

    mode = "fit"

    def __init__(self, fit):
        super().__init__()
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._failure = None
        threading.Thread(target=self._run, args=(fit,), daemon=True).start()

    def __call__(self):
        """Lets one epoch run; returns its seconds."""
        self._go.release()
        self._done.acquire()
        if self._failure is not None:
            raise self._failure
        return self._seconds

    def on_epoch_begin(self, epoch, logs=None):
        self._go.acquire()
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self._seconds = time.perf_counter() - self._start
        self._done.release()

    def _run(self, fit):
        try:
            fit(epochs=10**9, callbacks=[self], verbose=0)
        except Exception as error:  # Raised again where somebody waits.
            self._failure = error
            self._done.release()
