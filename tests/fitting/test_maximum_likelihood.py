"""`fit`, `evaluate` and `predict`: that data goes through its specification, and Keras' arguments.

The rules for data, with their messages, are tested on `DataSpec`.
"""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting.batches import without_tuning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3))
CONDITION = X[:, :2].copy()


class Table:
    """An array as pandas wraps it."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __len__(self):
        return len(self._values)


class GreyRealNVP(tfnvp.RealNVP):
    """Takes whole grey levels as `ImageRealNVP` does, without its convolutions."""

    accepts_integers = True


def make(**kwargs):
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(4,), **kwargs)
    flow.compile("adam", jit_compile=False)
    return flow


@pytest.fixture(scope="module")
def flow():
    """A flow whose functions are traced: only their runtime would check shapes."""
    flow = make()
    flow.fit(X, verbose=0)
    flow.evaluate(X, verbose=0)
    flow.predict(X, verbose=0)
    return flow


@pytest.fixture(scope="module")
def conditional():
    flow = make(condition_shape=2)
    flow.fit(X, CONDITION, verbose=0)
    return flow


@pytest.fixture(scope="module")
def image_flow():
    flow = GreyRealNVP((2, 2, 1), couplings=2, hidden_units=(4,), logit_alpha=0.05, levels=256)
    flow.compile("adam", jit_compile=False)
    return flow


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_every_method_checks_its_data(flow, method):
    with pytest.raises(ValueError, match=r"`x` must have the shape \[batch, 3\]"):
        getattr(flow, method)(Table(X[:, :2]), verbose=0)


def test_bad_data_changes_nothing(flow, image_flow):
    broken = X.copy()
    broken[5, 1] = np.nan
    pixels = RNG.integers(0, 256, (8, 2, 2, 1))
    for model, call, message in (
        (flow, lambda f: f.fit(broken, verbose=0), r"first is x\[5, 1\]"),
        (flow, lambda f: f.fit(X, validation_data=broken, verbose=0), r"validation_data\[5, 1\]"),
        (flow, lambda f: f.fit(X, sample_weight=np.full(64, -1.0), verbose=0), "0 or more"),
        (image_flow, lambda f: f.fit(pixels.astype("float32"), verbose=0), r"floats in \[0, 1\]"),
        (image_flow, lambda f: f.fit(pixels + 300, verbose=0), "grey levels from 0 to"),
    ):
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            call(model)
        for old, new in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_bad_rows_of_a_data_set_are_found_before_they_initialise_a_flow(image_flow):
    def batches(rows):
        return without_tuning(tf.data.Dataset.from_tensor_slices(rows).batch(4))

    pixels = RNG.integers(0, 256, (8, 2, 2, 1)).astype("float32")
    with pytest.raises(ValueError, match=r"floats in \[0, 1\].*grey levels"):
        image_flow.fit(batches(pixels), verbose=0)
    broken = X.astype("float32")
    broken[3] = np.nan
    with pytest.raises(ValueError, match=r"x\[3, 0\].*FiniteRows"):
        make().fit(batches(broken), verbose=0)


def test_a_data_set_without_shapes_is_checked_when_it_runs(flow):
    batches = tf.data.Dataset.from_generator(lambda: iter([X[:, :1]]), output_types=tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="EnsureShape"):
        flow.fit(batches, verbose=0)


def test_arguments_of_classifiers_are_refused(flow):
    for call, message in (
        (lambda: tfnvp.RealNVP(3, couplings=2).fit(X), "call `compile` before `fit`"),
        (lambda: make().compile("adam", metrics=["mae"]), r"metrics by name compare.*'mae'"),
        (lambda: make().compile("adam", loss="mse"), "its own loss"),
        (lambda: flow.fit(X, class_weight={0: 1.0}), "`sample_weight` instead"),
        (lambda: flow.fit(epochs=1), "`x` is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_tables_lists_and_dictionaries_are_arrays(conditional):
    expected = conditional.predict({"x": X, "condition": CONDITION}, verbose=0)
    for x in (Table(X), X.tolist(), Table(X.astype(object))):
        given = {"x": x, "condition": Table(CONDITION)}
        np.testing.assert_allclose(conditional.predict(given, verbose=0), expected, rtol=1e-5)
    loss = conditional.evaluate(X.tolist(), CONDITION.tolist(), verbose=0)
    np.testing.assert_allclose(loss, -expected.mean(), rtol=1e-5)
    before = conditional.get_weights()
    histories = []
    for kind in (tuple, list):  # As Keras takes validation data.
        conditional.set_weights(before)
        held_out = kind((Table(X), Table(CONDITION)))
        logs = conditional.fit(
            Table(X), Table(CONDITION), validation_data=held_out, shuffle=False, verbose=0
        )
        histories.append(logs.history["val_loss"])
    assert len(histories[0]) == len(histories[1]) == 1


def test_the_last_rows_may_be_for_validation(flow):
    assert "val_loss" in flow.fit(X, validation_split=0.25, verbose=0).history
    for share in (1.0, 20, -0.5):
        with pytest.raises(ValueError, match=r"`validation_split` must leave rows .* of 64 rows"):
            flow.fit(X, validation_split=share)
    with pytest.raises(ValueError, match="`validation_split` must be of arrays"):
        flow.fit(tf.data.Dataset.from_tensor_slices(X).batch(8), validation_split=0.25)


def test_conditions_that_are_not_finite_are_not_hidden_by_the_network(conditional):
    broken = CONDITION.copy()
    broken[7, 0] = np.nan
    assert np.isnan(conditional.evaluate(X, broken, verbose=0))
    batches = without_tuning(tf.data.Dataset.from_tensor_slices((X, broken)).batch(32))
    with pytest.raises(ValueError, match=r"batch 1 of the epoch, `condition` .*condition\[7, 0\]"):
        conditional.fit(batches, verbose=0)


def test_advice_is_given_once_in_each_call(conditional, image_flow):
    rows = np.column_stack([X[:, :2], np.ones(64)])
    pixels = (RNG.integers(0, 256, (8, 2, 2, 1)) / 255).astype("float32")
    far = CONDITION + [1000.0, 0.0]
    for call, message in (
        (lambda: conditional.fit(rows, CONDITION, verbose=0), "constant columns"),
        (lambda: conditional.fit(X, far, verbose=0), "outside of the training range"),
        (
            lambda: conditional.fit(X, CONDITION, validation_data=(X, far), verbose=0),
            "outside of the training range",
        ),
        (lambda: conditional.evaluate(X, far, verbose=0), "outside of the training range"),
        (
            lambda: conditional.predict({"x": X, "condition": far}, verbose=0),
            "outside of the training range",
        ),
        (lambda: conditional.log_prob(X, far), "outside of the training range"),
        (lambda: conditional.sample(1, condition=far[0]), "outside of the training range"),
        (lambda: image_flow.evaluate(pixels, verbose=0), "multiples of 1/255"),
        (lambda: image_flow.log_prob(pixels), "multiples of 1/255"),
        (lambda: image_flow.encode(pixels + 5), r"values from 5.*NaN"),
    ):
        with pytest.warns(UserWarning, match=message) as caught:
            call()
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditional.fit(X, CONDITION, validation_data=(X, CONDITION), verbose=0)
        conditional.log_prob(X, CONDITION)


def test_labels_may_go_into_an_embedding(recwarn):
    # The advice on labels is given by `fit`.
    class Labelled(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(100, 2)
            self.dense = keras.layers.Dense(2)

        def call(self, inputs):
            passed, labels = inputs
            return self.dense(tf.concat([passed, self.embedding(labels)[:, 0]], axis=-1))

    coupling = tfnvp.bijectors.AffineCoupling(
        Labelled(), tfnvp.partitions.Split(1), 2, condition_shape=1
    )
    flow = tfnvp.Flow(coupling, 2, condition_shape=1)
    flow.compile("adam", jit_compile=False)
    labels = RNG.integers(0, 100, (64, 1))
    flow.fit(X[:, :2], labels, verbose=0)
    flow.log_prob(X[:, :2], labels)
    assert not recwarn.list


def test_streams_get_the_advice_on_columns():
    repeated = X[:, [0, 1, 0]].astype("float32")
    batches = without_tuning(tf.data.Dataset.from_tensor_slices(repeated).batch(32))
    flow = make(standardize=False)
    with pytest.warns(UserWarning, match=r"column 'x\[:, 2\]' repeats 'x\[:, 0\]'"):
        flow.fit(batches, verbose=0)


def test_whole_grey_levels_are_dequantized_and_others_are_nan():
    flow = GreyRealNVP((2, 2, 1), couplings=2, hidden_units=(4,), logit_alpha=0.05, levels=2)
    flow.compile("adam", jit_compile=False)
    images = RNG.uniform(size=(8, 2, 2, 1)) < 0.5
    flow.fit(images, verbose=0)
    assert np.isfinite(flow.evaluate(images, verbose=0)).all()
    assert flow.check(images.astype("uint8")).round_trip_max < 1e-4
    far = without_tuning(tf.data.Dataset.from_tensor_slices(255 * images.astype("uint8")).batch(4))
    assert np.isnan(flow.evaluate(far, verbose=0)[0])
    assert np.isnan(flow.predict(far, verbose=0)).any()
    with pytest.raises(ValueError, match=r"batch 1 of the epoch, .*grey levels from 0 to .*255"):
        flow.fit(far, verbose=0)


def test_steps_and_learning_rate_of_replicas_are_read(recwarn):
    # This fits: only it asks for steps and learning rate. One replica has the variables of several.
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        flow = tfnvp.Flow(tfnvp.bijectors.DiagonalScaling(3), 3)
        flow.compile(keras.optimizers.SGD(1e30), jit_compile=False)
    batches = without_tuning(tf.data.Dataset.from_tensor_slices(X.astype("float32")).batch(16))
    roll_back = tfnvp.callbacks.RollBackOnNonFinite(times=1, factor=1e-35)
    flow.fit(batches, verbose=0, callbacks=[roll_back])
    assert roll_back.rolled_back == 1
    recwarn.clear()
    flow.adapt(X)
    assert "trained" in str(recwarn.pop(UserWarning).message)


def test_impossible_bits_per_dimension_get_a_warning():
    # The rows vary less than the noise of one level.
    data = without_tuning(
        tf.data.Dataset.from_tensor_slices((0.5 + 1e-5 * X).astype("float32")).batch(64)
    )
    flow = make(levels=256)
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    for call in (flow.fit, flow.evaluate):
        with pytest.warns(UserWarning, match="bits_per_dim = -.* is impossible"):
            call(data, verbose=0)


def test_a_bad_row_ends_training_before_anything_is_saved(flow, tmp_path):
    rows = X.astype("float32")
    rows[40] = 1e20
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")
    batches = without_tuning(tf.data.Dataset.from_tensor_slices(rows).batch(32))
    with pytest.raises(ValueError, match=r"batch 2 of the epoch, `x` reaches 1e\+20"):
        flow.fit(batches, callbacks=[checkpoint], verbose=0)
    assert not (tmp_path / "last.keras").exists()
    # The bad row gives no gradient.
    assert all(np.isfinite(weight).all() for weight in flow.get_weights())


@pytest.mark.parametrize(
    ("steps", "conditions"),
    [({}, CONDITION), ({"jit_compile": False, "steps_per_execution": 3}, None)],
    ids=["many_in_one_program", "in_keras_loop"],
)
def test_single_batches_after_fit_are_those_of_a_plain_loop(steps, conditions):
    # `fit` leaves a compiled step of many batches, which is what single ones must agree with.
    flow = tfnvp.RealNVP(
        3, 2, (4,), condition_shape=None if conditions is None else 2, conditioner_dtype="float32"
    )
    flow.compile(keras.optimizers.SGD(0.1), **steps)
    flow.fit(X, conditions, verbose=0)
    weights = np.linspace(0.0, 2.0, 8).astype("float32")
    batch = (X[:8].astype("float32"), None if conditions is None else conditions[:8])

    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(weights * flow.log_prob(*batch))
    expected = [
        (v - 0.1 * g).numpy()
        for v, g in zip(
            flow.trainable_weights, tape.gradient(loss, flow.trainable_weights), strict=True
        )
    ]
    for given in (weights, weights.tolist()):
        found = flow.test_on_batch(tf.constant(batch[0]), batch[1], sample_weight=given)
        np.testing.assert_allclose(found, loss, rtol=1e-5)
    x = batch[0] if conditions is None else {"x": batch[0], "condition": batch[1]}
    np.testing.assert_allclose(flow.predict_on_batch(x), flow.log_prob(*batch), rtol=1e-4)
    found = flow.train_on_batch(batch[0].tolist(), batch[1], sample_weight=tf.constant(weights))
    np.testing.assert_allclose(found, loss, rtol=1e-5)
    for variable, value in zip(flow.trainable_weights, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-6)


def test_training_that_lost_the_inverse_gets_a_warning(recwarn):
    # Only `fit` has validation rows: that it looks at them is what is tested.
    flow = make()
    flow.fit(X, validation_data=X[:8], verbose=0)
    assert not recwarn.list
    forward = flow._forward
    flow._forward = lambda z, condition: [part + 0.1 for part in forward(z, condition)]
    with pytest.warns(UserWarning, match=r"off by up to 0\.1\d* standard deviations"):
        flow.fit(X, validation_split=0.5, verbose=0)
