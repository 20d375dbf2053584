"""Losses that become NaN or infinite, and data that is not finite."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.fitting.batches import without_tuning
from tfnvp.fitting.divergence import NonFiniteLossError
from tfnvp.fitting.divergence_causes import find_bad_data, name_explosion

SMALL = {"couplings": 2, "hidden_units": (8,)}


class Break(keras.callbacks.Callback):
    """Gives one coupling a log-scale that overflows when some epochs begin."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = set(epochs)
        self.rates, self.weights = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.weights.append([np.copy(v) for v in self.model.variables])
        if epoch in self.epochs:
            self.model.bijector.bijectors[-2].conditioner.projection.bias.assign([0.0, -1e4])


def rate_of(kind):
    constant = keras.optimizers.schedules.PolynomialDecay(0.01, 10_000, 0.01)
    return constant if kind == "schedule" else 0.01


@pytest.mark.slow
def test_it_goes_back_and_lowers_the_learning_rate(moons):
    flow = tfnvp.RealNVP(2, scale="exp", **SMALL)
    flow.compile(keras.optimizers.Adam(rate_of("schedule"), global_clipnorm=100.0))
    breaks = Break([1, 3])
    roll_back = tfnvp.callbacks.RollBackOnNonFinite(times=2, factor=0.5)
    with pytest.warns(RuntimeWarning) as caught:
        history = flow.fit(
            moons, epochs=5, batch_size=100, verbose=0, callbacks=[roll_back, breaks]
        )
    assert roll_back.rolled_back == 2
    np.testing.assert_allclose(breaks.rates, [0.01, 0.01, 0.005, 0.005, 0.0025], rtol=1e-5)
    messages = [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert "epoch 2, batch 10 at the latest" in messages[0]
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(v).all() for v in flow.variables)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "steps"), [("float", None), ("schedule", None), ("float", 1)])
def test_the_compiled_steps_have_the_lower_learning_rate(moons, kind, steps):
    flow = tfnvp.RealNVP(2, scale="exp", **SMALL)
    flow.compile(keras.optimizers.Adam(rate_of(kind)), steps_per_execution=steps)
    breaks = Break([1])
    roll_back = tfnvp.callbacks.RollBackOnNonFinite(times=1, factor=1e-9)
    with pytest.warns(RuntimeWarning, match="epoch 2"):
        flow.fit(moons, epochs=4, batch_size=100, verbose=0, callbacks=[roll_back, breaks])
    moved = [
        max(
            np.abs(a - b).max()
            for a, b in zip(breaks.weights[i], breaks.weights[i + 1], strict=True)
        )
        for i in range(3)
    ]
    assert moved[0] > 1e-3
    assert max(moved[1:]) < 1e-6


def test_what_it_goes_back_to_is_what_the_epoch_began_with(moons):
    flow = tfnvp.RealNVP(2, scale="exp", dropout=0.1, **SMALL)
    flow.compile("adam", jit_compile=False)
    breaks = Break([2])
    with pytest.raises(NonFiniteLossError, match="epoch 3, batch 1"):
        flow.fit(
            moons,
            epochs=4,
            batch_size=100,
            verbose=0,
            callbacks=[tfnvp.callbacks.RollBackOnNonFinite(times=0), breaks],
        )
    for variable, value in zip(flow.variables, breaks.weights[-1], strict=True):
        np.testing.assert_array_equal(variable, value)


def test_the_message_names_the_coupling_that_exploded(moons):
    flow = tfnvp.RealNVP(2, scale="exp", standardize=False, **SMALL)
    # So high that the first steps explode, again when they are repeated.
    flow.compile(keras.optimizers.SGD(1e3), jit_compile=False)
    data = without_tuning(tf.data.Dataset.from_tensor_slices(moons).batch(100))
    with pytest.raises(
        NonFiniteLossError, match=r"epoch 1, batch \d+.*The log-scale of coupling_\d exploded"
    ):
        flow.fit(data, verbose=0, callbacks=[tfnvp.callbacks.RollBackOnNonFinite(times=0)])


