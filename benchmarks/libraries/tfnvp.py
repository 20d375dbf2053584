"""tfnvp through its public names and their defaults."""

import keras
import tensorflow as tf

import tfnvp
from benchmarks.libraries.with_keras import FitBlocks

KINDS = ("nice", "real_nvp", "neural_spline", "image_real_nvp")
PACKAGES = ("tfnvp", "tensorflow", "keras", "tensorflow-probability")


def make_flow(work):
    if work.kind == "nice":
        return tfnvp.NICE(work.event_shape, work.couplings, work.hidden_units)
    if work.kind == "real_nvp":
        return tfnvp.RealNVP(work.event_shape, work.couplings, work.hidden_units)
    if work.kind == "neural_spline":
        return tfnvp.NeuralSplineFlow(
            work.event_shape, work.couplings, work.hidden_units, bins=work.bins
        )
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
    rows = dataset(work, cell)
    return FitBlocks(lambda **kwargs: flow.fit(rows, **kwargs))


def trained(work, parts, seed, optimizer="adam"):
    keras.utils.set_random_seed(seed)
    flow = make_flow(work)
    flow.compile(optimizer)
    for part in parts:
        flow.fit(tf.data.Dataset.from_tensor_slices(part), verbose=0)
        yield lambda rows: flow.log_prob(rows).numpy()


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
