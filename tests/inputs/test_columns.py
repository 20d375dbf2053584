"""Columns without a density."""

import numpy as np
import pytest

from tfnvp.inputs.columns import advise_on_columns, mostly_one_value, suspicious_columns

NORMAL = np.random.default_rng(0).normal(size=(64, 3))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"k": np.full(9, 5.0)}, "constant columns: 'k'"),
        ({"k": np.array([5.0, np.nan, 5.0])}, "constant columns: 'k'"),
        ({"a": NORMAL[:, 0], "b": NORMAL[:, 0].copy()}, "column 'b' repeats 'a'"),
        ({"n": np.array([1.0, 2.0, np.inf])}, "only whole numbers in 'n'"),
        ({"m": np.array([0.5, 0.5, 0.7, 0.5])}, "more than half of the values are the same in 'm'"),
    ],
)
def test_columns_without_a_density_are_named(columns, message):
    with pytest.warns(UserWarning, match=message) as caught:
        advise_on_columns({**columns, "fine": NORMAL[:, 2], "empty": np.full(3, np.nan)})
    assert len(caught) == 1


def test_large_values_with_fractions_are_not_whole_numbers(recwarn):
    # They are whole numbers only in float32, in which they may have been given.
    for dtype in ("float64", "float32"):
        advise_on_columns({"big": (3e8 + 1e8 * NORMAL[:, 0]).astype(dtype)})
    assert not recwarn.list
    with pytest.warns(UserWarning, match="only whole numbers in 'count'"):
        advise_on_columns({"count": np.arange(64, dtype="float32")[::-1] % 7 * 1e6})


def test_suspicious_columns_are_found_in_a_sample():
    sample = np.column_stack([NORMAL, np.full(64, 0.5), np.arange(64), NORMAL[:, 1]])
    assert suspicious_columns(sample) == [1, 3, 4, 5]


def test_exactly_half_is_not_mostly():
    half = np.array([0.0, 0.0, 1.0, 2.0])
    assert mostly_one_value(np.column_stack([half, [1.0, 0.0, 0.0, 0.0]])).tolist() == [False, True]