def test_names_are_found_in_nested_flows_and_of_other_bijectors():
    flow = perturb(tfnvp.ImageRealNVP((4, 4, 1), scales=2, base_filters=2, residual_blocks=1), 0.01)
    x = np.random.default_rng(0).uniform(0.1, 0.9, (3, 4, 4, 1)).astype("float32")
    flow.adapt(x)
    couplings = [
        m for m in flow.bijector.submodules if isinstance(m, tfnvp.bijectors.AffineCoupling)
    ]
    couplings[-1]._factor.assign(1e30 * tf.ones_like(couplings[-1]._factor))
    assert f"log-scale of {couplings[-1].name} exploded" in name_explosion(flow, x)
    splines = perturb(tfnvp.NeuralSplineFlow(2, 2, (4,), bins=2, standardize=False))
    splines.bijector.bijectors[1].conditioner.projection.bias.assign([np.nan] * 7)
    assert "coupling_1 exploded" in name_explosion(splines, np.ones((3, 2), "float32"))
    other = tfnvp.Flow(tfnvp.bijectors.Chain([tfnvp.bijectors.DiagonalScaling(2)]), 2)
    other.trainable_variables[0].assign([np.nan, 0.0])
    assert "come from diagonal_scaling" in name_explosion(other, np.ones((3, 2), "float32"))


