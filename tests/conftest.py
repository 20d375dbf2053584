"""Fixtures and data that several test modules share."""

import contextlib
import ctypes
import gc
import os
import signal
import sys
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp

# Hundreds of small programs run once each here: XLA compiles them faster than well. It reads this
# when it compiles the first.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1",
)

# What imports made stays: to look through it takes each of hundreds of collections half a second.
gc.collect()
gc.freeze()


def pytest_configure():
    """Accepts SIGINT, here and in child processes, also where `nohup pytest &` ignores it."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _drop_programs():
    """Frees graphs and compiled programs after each module, and gives their memory back."""
    yield
    keras.backend.clear_session()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.contextmanager
def functions_eager(wanted=True):
    """Within it, functions run op by op: for few calls a graph is not worth its tracing."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(wanted)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@pytest.fixture
def eagerly():
    with functions_eager():
        yield


@pytest.fixture(scope="module")
def eagerly_throughout():
    """As `eagerly`, for a module, and for its fixtures."""
    with functions_eager():
        yield


def perturb(module, deviation=0.3, seed=0):
    """Moves every trainable variable of a bijector, flow or layer away from its start."""
    generator = np.random.default_rng(seed)
    for variable in module.trainable_variables:
        noise = generator.normal(0.0, deviation, variable.shape)
        variable.assign(variable + tf.cast(noise, variable.dtype))
    return module


class CountingMLP(tfnvp.conditioners.MLP):
    """An MLP that counts its calls."""

    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return super().call(inputs)


@pytest.fixture
def counting_mlp():
    """A conditioner class whose `calls` are counted from zero."""
    CountingMLP.calls = 0
    return CountingMLP


@pytest.fixture(scope="session")
def moons():
    """Two moons, 1000 points."""
    from sklearn.datasets import make_moons

    return make_moons(1000, noise=0.05, random_state=0)[0].astype("float32")
