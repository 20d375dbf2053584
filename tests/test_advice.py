"""Columns that a density cannot be learned of: said, refused, and never silently flattened."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

import tfnvp
from tfnvp import data
from tfnvp.advice import warn_of_columns

NORMAL = np.random.default_rng(0).normal(size=(64, 3))


def write(path, **columns):
    pyarrow.csv.write_csv(pa.table(columns), path)
    return path


@pytest.mark.parametrize("offset", [1e6, -1e6, 3e30])
def test_a_column_that_float32_flattens_is_refused(tmp_path, offset):
    size = 1e-3 if abs(offset) < 1e9 else 1e20
    flat = offset + size * NORMAL[:, 2]
    file = write(tmp_path / "table.csv", a=NORMAL[:, 0], b=NORMAL[:, 1], flat=flat)
    with pytest.raises(ValueError, match=r"table.csv: column 'flat' varies by .*float32"):
        data.load_table(file)
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.compile()
    rows = np.column_stack([NORMAL[:, :2], flat])
    with pytest.raises(ValueError, match=r"`x`: variable 2 varies by .* subtract its mean"):
        flow.fit(rows, verbose=0)


def test_a_column_beyond_float32_is_refused(tmp_path):
    file = write(tmp_path / "table.csv", a=NORMAL[:, 0], far=1e39 * NORMAL[:, 1])
    with pytest.raises(ValueError, match=r"column 'far' reaches .*e\+39, beyond float32"):
        data.load_table(file)


# What float32 rounds away is told by many rows: two may be close to each other.
def test_few_rows_beside_the_training_rows_may_be_close(tmp_path):
    close = np.array([[1.0, 2.0, 3.0], [1.0 + 1e-9, 2.0, 3.0]])
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.compile(jit_compile=False)
    flow.fit(NORMAL, validation_data=close, verbose=0)
    np.savez(tmp_path / "t.npz", train=NORMAL, validation=close, test=close)
    np.testing.assert_array_equal(data.load_table(tmp_path / "t.npz").test, close.astype("float32"))


def test_large_and_far_columns_that_float32_holds_are_taken(tmp_path):
    seconds = 1.7e9 + 1e6 * NORMAL[:, 0]
    file = write(tmp_path / "t.csv", seconds=seconds, large=1e30 * NORMAL[:, 1], c=NORMAL[:, 2])
    splits = data.load_table(file)
    assert splits.train.dtype == np.float32
    assert len(np.unique(splits.train[:, 0])) == len(splits.train)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"k": np.full(9, 5.0)}, "constant columns: 'k'"),
        ({"k": np.array([5.0, np.nan, 5.0])}, "constant columns: 'k'"),
        ({"a": NORMAL[:, 0], "b": NORMAL[:, 0].copy()}, "column 'b' repeats 'a'"),
        ({"n": np.array([1.0, 2.0, np.inf])}, "whole numbers alone in 'n'"),
    ],
)
def test_columns_without_a_density_are_named(columns, message):
    with pytest.warns(UserWarning, match=message) as caught:
        warn_of_columns({**columns, "fine": NORMAL[:, 2]})
    assert len(caught) == 1


def test_training_warns_of_variables_without_a_density():
    rows = np.column_stack([NORMAL[:, :1], np.ones(64), NORMAL[:, :1]])
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.compile(jit_compile=False)
    with pytest.warns(UserWarning, match="density") as caught:
        flow.fit(rows, verbose=0)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 2
    assert texts[0].startswith("constant columns: 'x[:, 1]'")
    assert texts[1].startswith("column 'x[:, 2]' repeats 'x[:, 0]'")


class Frame:
    """A table with names, as pandas has them."""

    def __init__(self, **columns):
        self.columns, self._values = list(columns), np.stack(list(columns.values()), axis=-1)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self._values, dtype)

    def __len__(self):
        return len(self._values)


def test_training_calls_columns_by_their_names():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    flow.compile(jit_compile=False)
    with pytest.warns(UserWarning, match="constant columns: 'weight'"):
        flow.fit(Frame(height=NORMAL[:, 0], weight=np.ones(64)), verbose=0)
    with pytest.raises(ValueError, match="column 'weight' reaches"):
        flow.fit(Frame(height=NORMAL[:, 0], weight=1e200 * NORMAL[:, 1]), verbose=0)


# Whole only once they are float32: such a column has values enough.
def test_large_values_with_fractions_are_not_whole_numbers(recwarn):
    warn_of_columns({"big": 3e8 + 1e8 * NORMAL[:, 0]})
    assert not recwarn.list


def test_names_and_separators(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,a,b\n" + "1.5,2.5,3.5\n" * 20)
    with pytest.raises(ValueError, match="several columns of the name 'a'"):
        data.load_table(file)
    file.write_text("a;b;c\n" + "1;2;3\n" * 20)
    with pytest.raises(ValueError, match="commas between values"):
        data.load_table(file)
