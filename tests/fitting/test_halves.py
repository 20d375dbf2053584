"""Batches whose halves are computed side by side train like whole ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting import halves


def _rows(n, size=3):
    return np.random.default_rng(0).normal(size=(n, size)).astype("float32")


@pytest.mark.parametrize("condition_shape", [None, 2], ids=["plain", "conditional"])
def test_steps_are_those_of_whole_batches(condition_shape, monkeypatch):
    x, y = _rows(32), None if condition_shape is None else _rows(32, condition_shape)
    used = []
    monkeypatch.setattr(halves, "apply", _counting(halves.apply, used))
    weights = []
    for jit_compile in (True, False):
        keras.utils.set_random_seed(0)
        flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), condition_shape=condition_shape)
        generator = np.random.default_rng(1)
        flow.adapt(x, y)
        for variable in flow.trainable_variables:
            variable.assign_add(generator.normal(0.0, 0.2, variable.shape))
        flow.compile(tfnvp.optimizers.Adam(1e-2), jit_compile=jit_compile)
        flow.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
        weights.append([v.numpy() for v in flow.trainable_variables])
    assert len(used) == 1  # Traced once, and only where XLA compiles.
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def _counting(function, calls):
    def counted(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return counted


def test_order_of_rows_is_kept():
    x, y = tf.reshape(tf.range(8.0), (4, 2)), tf.reshape(tf.range(4.0), (4, 1))
    result = halves.apply(lambda x, y: x[:, 0] + 100.0 * y[:, 0], x, y)
    assert result.numpy().tolist() == [0.0, 102.0, 204.0, 306.0]


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(256, 64, True), (255, 64, False), (256, 1000, False)]
)
def test_only_products_that_leave_a_core_idle_are_halved(rows, size, expected, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    weights = [tf.Variable(tf.zeros((size, size)))]
    assert halves.worthwhile(tf.zeros((rows, 2)), weights) is expected
    assert not halves.worthwhile(tf.zeros((rows, 2)), [])
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert not halves.worthwhile(tf.zeros((rows, 2)), weights)
