"""Every rule for data and conditions, and the message of each, on `DataSpec` and NumPy arrays."""

import numpy as np
import pytest
import tensorflow as tf

from tfnvp.inputs import support
from tfnvp.inputs.conditions import ConditionInput, ConditionSpec
from tfnvp.inputs.spec import DataSpec
from tfnvp.inputs.support import DataSide, all_of_row, support_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3)).astype("float32")
CONDITION = RNG.normal(size=(8, 2)).astype("float32")
PIXELS = RNG.integers(0, 256, (8, 2, 2)).astype("uint8")

plain = DataSpec((3,))
conditional = DataSpec((3,), conditions=ConditionSpec.of_shape((2,)))
one_number = DataSpec((3,), conditions=ConditionSpec.of_shape((1,)))
label = ConditionInput("label", (1,), "int32", categories=4)
several = DataSpec((3,), conditions=ConditionSpec((ConditionInput("angle", (2,)), label)))
LABELS = np.arange(8) % 4
image = DataSpec((2, 2), levels=256, whole_numbers=True, support=(-0.05, 1.05))
binary = DataSpec((2, 2), levels=2, whole_numbers=True)


class Table:
    """An array as pandas wraps it."""

    def __init__(self, values, columns=()):
        self._values, self.columns = values, columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __len__(self):
        return len(self._values)


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


DATES = np.datetime64("2026-11-27") + np.arange(24).reshape(8, 3)
MIXED = np.array([["a", 0.5]] * 8, dtype=object)


