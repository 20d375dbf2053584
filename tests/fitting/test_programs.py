"""Compiled programs: the same training as one step of whole batches at a time."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting import programs

# Steps in one program, for flows of few variables.
MOST = 64


def rows(n=44, size=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size)).astype("float32")


def make_flow(**kwargs):
    keras.utils.set_random_seed(3)
    return tfnvp.RealNVP(3, couplings=2, hidden_units=(4,), **kwargs)


def fit(flow, x, y=None, jit_compile="auto", steps=None, **kwargs):
    flow.compile(keras.optimizers.SGD(1e-2), jit_compile=jit_compile, steps_per_execution=steps)
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0, **kwargs}
    return flow.fit(x, y, **arguments).history


# These fit: only whole trainings show that programs, halves, weights and logs agree with Keras.
def test_training_is_that_of_single_steps_without_xla():
    """44 rows in batches of 8: five whole ones, and one of four, which has its own shape."""
    x, y = rows(), rows(44, 1, seed=2)
    weights = np.linspace(0.0, 2.0, 44, dtype="float32")
    arguments = {"epochs": 2, "validation_data": (x[:20], y[:20]), "sample_weight": weights}
    expected, flow = (make_flow(condition_shape=1) for _ in range(2))
    expected_logs = fit(expected, x, y, jit_compile=False, steps=1, **arguments)
    logs = fit(flow, x, y, **arguments)
    assert flow.steps_per_execution == 8
    assert int(flow.optimizer.iterations) == int(expected.optimizer.iterations) == 12
    for ours, theirs in zip(flow.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for name, values in expected_logs.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-4)


def test_data_of_any_size_trains_by_a_few_programs(monkeypatch):
    # Fits: what counts is how often XLA compiles in all of them.
    compiled, flow = [], make_flow()
    call = flow.call

    def counting(x, *args, **kwargs):
        compiled.append(x.shape[0])
        return call(x, *args, **kwargs)

    flow.call = counting
    for n in range(20, 44, 3):
        fit(flow, rows(n)) if n == 20 else flow.fit(rows(n), batch_size=8, verbose=0)
    # Once whole batches, and twice what is left: for one size, then for any.
    assert compiled[0] == 8
    assert len(compiled) <= 3


def test_steps_are_traced_once_and_choices_survive(tmp_path):
    flow, traces = make_flow(), []
    call = flow.call
    flow.call = lambda *args, **kwargs: traces.append(1) or call(*args, **kwargs)
    batches = tf.data.Dataset.from_tensor_slices(rows(40)).batch(8)
    fit(flow, batches, epochs=2)
    flow.fit(batches, verbose=0)
    assert len(traces) == 1
    # Then a callback that follows batches sees each one, and a fit without it does not.
    counted = []
    counter = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: counted.append(1)
    )
    flow.fit(batches, callbacks=[counter], verbose=0)
    assert (flow.steps_per_execution, len(counted)) == (1, 5)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert loaded.jit_compile
    loaded.fit(batches.repeat(), steps_per_epoch=6, epochs=2, verbose=0)
    assert loaded.steps_per_execution == 6
    assert int(loaded.optimizer.iterations) == 20 + 12


def test_scores_are_of_all_rows_and_of_the_steps_that_are_asked_for():
    flow, x = make_flow(), rows(80)
    batches = tf.data.Dataset.from_tensor_slices(x).batch(8)
    flow.compile("sgd")
    flow.predict(x[:8], verbose=0)
    flow.fit(batches, verbose=0)
    assert flow.steps_per_execution == MOST
    nats = flow.log_prob(x)
    np.testing.assert_allclose(flow.predict(x, batch_size=7, verbose=0), nats, rtol=1e-5)
    assert len(flow.predict(batches.repeat(), steps=2, verbose=0)) == 16
    flow.steps_per_execution = MOST
    loss = flow.evaluate(batches.repeat(), steps=2, verbose=0)
    np.testing.assert_allclose(loss, -np.mean(nats[:16]), rtol=1e-5)


def test_no_retracing_is_warned_of_where_many_flows_are_trained(monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *args: warnings.append(args))
    count = tf.Variable(0.0)
    for _ in range(8):
        train = programs.run_many(
            lambda batch: count.assign_add(1.0), lambda: count + 0.0, lambda: 2
        )
        train(iter([tf.ones(2), tf.ones(2)]))
    assert float(count) == 16.0
    assert not warnings


def test_batches_of_later_fits_are_compiled_too(monkeypatch):
    compiled, stack = [], programs._stack
    monkeypatch.setattr(
        programs, "_stack", lambda *args: compiled.append(len(args[0][0])) or stack(*args)
    )
    train = programs.run_many(lambda batch: None, lambda: 0.0, lambda: 4)

    def sizes_of_compiled(*sizes):
        compiled.clear()
        iterator = iter([tf.ones(size) for size in sizes])
        with contextlib.suppress(StopIteration):
            while True:
                train(iterator)
        return compiled

    # What is left of an epoch is not compiled; later sizes are once they come again.
    for _ in range(2):
        assert sizes_of_compiled(8, 8, 8, 8, 5) == [8]
    assert sizes_of_compiled(3, 3, 3, 3, 3, 2) == [3, 3]
    assert sizes_of_compiled(20) == []
    assert sizes_of_compiled(20) == [20]
    # The number of programs is bounded.
    assert [sizes_of_compiled(n, n) != [] for n in (30, 31, 8)] == [True, False, True]


def test_a_step_of_ones_own_keeps_its_logs():
    class Own(tfnvp.RealNVP):
        def train_step(self, data):
            return {**super().train_step(data), "answer": tf.constant(42.0)}

    flow = Own(3, couplings=2, hidden_units=(4,))
    assert fit(flow, rows(), jit_compile=False)["answer"] == [42.0]


def test_convolutions_are_left_to_tensorflow():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=0)
    flow.compile("adam")
    assert not flow.jit_compile
    flow = make_flow()
    flow.compile("adam", jit_compile=False)
    assert (flow.jit_compile, flow.steps_per_execution) == (False, 1)


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (keras.callbacks.EarlyStopping(), MOST),
        (keras.callbacks.TerminateOnNaN(), MOST),
        (keras.callbacks.ModelCheckpoint("x.keras"), MOST),
        (keras.callbacks.ModelCheckpoint("x.keras", save_freq=5), 1),
        (keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), MOST),
        (keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_callbacks_of_single_batches_get_single_steps(callback, expected):
    assert programs.choose_steps(3, None, [callback]) == expected


@pytest.mark.parametrize(
    ("event_size", "batches", "limits", "expected"),
    [
        (3, None, (None, None), MOST),
        # It divides the steps of an epoch.
        (3, None, (100, None), 50),
        (3, None, (7, 21), 7),
        # Stacks of batches stay small.
        (784, None, (), 20),
        (10**6, None, (), 1),
        # There are few numbers of steps, whatever the size of the data.
        (3, 1, (), 1),
        (3, 6, (), 8),
        (3, 71, (), MOST),
        (3, 1000, (), MOST),
    ],
)
def test_the_number_of_steps(event_size, batches, limits, expected):
    assert programs.choose_steps(event_size, batches, [], *limits) == expected


# --- halves of a batch ----------------------------------------------------------------------------


def test_halves_keep_the_order_of_rows():
    x, y = tf.reshape(tf.range(8.0), (4, 2)), tf.reshape(tf.range(4.0), (4, 1))
    result = programs.on_halves(lambda x, y: x[:, 0] + 100.0 * y[:, 0], x, y)
    assert result.numpy().tolist() == [0.0, 102.0, 204.0, 306.0]


def test_xla_alone_computes_on_halves(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    used, apply = [], programs.on_halves
    monkeypatch.setattr(programs, "on_halves", lambda *args: used.append(1) or apply(*args))
    for jit_compile, expected in ((False, []), (True, [1])):
        flow = make_flow()
        fit(flow, rows(16), jit_compile=jit_compile)
        assert used == expected


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(256, 64, True), (255, 64, False), (256, 1000, False)]
)
def test_products_that_leave_a_core_idle_are_halved(count, size, expected, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    weights = [tf.Variable(tf.zeros((size, size)))]
    assert programs.halves_are_faster(tf.zeros((count, 2)), weights) is expected
    assert not programs.halves_are_faster(tf.zeros((count, 2)), [])
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert not programs.halves_are_faster(tf.zeros((count, 2)), weights)
