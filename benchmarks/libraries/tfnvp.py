"""tfnvp through its public names and their defaults."""

import threading
import time

import keras
import tensorflow as tf

import tfnvp

KINDS = ("nice", "real_nvp", "image_real_nvp")
PACKAGES = ("tfnvp", "tensorflow", "keras", "tensorflow-probability")


def make_flow(work):
    if work.kind == "nice":
        return tfnvp.NICE(work.event_shape, work.couplings, work.hidden_units)
    if work.kind == "real_nvp":
        return tfnvp.RealNVP(work.event_shape, work.couplings, work.hidden_units)
    return tfnvp.ImageRealNVP(
        work.event_shape,
        scales=work.scales,
        base_filters=work.hidden_units[0],
        residual_blocks=work.residual_blocks,
        levels=None,
    )


def train(work, cell):
    flow = make_flow(work)
    flow.compile("adam")
    return FitBlocks(flow, dataset(work, cell))


def dataset(work, cell):
    """Rows shuffled anew and batched in every epoch, which is one block."""
    return tfnvp.data.training_dataset(work.rows(cell.steps * cell.batch), None, cell.batch)


def log_prob(work, cell):
    flow = make_flow(work)
    x = tf.constant(work.rows(cell.batch))

    def block():
        for _ in range(cell.steps):
            flow.log_prob(x).numpy()

    return block


def sample(work, cell):
    flow = make_flow(work)

    def block():
        for _ in range(cell.steps):
            flow.sample(cell.batch).numpy()

    return block


class FitBlocks(keras.callbacks.Callback):
    """Blocks that are the epochs of one long `fit`, which waits before each for its go."""

    def __init__(self, flow, *args):
        super().__init__()
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._failure = None
        threading.Thread(target=self._fit, args=(flow, *args), daemon=True).start()

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

    def _fit(self, flow, *args):
        try:
            flow.fit(*args, epochs=10**9, callbacks=[self], verbose=0)
        except Exception as error:  # Raised again where somebody waits.
            self._failure = error
            self._done.release()