# What is handed to `check` (before training), and the message that refuses it.
REFUSED = {
    "missing": (plain, (None,), "`x` is missing"),
    "too few columns": (plain, (X[:, :2],), r"`x` must have the shape \[batch, 3\].*\(8, 2\)"),
    "a table of too few columns": (plain, (Table(X[:, :1]),), r"shape \[batch, 3\].*\(8, 1\)"),
    "no rows": (plain, (X[:0],), "`x` must not be empty"),
    "not finite": (plain, (changed(X, (5, 1), np.nan),), r"must be finite.*first is x\[5, 1\]"),
    "infinite": (plain, (changed(X, (2, 0), np.inf),), r"must be finite.*first is x\[2, 0\]: inf"),
    "too large": (plain, (1e30 * X,), r"`x` reaches .*e\+30.*scale it first"),
    "extreme": (plain, (changed(X, (5, 1), 1e8),), r"x\[5, 1\] = 1e\+08, where 98 % of .* spans"),
    "weights": (plain, (X, None, [1.0] * 7 + [np.nan]), "0 or more.* 1 others, the first is nan"),
    "a negative weight": (plain, (X, None, [-1.0] * 8), "`sample_weight` must be .*8 others"),
    "integers": (plain, (np.ones((8, 3), int),), "`x` holds integers.*dequantize"),
    "texts": (plain, (Table(X.astype(str).astype(object)),), "choose the columns.*dtype: object"),
    "a text in a table": (plain, (Table(changed(X.astype(object), (3, 1), "?")),), "get_dummies"),
    "a gap in a named column": (
        plain,
        (Table(changed(X, (3, 1), np.nan), ["a", "b", "c"]),),
        r"first is x\[3, 1\] of column 'b'",
    ),
    "an extreme value in a named column": (
        plain,
        (Table(changed(X, (3, 1), 1e9), ["a", "b", "c"]),),
        r"x\[3, 1\] of column 'b' = 1e\+09, where 98 %",
    ),
    "an overflow in a named column": (
        plain,
        (Table(changed(X, (3, 1), -1e16), ["a", "b", "c"]),),
        r"reaches 1e\+16, whose .* Received: -1e\+16 in x\[3, 1\] of column 'b'",
    ),
    "a gap": (plain, (Table(changed(X.astype(object), (3, 1), None)),), r"first is x\[3, 1\]"),
    "dates": (plain, (DATES,), r"must hold real numbers: leave dates .*datetime64"),
    "uneven lists": (plain, ([[1.0, 2.0, 3.0], [4.0]],), "`x` must be an array of numbers"),
    "a flat variable": (
        plain,
        (1e6 + 1e-3 * X.astype("float64"),),
        r"`x`: variable 0 varies by .*subtract its mean",
    ),
    "a flat column": (
        plain,
        (Table(1e6 + 1e-3 * X.astype("float64"), ["a", "b", "c"]),),
        r"`x`: column 'a' varies by",
    ),
    "unknown keys": (conditional, ({"x": X, "y": CONDITION},), 'keys "x" and "condition"'),
    "two arrays": (conditional, ([X, CONDITION],), r"must be one array.*a dictionary.*list of 2"),
    "two arrays, a tuple": (conditional, ((X, CONDITION),), r"a dictionary.*tuple of 2"),
    "no condition": (conditional, (X,), "^`condition` is missing.*second argument.*`predict`"),
    "given twice": (
        conditional,
        ({"x": X, "condition": CONDITION}, CONDITION),
        "the condition is given twice, in `x` and beside it",
    ),
    "fewer conditions": (conditional, (X, CONDITION[:5]), "5 conditions for 8 rows"),
    "conditions of one column": (
        conditional,
        (X, CONDITION[:, :1]),
        r"`condition` must have the shape \[batch, 2\]",
    ),
    "a condition of numbers": (one_number, (X, CONDITION[:, 0]), r"`condition\[:, None\]`"),
    "labels as texts": (conditional, (X, np.array(["a", "b"] * 4)), "get_dummies"),
    "mixed conditions": (conditional, (X, MIXED), r"`condition` must .*astype\('float32'\)"),
    "conditions that are dates": (conditional, (X, DATES[:, :2]), "`condition` .*dates .*datetime"),
    "a condition that is not finite": (
        conditional,
        (X, changed(CONDITION, (7, 0), np.nan)),
        r"`condition` must be finite.*condition\[7, 0\]",
    ),
    "another name": (
        several,
        (X, {"angle": CONDITION, "kind": LABELS}),
        r"dictionary with the keys 'angle', 'label', or a tuple.*Received: \['angle', 'kind'\]",
    ),
    "one part of two": (several, (X, CONDITION), "a tuple of 2 arrays.*Received: a ndarray"),
    "one part of another shape": (
        several,
        (X, (CONDITION[:, :1], LABELS)),
        r"`condition\['angle'\]` must have the shape \[batch, 2\]",
    ),
    "one part of fewer rows": (several, (X, (CONDITION, LABELS[:5])), "5 conditions for 8 rows"),
    "one part not finite": (
        several,
        (X, (changed(CONDITION, (7, 0), np.inf), LABELS)),
        r"`condition\['angle'\]` must be finite.*\['angle'\]\[7, 0\]: inf",
    ),
    "labels as floats": (
        several,
        (X, (CONDITION, LABELS.astype("float32"))),
        r"`condition\['label'\]` holds labels.*astype\('int32'\)",
    ),
    "a label too many": (several, (X, (CONDITION, LABELS + 1)), "from 0 to 3.*from 1 to 4"),
    "a negative label": (several, (X, (CONDITION, LABELS - 1)), "from 0 to 3.*from -1 to 2"),
    "levels above": (image, (PIXELS.astype(int) + 300,), "grey levels from 0 to .* 255"),
    "levels below": (image, (PIXELS.astype(int) - 300,), "grey levels from 0 to .* 255"),
    "256 levels where two are meant": (binary, (255 * (PIXELS % 2),), "> 127` makes two levels"),
    "levels as floats": (
        image,
        (PIXELS.astype("float32"),),
        r"must hold floats in \[0, 1\].*grey levels go in as whole numbers",
    ),
    "floats below a logit": (image, (PIXELS / 255.0 - 0.5,), r"must hold floats in \[0, 1\]"),
    "columns": (plain, ({"a": X[:, 0], "b": X[:, 1]},), "columns .*numpy.column_stack.* 'a', 'b'"),
    "a mask": (
        plain,
        (np.ma.masked_equal(changed(X, (4, 2), -9), -9),),
        r"x\[4, 2\]: nan",
    ),
    "no weight": (plain, (X, None, np.zeros(8)), "must not be 0 for all rows"),
    "weights of another number": (
        plain,
        (X, None, np.ones(3)),
        r"one weight for each row, of shape \(8,\)",
    ),
    "a weight that is NaN": (plain, (X, None, np.full(8, np.nan)), "finite and 0 or more"),
    "negative weights": (plain, (X, None, np.full(8, -1.0)), "finite and 0 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_training_data_is_refused(case):
    spec, given, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        spec.check(*given, training=True)


def test_another_name_is_in_messages():
    with pytest.raises(ValueError, match="`validation_data` must hold floats"):
        image.named("validation_data").check(PIXELS.astype("float32"), training=True)


ACCEPTED = {
    "an array": (plain, (X,)),
    "a list": (plain, (X.tolist(),)),
    "a table": (plain, (Table(X),)),
    "objects that are numbers": (plain, (Table(X.astype(object)),)),
    "a tensor": (plain, (tf.constant(X),)),
    "conditions": (conditional, (X, CONDITION)),
    "a dictionary": (conditional, ({"x": X, "condition": Table(CONDITION)},)),
    "bools as conditions": (conditional, (X, CONDITION > 0)),
    "weights": (plain, (X, None, np.ones(8))),
    "whole grey levels": (image, (PIXELS,)),
    "two levels": (binary, (PIXELS % 2 == 0,)),
    "floats at the edge of the logit": (image, (np.full((2, 2, 2), 1.05),)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_training_data_is_accepted_as_arrays(case):
    spec, given = ACCEPTED[case]
    x, *_ = spec.check(*given, training=True)
    rows = np.asarray(x["x"] if isinstance(x, dict) else x)
    expected = given[0]["x"] if isinstance(given[0], dict) else given[0]
    np.testing.assert_allclose(rows, np.asarray(expected, rows.dtype), rtol=1e-6)


def test_few_validation_rows_may_be_close_to_each_other():
    close = np.array([[1.0, 2.0, 3.0], [1.0 + 1e-9, 2.0, 3.0]])
    plain.named("validation_data").check(close, training=True)


def test_rows_that_are_scored_need_not_be_finite():
    plain.check(changed(X, (0, 0), np.nan))
    image.check(np.full((1, 2, 2), 7.0))
    with pytest.raises(ValueError, match="grey levels"):
        image.check(PIXELS.astype(int) + 300)


# --- data sets ------------------------------------------------------------------------------------


def test_data_sets_are_checked_by_their_types_and_shapes():
    def dataset(*arrays):
        return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0])

    for spec, data, message in (
        (plain, dataset(X), "`x` must come in batches: `dataset.batch"),
        (plain, dataset(X[:, :2]).batch(4), r"shape \[batch, 3\]"),
        (plain, dataset(X.astype(int)).batch(4), "`x` holds integers"),
        (plain, dataset(X).batch(4).take(0), "`x` must not be empty"),
        (conditional, dataset(X).batch(4), "^`condition` is missing"),
        (plain, dataset(X, X[:, 0]).batch(4), r"second element.*lambda x, weights: \(x, None, w"),
        (
            plain,
            dataset({"a": X[:, 0], "b": X[:, 1]}).batch(4),
            "columns .*column_stack.* 'a', 'b'",
        ),
        (plain, dataset(tf.ragged.constant([[1.0], []])).batch(2), "a ragged tensor"),
    ):
        with pytest.raises(ValueError, match=message):
            spec.check(data, training=True)
    conditional.check(dataset(X, CONDITION).batch(4), training=True)
    conditional.check(dataset({"x": X, "condition": CONDITION}).batch(4), training=True)
    plain.check(dataset(X, X[:, 0]).batch(4).map(lambda x, weights: (x, None, weights)))


@pytest.mark.parametrize("give", [dict, tuple, list])
def test_several_conditions_become_a_dictionary_of_arrays(give):
    parts = {"label": LABELS, "angle": CONDITION}
    given = parts if give is dict else give([CONDITION, LABELS])
    x, found, _ = several.check(X, given, training=True)
    assert set(found) == {"label", "angle"}
    np.testing.assert_array_equal(found["label"], LABELS[:, np.newaxis])
    _, prepared = several.prepare(x, given)
    assert {k: v.dtype.name for k, v in prepared.items()} == {"angle": "float32", "label": "int32"}
    _, one_label = several.prepare(X, (CONDITION, 3))
    np.testing.assert_array_equal(one_label["label"], np.full((8, 1), 3))
    labels = tf.constant(changed(LABELS[:, np.newaxis], 5, 4), "int32")
    bad = {"angle": tf.constant(changed(CONDITION, (2, 0), np.nan)), "label": labels}
    _, masked, usable = several.mask_unusable_rows(tf.constant(X), bad)
    np.testing.assert_array_equal(usable, ~np.isin(np.arange(8), (2, 5)))
    assert masked["label"][5, 0] == 0
    assert np.isfinite(masked["angle"]).all()
    assert "`condition['angle']` must be finite" in several.find_fault(X, bad)


# --- calls of a flow ------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [CONDITION[0], CONDITION[:1]], ids=["vector", "row"])
def test_one_condition_serves_all_rows(one):
    _, condition = conditional.prepare(X, one)
    np.testing.assert_array_equal(condition, np.repeat(CONDITION[:1], 8, axis=0))


CALLS_REFUSED = {
    "a condition is missing": (conditional, (X,), "`condition` is missing"),
    "a condition too many": (plain, (X, CONDITION), "has no condition_shape"),
    "another number": (conditional, (X, CONDITION[:5]), "5 conditions for 8 rows"),
    "a scalar": (one_number, (X, 5.0), r"`\[number\]`"),
    "labels": (conditional, (X[:2], np.array([3, 1])), "2 whole numbers, one for each row"),
    "not finite": (conditional, (X, [np.nan, 1.0]), "`condition` must be finite"),
    "integers": (plain, (np.ones((8, 3), int),), "`x` holds integers"),
    "a column too few": (plain, (X[:, :2],), r"shape \[batch, 3\]"),
}


@pytest.mark.parametrize("case", CALLS_REFUSED)
def test_calls_are_refused(case):
    spec, given, message = CALLS_REFUSED[case]
    with pytest.raises(ValueError, match=message):
        spec.prepare(*given)


def test_calls_give_float32_tensors():
    for x in (X, X.tolist(), Table(X), tf.constant(X, tf.float64), X.astype(object)):
        prepared, none = plain.prepare(x)
        assert prepared.dtype == tf.float32
        assert none is None
        np.testing.assert_allclose(prepared, X, rtol=1e-6)
    _, bools = conditional.prepare(X, CONDITION > 0)
    np.testing.assert_array_equal(bools, (CONDITION > 0).astype("float32"))


def test_whole_grey_levels_get_fresh_noise():
    first, second = (binary.prepare(PIXELS % 2)[0].numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.floor(2 * first), PIXELS % 2)


def test_shapes_unknown_in_a_graph_are_checked_when_it_runs():
    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32)])
    def prepared(x):
        return plain.prepare(x)[0]

    assert prepared(X).shape == (8, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="EnsureShape"):
        prepared(X[:, :2])