def test_a_validation_loss_that_is_nan_stops_or_rolls_back(moons):
    class BadEpoch(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.count = getattr(self, "count", 0) + 1
            self.kept = self.model.get_weights()
            self.seen = [*getattr(self, "seen", []), self.kept[0]]
            if self.count == 2:
                self.model.set_weights([np.nan * w for w in self.kept])

        def on_test_end(self, logs=None):
            self.model.set_weights(self.kept)

    flow = tfnvp.RealNVP(2, standardize=False, **SMALL)
    flow.compile("adam", jit_compile=False)
    options = {"validation_data": moons[:100], "epochs": 5, "verbose": 0}
    with pytest.raises(NonFiniteLossError, match="validation loss became nan in epoch 2"):
        flow.fit(moons, callbacks=[BadEpoch()], **options)
    roll_back, bad_epoch = tfnvp.callbacks.RollBackOnNonFinite(), BadEpoch()
    with pytest.warns(RuntimeWarning, match="validation loss became nan in epoch 2"):
        flow.fit(moons, callbacks=[roll_back, bad_epoch], **options)
    assert roll_back.rolled_back == 1
    # Later epochs go on from each other, and the last weights stay.
    third, fourth, fifth = bad_epoch.seen[2:]
    assert not np.allclose(third, fourth)
    assert not np.allclose(fourth, fifth)
    np.testing.assert_array_equal(flow.get_weights()[0], fifth)


@pytest.mark.parametrize("roll_back", [False, True])
def test_bad_rows_of_a_stream_are_named(moons, roll_back):
    broken = moons.copy()
    broken[730, 1] = np.inf if roll_back else np.nan
    data = without_tuning(tf.data.Dataset.from_tensor_slices(broken).batch(100))
    flow = tfnvp.RealNVP(2, standardize=False, **SMALL)
    flow.compile("adam")
    callbacks = [tfnvp.callbacks.RollBackOnNonFinite()] if roll_back else []
    with pytest.raises(NonFiniteLossError, match=r"batch 10 at.*In batch 8 .*finite.*x\[30, 1\]"):
        flow.fit(data, epochs=2, verbose=0, callbacks=callbacks)
    if roll_back:
        assert all(np.isfinite(v).all() for v in flow.variables)
    started = tfnvp.RealNVP(2, **SMALL)
    started.compile("adam")
    before = started.get_weights()
    with pytest.raises(ValueError, match=r"must be finite.*x\[730, 1\].*1000 rows that init"):
        started.fit(data, verbose=0)
    for old, new in zip(before, started.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("standardize", [False, True])
def test_empty_streams_are_refused(standardize):
    flow = tfnvp.RealNVP(2, standardize=standardize, **SMALL)
    flow.compile("adam", jit_compile=False)
    empty = without_tuning(tf.data.Dataset.from_tensor_slices(np.zeros((0, 2), "float32")).batch(4))
    with pytest.raises(ValueError, match="must not be empty"):
        flow.fit(empty, verbose=0)
    with pytest.raises(ValueError, match="must not be empty"):
        flow.fit(np.ones((4, 2), "float32"), validation_data=empty, verbose=0)
    with pytest.raises(ValueError, match="training data is empty"):
        flow.fit(empty.filter(lambda x: True), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"times": -1}, "`times` must be"),
        ({"times": True}, "`times` must be"),
        ({"factor": 1.0}, "`factor` must be"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfnvp.callbacks.RollBackOnNonFinite(**arguments)


@pytest.mark.parametrize("roll_back", [False, True])
def test_data_out_of_the_range_of_a_logit_is_named(roll_back):
    flow = tfnvp.RealNVP(2, logit_alpha=0.05, standardize=False, **SMALL)
    flow.compile("adam", jit_compile=False)
    grey = np.random.default_rng(0).uniform(0, 255, (64, 2)).astype("float32")
    callbacks = [tfnvp.callbacks.RollBackOnNonFinite()] if roll_back else []
    # Arrays are checked before the first step.
    data = without_tuning(tf.data.Dataset.from_tensor_slices(grey).batch(32))
    with pytest.raises(NonFiniteLossError, match=r"In batch 1 .*floats in \[0, 1\].* to 25"):
        flow.fit(data, verbose=0, callbacks=callbacks)


def test_data_that_the_logit_takes_is_not_blamed(moons):
    """A margin around [0, 1] belongs to the domain of a logit with `alpha` above 0."""
    flow = tfnvp.RealNVP(2, logit_alpha=0.05, scale="exp", standardize=False, **SMALL)
    x = (moons + 2) / 5
    x[0, 0] = -0.01
    assert np.isfinite(flow.log_prob(x)).all()
    data = without_tuning(tf.data.Dataset.from_tensor_slices(x).batch(100))
    assert find_bad_data(flow, data, 10) is None
    beyond = data.map(lambda x: x - 0.1)
    assert "from -0.1" in find_bad_data(flow, beyond, 10)
    flow.compile("adam", jit_compile=False)
    with pytest.warns(RuntimeWarning, match="the loss became nan in epoch 2"):
        flow.fit(
            data,
            epochs=2,
            verbose=0,
            callbacks=[tfnvp.callbacks.RollBackOnNonFinite(), Break([1])],
        )
    assert all(np.isfinite(v).all() for v in flow.variables)


@pytest.mark.parametrize(
    ("where", "bad", "message"),
    [
        ("x", np.nan, r"In batch 6 of the epoch, `x` must be finite.*x\[50, 0\]"),
        ("condition", np.nan, r"In batch 6 .*`condition` must be finite.*condition\[50, 0\]"),
        ("condition", 1e30, r"In batch 6 .*`condition` reaches 1e\+30"),
        ("x", 1e30, r"In batch 6 .*`x` reaches 1e\+30"),
        ("x", 1.2, r"In batch 6 .*floats in \[0, 1\].* to 1\.2"),
    ],
)
def test_a_late_row_that_is_unusable_is_named(moons, where, bad, message):
    data = {"x": (moons + 2) / 5, "condition": moons[:, :1].copy()}
    data[where][550] = bad
    alpha = 0.01 if bad == 1.2 else None
    flow = tfnvp.RealNVP(2, condition_shape=1, logit_alpha=alpha, **SMALL)
    batches = without_tuning(tf.data.Dataset.from_tensor_slices(data).batch(100))
    assert re.search(message, find_bad_data(flow, batches, 10))
    assert find_bad_data(flow, batches.take(5), 10) is None
    assert re.search(message, find_bad_data(flow, batches.repeat(), 6))
    assert find_bad_data(flow, batches.repeat(), 5) is None


@pytest.mark.parametrize(
    ("jit_compile", "where", "message"),
    [
        (False, 0, r"In batch 6 of the epoch.*x\[50, 0\]"),
        (True, 0, r"In batch 6 of the epoch.*x\[50, 0\]"),
        (False, 2, "In batch 6 of the epoch, `sample_weight` must be finite.*first is nan"),
    ],
)
def test_a_late_row_that_is_unusable_leaves_good_weights(moons, jit_compile, where, message):
    data = (moons.copy(), moons[:, :1].copy(), np.ones(len(moons), "float32"))
    flow = tfnvp.RealNVP(2, condition_shape=1, **SMALL)
    flow.compile("adam", jit_compile=jit_compile)
    flow.adapt(*data[:2])
    before = flow.get_weights()
    data[where][550] = np.nan
    batches = without_tuning(tf.data.Dataset.from_tensor_slices(data).batch(100))
    with pytest.raises(ValueError, match=message):
        flow.fit(batches, verbose=0)
    weights = flow.get_weights()
    assert all(np.isfinite(w).all() for w in weights)
    assert any((w != b).any() for w, b in zip(weights, before, strict=True))
