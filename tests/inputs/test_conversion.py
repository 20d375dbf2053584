"""What users hand in, kind by kind: an array, or a message that names the kind."""

import array
import datetime
import decimal
import re

import keras
import numpy as np
import pyarrow
import pytest
import scipy.sparse
import tensorflow as tf

from tfnvp.inputs.conditions import ConditionSpec
from tfnvp.inputs.conversion import KINDS, is_stream, kind_of, to_array, to_numbers
from tfnvp.inputs.spec import DataSpec

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
MASKED = np.ma.masked_array(X, mask=X > 1.0)
RECORDS = np.zeros(8, dtype=[("a", "f4"), ("b", "f4")])
DATASET = tf.data.Dataset.from_tensors(X)


def objects(convert):
    return np.array([[convert(float(v)) for v in row] for row in X], dtype=object)


class Series:
    """A column of pandas."""

    dtypes = dtype = X.dtype

    def __array__(self, dtype=None, copy=None):
        return X[:, 0]


CONVERTED = {
    "a series": Series(),
    "a masked array": MASKED,
    "a masked array of whole numbers": np.ma.masked_equal(np.arange(24).reshape(8, 3), 5),
    "a masked array without masked values": np.ma.masked_array(X),
    "a variable": tf.Variable(X),
    "a variable of Keras": keras.Variable(X),
    "an array of long doubles": X.astype(np.longdouble),
    "an array of another byte order": X.astype(">f4"),
    "an array of small floats": X.astype("float16"),
    "bfloat16": np.asarray(tf.cast(X, tf.bfloat16)),
    "decimal numbers": objects(decimal.Decimal),
    "objects": objects(float),
    "a list": X.tolist(),
    "a list with a gap": [[1.0, None, 2.0]],
    "a list of rows": list(X),
    "tuples": tuple(map(tuple, X.tolist())),
    "an array of Python": array.array("d", [1.0, 2.0]),
    "a range": range(3),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_it_becomes_an_array(name):
    given = CONVERTED[name]
    found = to_array(given)
    assert type(found) is np.ndarray or tf.is_tensor(found)
    found = np.asarray(found)
    assert kind_of(found) is None
    if isinstance(given, np.ma.MaskedArray):
        np.testing.assert_array_equal(np.isnan(found), np.ma.getmaskarray(given))
        given = given.astype("float64").filled(np.nan)
    expected = [[1.0, np.nan, 2.0]] if name == "a list with a gap" else np.array(given)
    np.testing.assert_allclose(found.astype("float64"), np.asarray(expected, "float64"))


def test_masked_whole_numbers_can_stay_whole():
    name = "a masked array of whole numbers"
    assert to_numbers(CONVERTED[name]) is CONVERTED[name]
    np.testing.assert_array_equal(to_numbers(MASKED), to_array(MASKED))
    spec = DataSpec((3,), levels=32, whole_numbers=True)
    given = np.asarray(spec.to_floats(CONVERTED[name], seed=(0, 0)))
    expected = np.array(spec.to_floats(np.arange(24).reshape(8, 3), seed=(0, 0)))
    expected[1, 2] = np.nan
    np.testing.assert_array_equal(given, expected)


class LazyFrame:
    """A table of polars that is not computed yet."""


REFUSED = {
    "a lazy table": (LazyFrame(), r"x\.collect\(\)"),
    "a structured array": (RECORDS, "structured_to_unstructured"),
    "a sparse tensor": (tf.sparse.from_dense(X), "tf.sparse.to_dense"),
    "a sparse array": (scipy.sparse.csr_array(X), r"x\.toarray\(\)"),
    "a ragged tensor": (tf.ragged.constant([[1.0], [1.0, 2.0]]), r"x\.to_tensor\(\)"),
    "a dictionary": ({"a": X[:, 0], "b": X[:, 1]}, "column_stack"),
    "a text or path": ("table.csv", "load_table"),
    "a set": ({1.0, 2.0}, "no order"),
    "a stream of batches": (DATASET, "one stream"),
    "an iterator": (iter([X]), "numpy.stack"),
    "a function": (lambda: X, "call it first"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_its_name(name):
    given, cure = REFUSED[name]
    with pytest.raises(ValueError, match=f"`rows` must be an array of .*{cure}.* {name} of type"):
        to_array(given, "rows")


def test_every_kind_has_a_row_here():
    names = {kind.name for kind in KINDS}
    assert names <= {*CONVERTED, *REFUSED}
    assert {kind.name for kind in KINDS if kind.convert is None} == set(REFUSED)


def test_streams_are_those_of_keras():
    assert is_stream(DATASET)
    assert is_stream(row for row in X)
    for other in (X, X.tolist(), tf.constant(X), None, iter([X])):
        assert not is_stream(other)


def test_data_conditions_and_weights_go_through_the_table():
    spec = DataSpec((3,), conditions=ConditionSpec.of_shape((3,)))
    weights = [decimal.Decimal(1)] * 8
    x, condition, found = spec.check(tf.Variable(X), X.astype(">f8"), weights, training=True)
    assert {type(part) for part in (x, condition, found)} == {np.ndarray}
    np.testing.assert_array_equal(found, 1.0)
    for name, given in (
        ("x", (MASKED, X)),
        ("condition", (X, MASKED)),
        ("condition", (X, scipy.sparse.csr_array(X))),
        ("condition", (X, DATASET)),
        ("sample_weight", (X, X, MASKED[:, 0])),
        ("sample_weight", (X, X, (1.0 for _ in X))),
        ("sample_weight", (X, X, ["a"] * 8)),
    ):
        with pytest.raises(ValueError, match=f"^`{name}`"):
            spec.check(*given, training=True)
    prepared, condition = spec.prepare(MASKED, X)
    np.testing.assert_array_equal(np.isnan(prepared), MASKED.mask)


NOT_NUMBERS = {
    "texts": (["x"] * 3, "get_dummies.*string, such as 'x' in x[0, 1]"),
    "texts of numbers": (["1", "2", "3"], "get_dummies.*string, such as '1' in x[0, 1]"),
    "a text among gaps": ([None, None, "x"], "get_dummies.*string, such as 'x' in x[2, 1]"),
    "categories": (pyarrow.array(["u", "u", "v"]).dictionary_encode(), "such as 'u' in x[0, 1]"),
    "dates": ([datetime.date(2020, 1, 5)] * 3, "make them days.*date32[day], such as '2020-01-05'"),
    "durations": ([datetime.timedelta(1)] * 3, "make them days.*duration[us], such as "),
    "fields": ([{"u": 1.0}] * 3, "struct<u: double>, such as "),
    "lists": ([[1.0]] * 3, "list<item: double>, such as "),
}


@pytest.mark.parametrize("name", NOT_NUMBERS)
def test_the_column_of_a_table_without_numbers_is_named(name):
    values, message = NOT_NUMBERS[name]
    table = pyarrow.table({"height": [1.0, 2.0, 3.0], "b": values})
    start, end = (re.escape(part) for part in (*message.partition(".*")[::2],))
    with pytest.raises(ValueError, match=f"^`x` must hold real numbers.*{start}.*{end}") as caught:
        to_array(table)
    assert "column 'b' with values of type " in str(caught.value)


def test_dates_of_polars_do_not_become_microseconds():
    class Date:
        def is_temporal(self):
            return True

    class Polars:
        columns, dtypes = ("a", "day"), (float, Date())

        def __array__(self, dtype=None, copy=None):
            return np.zeros((3, 2))

        def iter_columns(self):
            return [np.ones(3), np.array(["2020-01-05"] * 3, "M8[us]")]

    with pytest.raises(ValueError, match=r"make them days .*: column 'day' with .*'2020-01-05T00"):
        to_array(Polars())


def test_numbers_of_tables_are_right_whatever_their_type():
    columns = {
        "whole": pyarrow.array([1, None, 3]),
        "truth": pyarrow.array([True, None, False]),
        "decimal": pyarrow.array([decimal.Decimal("1.5"), None, decimal.Decimal(2)]),
        "half": pyarrow.array(np.float16([1, 2, 3])),
        "same": pyarrow.array([1.0, 2.0, 3.0]),
    }
    table = pyarrow.table(list(columns.values()), names=["same", *list(columns)[1:]])
    expected = [[1, 1, 1.5, 1, 1], [np.nan, np.nan, np.nan, 2, 2], [3, 0, 2, 3, 3]]
    for given in (table, pyarrow.concat_tables([table[:1], table[1:]]), *table.to_batches()):
        np.testing.assert_array_equal(to_array(given), expected)


def test_tables_of_pandas_and_polars_are_arrays():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    for table in (pandas.DataFrame(X), polars.DataFrame(X)):
        np.testing.assert_array_equal(to_array(table), X)
    for column in (pandas.Series(X[:, 0], index=range(8, 16)), polars.Series(X[:, 0])):
        _, _, weights = DataSpec((3,)).check(X, None, abs(column))
        np.testing.assert_array_equal(weights, np.abs(X[:, 0]))


def test_batches_of_streams_go_through_the_table():
    class Batches(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, index):
            return MASKED, None, X.astype(">f4")[:, 0]

    for stream in (Batches(), ((MASKED, None, X.astype(">f4")[:, 0]) for _ in range(1))):
        found, _, _ = DataSpec((3,)).check(stream)
        x, condition, weights = found[0] if isinstance(found, Batches.__base__) else next(found)
        np.testing.assert_array_equal(np.isnan(x), MASKED.mask)
        assert condition is None
        assert weights.dtype.isnative
