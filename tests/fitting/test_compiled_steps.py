"""Many steps in one XLA program: the same training as one step at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting import programs as compiled_steps
from tfnvp.fitting import training_data

# Of steps in one program, for flows of few variables.
MOST = 64


def _rows(n=84, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3)).astype("float32")


def _flow(condition_shape=None, levels=None):
    keras.utils.set_random_seed(3)
    return tfnvp.RealNVP(
        3, couplings=2, hidden_units=(8,), condition_shape=condition_shape, levels=levels
    )


def _fit(steps_per_execution, x, y=None, optimizer=None, **kwargs):
    flow = _flow(None if y is None else 1)
    flow.compile(optimizer or keras.optimizers.SGD(1e-2), steps_per_execution=steps_per_execution)
    history = flow.fit(x, y, shuffle=False, verbose=0, **kwargs).history
    return flow, history


@pytest.fixture(scope="module")
def one_by_one():
    return _fit(1, _rows(), batch_size=8, epochs=2, validation_data=_rows(20, 1))


def test_weights_and_history_are_those_of_single_steps(one_by_one):
    """84 rows in batches of 8: ten whole ones and one of four, which has its own shape."""
    expected, expected_history = one_by_one
    flow, history = _fit(None, _rows(), batch_size=8, epochs=2, validation_data=_rows(20, 1))
    assert flow.steps_per_execution == 11
    assert int(flow.optimizer.iterations) == int(expected.optimizer.iterations) == 22
    for ours, theirs in zip(flow.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)


def test_fewer_steps_at_once_than_batches(one_by_one):
    flow, _ = _fit(4, _rows(), batch_size=8, epochs=2, validation_data=_rows(20, 1))
    for ours, theirs in zip(flow.get_weights(), one_by_one[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_conditions_and_sample_weights_reach_every_step():
    x, y = _rows(24), _rows(24, 2)[:, :1]
    weights = np.linspace(0.0, 2.0, 24, dtype="float32")
    ours, theirs = (
        _fit(steps, x, y, batch_size=8, epochs=1, sample_weight=weights)[0] for steps in (None, 1)
    )
    assert ours.steps_per_execution > 1
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_steps_are_traced_once_over_epochs_and_fits():
    flow = _flow()
    traces = []
    call = flow.call
    flow.call = lambda *args, **kwargs: traces.append(1) or call(*args, **kwargs)
    flow.compile("adam")
    batches = tf.data.Dataset.from_tensor_slices(_rows(80)).batch(8)
    flow.fit(batches, epochs=3, verbose=0)
    flow.fit(batches, epochs=2, verbose=0)
    assert len(traces) == 1


def test_tensorflow_warns_of_no_retracing_where_many_flows_are_trained(monkeypatch):
    warnings = []
    monkeypatch.setattr(tf.get_logger(), "warning", lambda *args: warnings.append(args))
    count = tf.Variable(0.0)
    for _ in range(8):
        train = compiled_steps.run_many(lambda batch: count.assign_add(1.0), lambda: count + 0.0, 2)
        train(iter([tf.ones(2), tf.ones(2)]))
    assert float(count) == 16.0
    assert not warnings


def test_the_bar_ends_where_the_batches_end(capsys):
    flow, x = _flow(), _rows(56)
    flow.compile("adam", steps_per_execution=4)
    flow.fit(x, batch_size=8, verbose=1)
    flow.evaluate(x, batch_size=8)
    flow.predict(x, batch_size=8)
    shown = capsys.readouterr().out
    assert shown.count("7/7") >= 3
    assert "8/7" not in shown
    flow.fit(x, batch_size=8, verbose=0)
    flow.evaluate(x, batch_size=8, verbose=0)
    assert not capsys.readouterr().out


def test_steps_per_epoch_is_kept_to():
    batches = tf.data.Dataset.from_tensor_slices(_rows()).repeat().batch(8)
    flow, _ = _fit(None, batches, steps_per_epoch=6, epochs=2)
    assert int(flow.optimizer.iterations) == 12


class _Counter(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1


def test_callbacks_that_follow_batches_see_each_one():
    counter = _Counter()
    flow, _ = _fit(None, _rows(80), batch_size=8, epochs=1, callbacks=[counter])
    assert flow.steps_per_execution == 1
    assert counter.batches == 10
    flow.fit(_rows(80), batch_size=8, verbose=0)
    assert flow.steps_per_execution > 1


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        (keras.callbacks.EarlyStopping(), MOST),
        (keras.callbacks.TerminateOnNaN(), MOST),
        (keras.callbacks.ModelCheckpoint("x.keras"), MOST),
        (keras.callbacks.ModelCheckpoint("x.keras", save_freq=5), 1),
        (keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None), MOST),
        (keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None), 1),
        (_Counter(), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_choice_by_callback(callback, expected):
    assert compiled_steps.choose(3, None, [callback]) == expected


@pytest.mark.parametrize(
    ("limits", "expected"), [((None, None), MOST), ((100, None), 50), ((7, 21), 7)]
)
def test_choice_divides_the_steps_of_an_epoch(limits, expected):
    assert compiled_steps.choose(3, None, [], *limits) == expected


@pytest.mark.parametrize(("event_size", "expected"), [(2, 64), (784, 20), (10**6, 1)])
def test_choice_keeps_stacks_small(event_size, expected):
    assert compiled_steps.choose(event_size, None, []) == expected


def test_a_step_of_ones_own_keeps_its_logs():
    class Own(tfnvp.RealNVP):
        def train_step(self, data):
            return {**super().train_step(data), "answer": tf.constant(42.0)}

    flow = Own(3, couplings=2, hidden_units=(8,))
    flow.compile("adam")
    history = flow.fit(_rows(), batch_size=28, verbose=0).history
    assert history["answer"] == [42.0]


def test_choices_survive_saving(tmp_path):
    flow, _ = _fit(None, _rows(), batch_size=28, epochs=1)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    loaded.fit(_rows(), batch_size=28, verbose=0)
    assert loaded.jit_compile
    assert loaded.steps_per_execution == 3


def test_convolutions_are_left_to_tensorflow():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1)
    flow.compile("adam")
    assert not flow.jit_compile
    flow = _flow()
    flow.compile("adam", jit_compile=False)
    assert not flow.jit_compile
    assert flow.steps_per_execution == 1


@pytest.mark.parametrize(("batches", "expected"), [(6, 6), (71, 36), (1000, 63), (None, MOST)])
def test_choice_divides_an_epoch_evenly(batches, expected):
    assert compiled_steps.choose(3, batches, []) == expected


def test_batches_of_an_epoch_are_counted():
    x = _rows(84)
    assert training_data.count_batches(x, {"batch_size": 8}) == 11
    assert training_data.count_batches(x, {"batch_size": 8, "validation_split": 0.5}) == 6
    assert training_data.count_batches(x, {}) == 3
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(8)
    assert training_data.count_batches(dataset, {}) == 11
    assert training_data.count_batches(dataset.repeat(), {}) is None
    assert training_data.count_batches(iter([x]), {}) is None
