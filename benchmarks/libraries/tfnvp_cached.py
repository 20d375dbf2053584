"""tfnvp trained on one batch that is always there: a `fit` without an input pipeline."""

import tensorflow as tf

from benchmarks.libraries import tfnvp
from benchmarks.libraries.with_keras import FitBlocks

KINDS, PACKAGES = tfnvp.KINDS, tfnvp.PACKAGES


def train(work, cell):
    flow = tfnvp.make_flow(work)
    flow.compile("adam")
    batches = tf.data.Dataset.from_tensors(work.rows(cell.batch)).repeat(cell.steps)
    return FitBlocks(lambda **kwargs: flow.fit(batches, **kwargs))
