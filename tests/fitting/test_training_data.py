"""What users hand to `fit`, `evaluate` and `predict` by mistake, and tables that are no arrays."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.bijectors import DiagonalScaling, Logit

X = np.random.default_rng(0).normal(size=(64, 3))
CONDITION = X[:, :2].copy()


class Table:
    """An array as pandas wraps it."""

    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __len__(self):
        return len(self._values)


def make(**kwargs):
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), **kwargs)
    flow.compile("adam", jit_compile=False)
    return flow


@pytest.fixture(scope="module")
def flow():
    """A flow all of whose functions are traced: shapes are known to their runtime alone."""
    flow = make()
    flow.fit(X, verbose=0)
    for rows in (64, 32):
        flow.evaluate(X[:rows], verbose=0)
        flow.predict(X[:rows], verbose=0)
    return flow


@pytest.fixture(scope="module")
def conditional():
    flow = make(condition_shape=2)
    flow.fit(X, CONDITION, verbose=0)
    return flow


@pytest.fixture(scope="module")
def not_standardizing():
    return make(condition_shape=2, standardize_condition=False)


@pytest.mark.parametrize("wrap", [np.asarray, Table], ids=["array", "table"])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("columns", [1, 2])
def test_too_few_columns_are_refused_after_training(flow, method, columns, wrap):
    with pytest.raises(ValueError, match=rf"`x` must have the shape \[batch, 3\].*{columns}"):
        getattr(flow, method)(wrap(X[:, :columns]), verbose=0)


def test_too_few_columns_of_a_data_set_without_shape_are_refused(flow):
    batches = tf.data.Dataset.from_generator(lambda: iter([X[:, :1]]), output_types=tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="EnsureShape"):
        flow.fit(batches, verbose=0)


@pytest.mark.parametrize("condition", [CONDITION[:, :1], CONDITION[:, 0]])
def test_conditions_of_another_shape_are_refused_after_training(conditional, condition):
    with pytest.raises(ValueError, match=r"`condition` must have the shape \[batch, 2\]"):
        conditional.fit(X, condition, verbose=0)


def test_tables_are_arrays():
    flow, other = make(condition_shape=2), make(condition_shape=2)
    other.set_weights(flow.get_weights())
    x, condition = Table(X), Table(CONDITION)
    flow.fit(x, condition, validation_data=(x, condition), shuffle=False, verbose=0)
    other.fit(X, CONDITION, validation_data=(X, CONDITION), shuffle=False, verbose=0)
    got = flow.predict({"x": x, "condition": condition}, verbose=0)
    expected = other.predict({"x": X, "condition": CONDITION}, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    losses = flow.evaluate(x, condition, verbose=0), other.evaluate(X, CONDITION, verbose=0)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_tables_are_checked_before_anything_changes(flow):
    before = flow.get_weights()
    broken = X.copy()
    broken[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"must be finite.*first is x\[5, 1\]"):
        flow.fit(Table(broken), verbose=0)
    with pytest.raises(ValueError, match=r"choose the columns that do.*dtype: object"):
        flow.fit(Table(X.astype(str).astype(object)), verbose=0)
    for now, then in zip(flow.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("both", [(X, CONDITION), [X, CONDITION]], ids=["tuple", "list"])
def test_data_and_condition_for_predictions_are_a_dictionary(conditional, both):
    with pytest.raises(ValueError, match="a dictionary"):
        conditional.predict(both, verbose=0)


def test_conditions_that_are_not_finite_are_not_hidden_by_the_network(conditional):
    broken = CONDITION.copy()
    broken[7, 0] = np.nan
    for call in (
        lambda: conditional.log_prob(X, broken),
        lambda: conditional.sample(2, condition=[np.nan, 1.0]),
    ):
        with pytest.raises(ValueError, match="`condition` must be finite"):
            call()
    assert np.isnan(conditional.evaluate(X, broken, verbose=0))
    batches = tf.data.Dataset.from_tensor_slices((X, broken)).batch(32)
    with pytest.raises(ValueError, match=r"data is not finite, first in batch 1.*row 8"):
        conditional.fit(batches, verbose=0)


def test_another_number_of_conditions_in_training_is_refused(conditional):
    with pytest.raises(ValueError, match="40 conditions for 64 rows"):
        conditional.fit(X, CONDITION[:40], verbose=0)


def test_another_number_of_conditions_is_refused(conditional):
    with pytest.raises(ValueError, match=r"one row for each of the 2 samples.*3 conditions"):
        conditional.sample(2, condition=CONDITION[:3])


def test_arguments_of_classifiers_are_refused(flow):
    with pytest.raises(ValueError, match="call `compile` before `fit`"):
        tfnvp.RealNVP(3, couplings=2).fit(X)
    with pytest.raises(ValueError, match=r"metrics by name compare.*'mae'"):
        make().compile("adam", metrics=["mae"])
    with pytest.raises(ValueError, match="`sample_weight` instead"):
        flow.fit(X, class_weight={0: 1.0})
    for call in (flow.fit, flow.evaluate):
        with pytest.raises(ValueError, match=r"one weight for each row, of shape \(64,\)"):
            call(X, sample_weight=np.ones(3), verbose=0)


def test_what_is_missing_or_not_finite_is_named(flow):
    for call in (lambda: flow.fit(epochs=1), flow.evaluate):
        with pytest.raises(ValueError, match="`x` is missing"):
            call()
    before = flow.get_weights()
    for weight in (np.nan, -1.0):
        with pytest.raises(ValueError, match="`sample_weight` must be finite and 0 or more"):
            flow.fit(X, sample_weight=np.full(64, weight), verbose=0)
    for old, new in zip(before, flow.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_lists_of_numbers_are_arrays(flow):
    expected = flow.predict(X, verbose=0)
    np.testing.assert_array_equal(flow.predict(X.tolist(), verbose=0), expected)
    loss = flow.evaluate(X.tolist(), verbose=0)
    np.testing.assert_allclose(loss, -expected.mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="`x` must be an array of numbers"):
        flow.fit([[1.0, 2.0, 3.0], [4.0]], verbose=0)


def test_files_of_another_format_are_refused(flow, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.keras\. Received: .*f\.h5"):
        flow.save(tmp_path / "f.h5")


def test_levels_and_floats_out_of_range_are_refused_before_a_step():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1)
    flow.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1))
    before = flow.get_weights()
    for wrong in (images + 300, images - 300):
        for method in (flow.fit, flow.evaluate, flow.predict):
            with pytest.raises(ValueError, match=r"must hold grey levels from 0 to .* 255"):
                method(wrong, verbose=0)
    for wrong in (images.astype("float32"), images / 255.0 - 0.5):
        with pytest.raises(ValueError, match=r"must hold floats in \[0, 1\].*or grey levels"):
            flow.fit(wrong, verbose=0)
    with pytest.raises(ValueError, match="`validation_data` must hold floats"):
        flow.fit(images, validation_data=images.astype("float32"), verbose=0)
    np.testing.assert_equal(flow.get_weights(), before)
    # Samples may lie as far outside as the logit reaches.
    flow.fit(np.full((2, 4, 4, 1), 1.05), epochs=1, verbose=0)


@pytest.mark.parametrize("steps", [255, 256])
def test_floats_that_are_grey_levels_get_a_warning(steps):
    flow = tfnvp.NICE(2, couplings=2, hidden_units=(8,), levels=256)
    flow.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (8, 2))
    with pytest.warns(UserWarning, match=f"multiples of 1/{steps} alone.*dequantize"):
        flow.fit((images / steps).astype("float32"), verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.fit(tfnvp.data.dequantize(images), verbose=0)


@pytest.mark.parametrize("x", [X, tf.data.Dataset.from_tensor_slices(X).batch(32)], ids=type)
def test_a_missing_condition_is_named_at_once(conditional, x):
    for method in (conditional.fit, conditional.evaluate, conditional.predict):
        with pytest.raises(
            ValueError, match=r"^`condition` is missing.*second argument.*`predict`"
        ):
            method(x, verbose=0)


def test_conditions_may_be_bools(conditional):
    bools = CONDITION > 0
    numbers = bools.astype("float32")
    expected = conditional.log_prob(X, numbers)
    np.testing.assert_array_equal(conditional.log_prob(X, bools), expected)
    losses = [conditional.evaluate(X, c, verbose=0) for c in (bools, numbers)]
    assert losses[0] == losses[1]
    conditional.fit(X, bools, verbose=0)


def test_a_column_of_numbers_as_condition_is_told_its_shape():
    with pytest.raises(ValueError, match=r"`condition\[:, None\]`"):
        make(condition_shape=1).fit(X, CONDITION[:, 0], verbose=0)


def test_mixed_tables_as_conditions_are_told_to_convert(conditional):
    mixed = np.array([["a", 0.5]] * 64, dtype=object)
    for call in (lambda: conditional.fit(X, mixed), lambda: conditional.log_prob(X, mixed)):
        with pytest.raises(ValueError, match=r"`condition` must .*astype\('float32'\)"):
            call()
    with pytest.raises(ValueError, match=r"`\[number\]`"):
        make(condition_shape=1).sample(4, condition=5.0)


def test_floats_beyond_a_logit_in_data_sets_are_named():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1)
    flow.compile("adam")
    levels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("float32")
    with pytest.raises(ValueError, match=r"`x` must hold floats in \[0, 1\].*or grey levels"):
        flow.fit(tf.data.Dataset.from_tensor_slices(levels).batch(4), verbose=0)


def test_images_of_any_shape_are_looked_at():
    flow = tfnvp.RealNVP((4, 4, 1), couplings=2, hidden_units=(8,))
    flow.compile("adam", jit_compile=False)
    levels = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1)).astype("float32")
    with pytest.warns(UserWarning, match=r"whole numbers alone in 'x\[:, 0, 0, 0\]'.* and 8 more"):
        flow.fit(levels, verbose=0)
    with pytest.warns(UserWarning, match="multiples of 1/255 alone.*dequantize"):
        flow.fit(levels / 255, verbose=0)
    noisy = levels + np.random.default_rng(1).uniform(size=levels.shape)
    noisy[:, 0, 1] = 0.5
    with pytest.warns(UserWarning, match=r"constant columns: 'x\[:, 0, 1, 0\]'"):
        flow.fit(noisy, verbose=0)


def test_floats_beyond_a_logit_are_warned_of_where_they_are_scored():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1)
    flow.compile("adam")
    x = np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype("float32")
    x[1, 0, 0, 0] = 7.0
    for method in (flow.log_prob, flow.encode, flow.predict, flow.evaluate):
        with pytest.warns(UserWarning, match=r"values from 0.* to 7: the flow has a logit.*NaN"):
            method(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(flow.log_prob(np.full_like(x, np.nan))).all()
        flow.log_prob(x[:1])


def test_numbers_whose_squares_overflow_are_named():
    flow = make()
    with pytest.raises(ValueError, match=r"The data reaches .*e\+30.*scale it first"):
        flow.fit(1e30 * X.astype("float32"), verbose=0)


def test_labels_that_are_texts_are_refused_with_advice(conditional):
    with pytest.raises(ValueError, match="get_dummies"):
        conditional.fit(X, np.array(["a", "b"] * 32), verbose=0)


def test_grey_levels_are_checked_with_one_noise():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1)
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1)).astype("uint8")
    assert flow.check(images).round_trip_max < 1e-4


def test_conditions_far_from_one_get_a_warning(not_standardizing):
    far = CONDITION * [1.0, 1000.0]
    for given in ((X, far), ({"x": X, "condition": far},)):
        with pytest.warns(UserWarning, match="variable 1 has the mean"):
            not_standardizing.fit(*given, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        not_standardizing.fit(X, 5 * CONDITION + 5, verbose=0)


def test_conditions_that_were_not_standardised_get_a_warning_everywhere(not_standardizing):
    conditional = not_standardizing
    raw = CONDITION * [1.0, 18.0] + [0.0, 49.0]  # Ages.
    uses = (
        lambda: conditional.log_prob(X, raw),
        lambda: conditional.sample(3, seed=0, condition=[0.0, 49.0]),
        lambda: conditional.evaluate(X, raw, verbose=0),
        lambda: conditional.fit(X, CONDITION, validation_data=(X, raw), verbose=0),
    )
    for use in uses:
        with pytest.warns(UserWarning, match="`condition` holds values far from 1"):
            use()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditional.log_prob(X[:1], [[5.0, -30.0]])
        conditional.log_prob(X[:4], CONDITION[:4] * 10)
        # One condition is one, for however many rows.
        conditional.sample(500, seed=0, condition=[0.0, 20.0])
        conditional.log_prob(X, [0.0, 20.0])


def test_whole_numbers_as_conditions_get_a_warning():
    codes = np.arange(64)[:, None] % 3
    flow = make(condition_shape=1)
    with pytest.warns(UserWarning, match="one-hot"):
        flow.fit(X, codes, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.fit(X, codes.astype("float32"), verbose=0)
        flow.fit(X, codes % 2, verbose=0)


def test_one_condition_for_all_may_be_a_row(conditional):
    one = CONDITION[0]
    expected = conditional.sample(5, seed=0, condition=one)
    np.testing.assert_array_equal(conditional.sample(5, seed=0, condition=one[None]), expected)
    np.testing.assert_array_equal(conditional.log_prob(X, one[None]), conditional.log_prob(X, one))


def test_lists_of_validation_data_are_as_tuples(conditional):
    logs = [
        conditional.fit(X, CONDITION, validation_data=kind((X, CONDITION)), verbose=0)
        for kind in (tuple, list)
    ]
    assert all("val_loss" in log.history for log in logs)


def test_numbers_in_tables_that_can_have_gaps(conditional):
    objects = Table(X.astype(object))
    np.testing.assert_array_equal(
        conditional.evaluate(objects, CONDITION, verbose=0),
        conditional.evaluate(X, CONDITION, verbose=0),
    )
    np.testing.assert_array_equal(
        conditional.log_prob(objects, CONDITION.astype(object)), conditional.log_prob(X, CONDITION)
    )
    gap = X.astype(object)
    gap[3, 1] = None
    with pytest.raises(ValueError, match=r"must be finite.*first is x\[3, 1\]"):
        conditional.fit(Table(gap), CONDITION, verbose=0)
    gap[3, 1] = "?"
    with pytest.raises(ValueError, match="get_dummies"):
        conditional.fit(Table(gap), CONDITION, verbose=0)


@pytest.fixture(scope="module")
def binary():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=2)
    flow.compile("adam", jit_compile=False)
    return flow


def test_bools_are_two_levels(binary):
    images = np.random.default_rng(0).uniform(size=(8, 4, 4, 1)) < 0.5
    binary.fit(images, verbose=0)
    assert np.isfinite(binary.evaluate(images, verbose=0)).all()
    # Uniform noise within each of the two values: not the values themselves.
    assert binary.encode(images).shape == images.shape
    assert not np.array_equal(binary.encode(images), binary.encode(images))
    far = 255 * images.astype("uint8")
    with pytest.raises(ValueError, match="> 127` makes two levels"):
        binary.fit(far, verbose=0)
    with pytest.raises(ValueError, match="> 127` makes two levels"):
        tfnvp.data.training_dataset(far, 2, batch_size=4)
    # Where nobody can look beforehand, they are NaN: never a number.
    batches = tf.data.Dataset.from_tensor_slices(far).batch(4)
    assert np.isnan(binary.evaluate(batches, verbose=0)[0])
    assert np.isnan(binary.predict(batches, verbose=0)).any()
    assert np.isnan(binary.log_prob(tf.constant(far))).any()
    fresh = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=2)
    fresh.compile("adam", jit_compile=False)
    with pytest.raises(ValueError, match="> 127` makes two levels"):
        fresh.fit(tf.data.Dataset.from_tensor_slices(far).batch(4), verbose=0)


def test_grey_levels_out_of_range_in_a_later_training_are_named():
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=2)
    flow.compile("adam", jit_compile=False)
    images = np.random.default_rng(0).integers(0, 2, (8, 4, 4, 1)).astype("uint8")
    flow.fit(images, verbose=0)
    far = tf.data.Dataset.from_tensor_slices(255 * images).batch(4)
    with pytest.raises(ValueError, match=r"Grey levels go from 0 to 1; batch 1 .* from 0 to 255"):
        flow.fit(far, verbose=0)


def test_grey_levels_without_noise_get_a_warning_where_they_are_scored(binary):
    images = np.random.default_rng(0).integers(0, 2, (8, 4, 4, 1)).astype("float32")
    for use in (binary.log_prob, binary.encode, lambda x: binary.evaluate(x, verbose=0)):
        with pytest.warns(UserWarning, match="0 and 1 alone"):
            use(images)
    grey = images.astype("uint8")
    with pytest.warns(UserWarning, match="`validation_data` holds 0 and 1 alone"):
        binary.fit(grey, validation_data=images, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        binary.log_prob(tfnvp.data.dequantize(images.astype("uint8"), 2))
        binary.log_prob(np.full((2, 4, 4, 1), 0.5, "float32"))


@pytest.mark.parametrize("levels", [2, 256])
def test_images_of_two_values_need_two_levels(levels):
    flow = tfnvp.ImageRealNVP((4, 4, 1), scales=1, base_filters=2, residual_blocks=1, levels=levels)
    flow.compile("adam", jit_compile=False)
    images = np.random.default_rng(0).integers(0, 2, (8, 4, 4, 1)).astype("uint8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow.fit(images, verbose=0)
    assert [("levels=2" in str(w.message)) for w in caught] == [True] * (levels > 2)


def test_a_logit_that_data_leaves_takes_all_numbers():
    flow = tfnvp.Flow(tfnvp.bijectors.Chain([Logit(0.05), DiagonalScaling(2)]), 2)
    flow.compile("adam")
    flow.fit(np.random.default_rng(0).normal(size=(8, 2)), verbose=0)


def test_a_data_set_without_batches_is_told(flow):
    with pytest.raises(ValueError, match=r"`x` must come in batches: `dataset.batch"):
        flow.fit(tf.data.Dataset.from_tensor_slices(X), verbose=0)


def test_a_condition_that_is_given_twice_is_told(conditional):
    with pytest.raises(ValueError, match="the condition is given twice, in `x` and beside it"):
        conditional.fit({"x": X, "condition": CONDITION}, CONDITION, verbose=0)


def test_data_and_condition_in_a_list_are_told(conditional):
    with pytest.raises(ValueError, match=r"`x` must be one array; with conditions, a dictionary"):
        conditional([X, CONDITION])


def test_dates_are_told_to_become_numbers(conditional):
    days = np.datetime64("2026-11-27") + np.arange(128).reshape(64, 2)
    for use in (
        lambda: conditional.fit(X, days, verbose=0),
        lambda: conditional.log_prob(X, days),
        lambda: conditional.log_prob(days, CONDITION),
    ):
        with pytest.raises(ValueError, match=r"must hold real numbers: dates .*datetime64"):
            use()


def test_impossible_bits_per_dimension_are_told():
    # Less than the noise of one level.
    data = tf.data.Dataset.from_tensor_slices((0.5 + 1e-5 * X).astype("float32")).batch(64)
    flow = make(levels=256)
    flow.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    with pytest.warns(UserWarning, match="bits_per_dim = -.* is impossible"):
        flow.fit(data, verbose=0)
    with pytest.warns(UserWarning, match="bits_per_dim = -.* is impossible"):
        flow.evaluate(data, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.evaluate(tf.data.Dataset.from_tensor_slices(X.astype("float32")).batch(64), verbose=0)


def test_levels_without_noise_are_told_in_data_sets():
    bits = np.random.default_rng(0).integers(0, 2, (64, 3)).astype("float32")
    for factor, called in ((1, "0 and 1 alone"), (255, "whole numbers alone")):
        data = tf.data.Dataset.from_tensor_slices(factor * bits).batch(64)
        with pytest.warns(UserWarning, match=f"`x` holds {called}"):
            make(levels=2).fit(data, verbose=0)
    noisy = tfnvp.data.dequantize(bits.astype("uint8"), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(levels=2).fit(tf.data.Dataset.from_tensor_slices(noisy).batch(64), verbose=0)