def test_batches_of_keras_bring_the_condition_as_targets():
    x, condition = tf.constant(X), tf.constant(CONDITION)
    assert conditional.unpack_batch((x, condition))[0] == {"x": x, "condition": condition}
    assert plain.unpack_batch((x, tf.zeros((8, 0)), tf.ones(8)))[0] is x
    with pytest.raises(ValueError, match="does not use the second element"):
        plain.unpack_batch((x, condition))
    with pytest.raises(ValueError, match="given twice"):
        conditional.unpack_batch(({"x": x}, condition))
    unpacked = conditional.unpack({"x": x, "condition": condition})
    np.testing.assert_array_equal(unpacked[1], CONDITION)


def test_unusable_rows_are_masked():
    x = changed(changed(X, (1, 0), np.nan), (2, 1), 1e16)
    condition = changed(CONDITION, (3, 0), np.inf)
    x, condition, usable = conditional.mask_unusable_rows(tf.constant(x), tf.constant(condition))
    assert usable.numpy().tolist() == [True, False, False, False, True, True, True, True]
    np.testing.assert_array_equal(x[4:], X[4:])
    assert np.isfinite(x).all()
    assert np.isfinite(condition).all()
    pixels, _, usable = image.mask_unusable_rows(tf.constant([[[0.5, -0.1], [1.0, 0.0]]]), None)
    assert not usable[0]
    assert (pixels.numpy() == 0.5).all()


