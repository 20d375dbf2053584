"""Memory stays flat while a flow trains and answers, and nothing is traced again."""

import gc
import itertools
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import tfnvp

pytestmark = pytest.mark.slow


def resident():
    """Bytes of this process that are in RAM."""
    gc.collect()
    return 4096 * int(pathlib.Path("/proc/self/statm").read_text().split()[1])


def growth(work, times, windows=2):
    """The least memory that `times` calls take in several windows: a leak takes it in each."""
    sizes = []
    for _ in range(windows + 1):
        for _ in range(times):
            work()
        sizes.append(resident())
    return min(after - before for before, after in itertools.pairwise(sizes))


# One window may grow by some MB without a leak, as the allocator returns pages late. A batch kept
# from each of 500 steps would be 8 MB here, a tensor of results kept from 50 calls 6 MB.
TOLERANCE = 4e6


def test_training_takes_no_more_memory_with_every_step():
    x = np.random.default_rng(0).normal(size=(8000, 16)).astype("float32")
    flow = tfnvp.RealNVP(16, couplings=2, hidden_units=(8,))
    flow.compile()
    batches = tfnvp.data.training_dataset(x, None, 256, seed=0).repeat()
    assert growth(lambda: flow.fit(batches, steps_per_epoch=250, verbose=0), 2) < TOLERANCE


def test_answers_take_no_more_memory_with_every_call():
    flow = tfnvp.RealNVP(16, couplings=2, hidden_units=(8,))
    x = flow.sample(2000, seed=0).numpy()
    variable = flow.trainable_variables[0]

    def work():
        flow.log_prob(x)
        flow.predict(x, verbose=0)
        flow.decode(flow.encode(x))
        flow.sample(2000)
        # Weights that change must not leave old answers behind in TFP's caches.
        variable.assign(variable + 0.0)
        flow.distribution.log_prob(tf.constant(x))

    assert growth(work, 50) < TOLERANCE


def test_data_of_many_sizes_takes_bounded_memory():
    """A program of XLA for every size took 13 MiB for each answer, and 100 MiB for a training."""
    flow = tfnvp.RealNVP(8, 2, (16,), condition_shape=2)
    flow.compile()
    generator, sizes = np.random.default_rng(0), []
    for n in generator.integers(1, 9000, size=24).tolist():
        x, condition = (generator.normal(size=(n, k)).astype("float32") for k in (8, 2))
        flow.fit(x, condition, batch_size=200, verbose=0)
        flow.log_prob(x, condition)
        flow.decode(flow.encode(x, condition), condition)
        flow.sample(n, condition=condition)
        sizes.append(resident())
    assert sizes[-1] - sizes[11] < 100 * 2**20


def test_nothing_is_traced_again(moons):
    traces = 0

    class Counting(tfnvp.RealNVP):
        def call(self, x, condition=None, training=None):
            nonlocal traces
            traces += 1
            return super().call(x, condition, training)

    flow = Counting(2, couplings=2, hidden_units=(8,))
    flow.compile()
    # Three epochs, an uneven last batch in each, and two fits: once for training and once for
    # validation, each with a second trace for the other number of rows at most.
    for _ in range(2):
        flow.fit(moons, batch_size=300, epochs=3, validation_data=(moons[:450],), verbose=0)
    assert traces <= 4
