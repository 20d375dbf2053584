"""tfnvp trained on grey levels: shuffled, batched and dequantized anew in every epoch."""

import numpy as np

from benchmarks.libraries import tfnvp
from benchmarks.libraries.with_keras import FitBlocks
from tfnvp.data import training_dataset

KINDS, PACKAGES = tfnvp.KINDS, tfnvp.PACKAGES


def train(work, cell):
    flow = tfnvp.make_flow(work)
    flow.compile("adam")
    shape = (cell.steps * cell.batch, *work.event_shape)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    batches = training_dataset(pixels, 256, cell.batch)
    return FitBlocks(lambda **kwargs: flow.fit(batches, **kwargs))