# --- the support ----------------------------------------------------------------------------------


def test_the_bijector_next_to_the_data_decides_the_support():
    import tensorflow_probability as tfp

    from tfnvp.bijectors import Chain, DiagonalScaling, Logit

    invert = tfp.bijectors.Invert
    low, high = support_of(Chain([invert(Logit(0.05)), DiagonalScaling(2)]))
    assert (low, high) == pytest.approx((-0.05 / 0.9, 1 + 0.05 / 0.9))
    assert support_of(invert(Logit(0.0))) == (0.0, 1.0)
    # Here data leave the logit, and latents enter it.
    assert support_of(Chain([Logit(0.05), DiagonalScaling(2)])) is None
    assert support_of(DiagonalScaling(2)) is None


def test_the_inverses_on_the_data_side_decide_the_support():
    import tensorflow_probability as tfp

    from tfnvp.bijectors import Chain, DiagonalScaling, Logit, Squeeze

    tfb, x = tfp.bijectors, np.float32([[0.5, 0.5], [0.0, 1.0], [-1.0, 2.0]])
    pairs = tfb.Blockwise([tfb.Softplus(), tfb.Identity()])
    for bijector, expected in (
        (tfb.Softplus(), [[1, 1], [0, 1], [0, 1]]),
        (Chain([tfb.Shift([0.0, 1.5]), tfb.Exp(), DiagonalScaling(2)]), [[1, 0], [0, 0], [0, 1]]),
        (tfb.Chain([tfb.Shift(tf.Variable(-1.0)), tfb.Exp()]), [[1, 1], [1, 1], [0, 1]]),
        (tfb.Sigmoid(), [[1, 1], [0, 0], [0, 0]]),
        (tfb.Square(), [[1, 1], [0, 1], [0, 1]]),
        (tfb.Invert(tfb.Chain([tfb.Log(), tfb.Shift(1.0)])), [[1, 1], [1, 1], [0, 1]]),
        (tfb.Chain([tfb.Permute([1, 0]), pairs]), [[1], [1], [1]]),
        (tfb.Chain([pairs, tfb.Permute([1, 0])]), [[1], [0], [0]]),
    ):
        side = DataSide(bijector, (2,))
        np.testing.assert_array_equal(side.accepts(tf.constant(x)), expected, bijector.name)
        assert all_of_row(side.accepts(side.inner_point()[tf.newaxis]))
    for bijector in (
        tfb.Shift(1.0),
        tfb.Chain([tfb.Reshape([2]), tfb.Permute([1, 0])]),
        tfb.Invert(Squeeze()),
        # Bijectors after one that is learned say nothing about data.
        Chain([DiagonalScaling(2), tfb.Exp()]),
    ):
        assert not DataSide(bijector, (2,))
    assert DataSide(tfb.Invert(Logit()), (2,))


def test_the_first_value_outside_of_the_support_is_named(monkeypatch):
    import tensorflow_probability as tfp

    rows = np.full((8, 3), 0.2, "float32")
    rows[:, 0] = np.linspace(1, 2, 8)
    rows[6, 1] = rows[7, 0] = 0.0
    monkeypatch.setattr(support, "_CHUNK_ELEMENTS", 6)  # Two rows at a time.
    positive = DataSpec((3,), data_side=DataSide(tfp.bijectors.Softplus(), (3,)))
    for call in (positive.find_fault, positive.find_unsupported):
        assert "inverse of softplus is finite. Received: 0.0 in x[6, 1]" in call(rows)
    with pytest.warns(
        UserWarning,
        match=r"variable 1 must .* 0.0 in x\[6, 1\].*log-density .* -inf, .*latents are NaN",
    ):
        positive.advise_on_rows(rows)
    _, _, usable = positive.mask_unusable_rows(tf.constant(rows), None)
    assert usable.numpy().tolist() == [True] * 6 + [False] * 2
    # Logarithms of huge numbers are moderate.
    assert positive.find_fault(np.where(rows > 0, rows, 1e9)) is None


# --- advice ---------------------------------------------------------------------------------------


def test_training_rows_without_a_density_get_a_warning():
    rows = np.column_stack([X[:, 0], np.ones(8), X[:, 0]])
    with pytest.warns(UserWarning, match="density") as caught:
        plain.advise_on_training_rows(rows)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert texts[0].startswith("constant columns: 'x[:, 1]'")
    assert texts[1].startswith("column 'x[:, 2]' repeats 'x[:, 0]'")
    with pytest.warns(UserWarning, match="constant columns: 'weight'"):
        plain.advise_on_training_rows(rows[:, :2], ["height", "weight"])


def test_images_are_looked_at_as_columns():
    levels = RNG.integers(0, 256, (16, 4, 4, 1)).astype("float32")
    spec = DataSpec((4, 4, 1))
    with pytest.warns(UserWarning, match=r"only whole numbers in 'x\[:, 0, 0, 0\]'.* and 8 more"):
        spec.advise_on_training_rows(levels)
    with pytest.warns(UserWarning, match="only multiples of 1/255.*dequantize"):
        spec.advise_on_training_rows(levels / 255)
    noisy = levels + RNG.uniform(size=levels.shape)
    noisy[:, 0, 1] = 0.5
    with pytest.warns(UserWarning, match=r"constant columns: 'x\[:, 0, 1, 0\]'"):
        spec.advise_on_training_rows(noisy)


def test_columns_of_mostly_one_value_get_a_warning(recwarn):
    rows = RNG.normal(size=(500, 3))
    rows[:240, 0] = 0.0
    DataSpec((3,)).advise_on_training_rows(rows)
    assert not recwarn.list
    rows[:300, 1] = 0.0
    with pytest.warns(UserWarning, match=r"more than half .* the same in 'x\[:, 1\]': .*density"):
        DataSpec((3,)).advise_on_training_rows(rows)


def test_a_column_that_is_constant_in_a_sample_alone_is_not_constant(recwarn):
    rows = RNG.normal(size=(5000, 2))
    rows[::2, 1] = 0.5  # All that the sample sees.
    DataSpec((2,)).advise_on_training_rows(rows)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("spec", "x", "message"),
    [
        (image, (PIXELS / 255).astype("float32"), "only multiples of 1/255.*dequantize"),
        (image, (PIXELS / 256).astype("float32"), "only multiples of 1/256"),
        (binary, (PIXELS % 2).astype("float32"), "`x` holds only 0 and 1"),
        (binary, 255 * (PIXELS % 2).astype("float32"), "`x` holds only whole numbers"),
    ],
)
def test_grey_levels_without_noise_get_a_warning(spec, x, message):
    for advise in (spec.advise_on_training_rows, spec.advise_on_rows):
        with pytest.warns(UserWarning, match=message):
            advise(x)


def test_images_of_two_values_need_two_levels(recwarn):
    binary.advise_on_training_rows(PIXELS % 2)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="levels=2"):
        image.advise_on_training_rows(PIXELS % 2)


def test_scored_rows_outside_of_the_support_get_a_warning(recwarn):
    for fine in (np.full((2, 2, 2), 0.5), np.full((2, 2, 2), np.nan), PIXELS):
        image.advise_on_rows(fine)
    plain.advise_on_rows(1e30 * X)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"values from 0\.5 to 7\. .*log-density .* NaN"):
        image.advise_on_rows(np.array([[[0.5, np.nan], [0.6, 7.0]]]))
