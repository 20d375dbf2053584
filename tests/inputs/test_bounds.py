"""The argument `bounds`, and what messages say of values that are not inside of them."""

import numpy as np
import pytest
import tensorflow as tf

from tests.inputs.test_spec import Table
from tfnvp.bijectors import Bounds, Chain, DiagonalScaling
from tfnvp.inputs.bounds import OutsideOfBounds, bounds_of, bounds_of_columns
from tfnvp.inputs.spec import DataSpec
from tfnvp.inputs.support import DataSide

POSITIVE = Chain([Bounds([None, 0.0, 0.0], [None, None, 1.0]), DiagonalScaling(3)])
bounded = DataSpec((3,), data_side=DataSide(POSITIVE, (3,)))


def rows():
    x = np.random.default_rng(0).uniform(0.1, 0.9, size=(10, 3)).astype("float32")
    x[:, 0] -= 0.5
    return x


@pytest.mark.parametrize(
    "given",
    [
        {0: (0, None), 2: (-np.inf, 1)},
        [(0, np.inf), None, (None, 1.0)],
        [[0, None], None, [None, 1]],
        {np.int64(0): np.array([0.0, np.inf]), 1: (None, None), 2: (None, np.float32(1))},
    ],
)
def test_bounds_are_a_pair_or_none_for_each_variable(given):
    assert bounds_of(given, 3) == [(0.0, None), None, (None, 1.0)]


def test_no_bounds():
    assert [bounds_of(given, 2) for given in (None, {}, [None, None])] == [None] * 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rain": (0, 1)}, "`bounds` must have indices.* a flow knows no names .*: 'rain'"),
        ({3: (0, 1)}, "from 0 to 2: .*Received: 3"),
        ({-1: (0, 1)}, "from 0 to 2: .*Received: -1"),
        ({True: (0, 1)}, "Received: True"),
        ([(0, 1)], "one entry, .* for each of the 3 variables"),
        (0.0, "`bounds` must be a dictionary"),
        ({1: 0.0}, r"`bounds` of variable 1 must be a pair \(low, high\).*Received: 0.0"),
        ({1: (0, 1, 2)}, "`bounds` of variable 1 must be a pair"),
        ({1: ("0", 1)}, "`bounds` of variable 1 must be a pair"),
        ({1: (1, 0)}, r"`bounds` of variable 1 must have low below high.*Received: \(1.0, 0.0\)"),
        ({1: (np.nan, 0)}, "`bounds` of variable 1 must have low below high"),
        ({1: (np.inf, None)}, "`bounds` of variable 1 must have low below high"),
    ],
)
def test_other_bounds_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        bounds_of(given, 3)


def test_bounds_of_columns_are_found_by_name():
    assert bounds_of_columns({"b": (0, None)}, ["a", "b"], "t.csv") == (None, (0.0, None))
    with pytest.raises(ValueError, match=r"columns of t.csv: \['a', 'b'\]. Received: 'c'"):
        bounds_of_columns({"c": (0, None)}, ["a", "b"], "t.csv")
    with pytest.raises(ValueError, match="`bounds` of column 'b' must have low below high"):
        bounds_of_columns({"b": (1, 0)}, ["a", "b"], "t.csv")


def test_training_rows_on_a_bound_are_refused_by_column_row_and_share():
    x = rows()
    x[[3, 5, 8, 9], 1] = 0.0
    with pytest.raises(ValueError, match="atom, which no density describes") as caught:
        bounded.check(Table(x, ["t", "rain", "share"]), training=True)
    assert str(caught.value).startswith(
        "`x`: column 'rain' must be above 0. Received: 0 in x[3, 1]; 4 of 10 values (40.00%) are "
        "not, 4 of them exactly 0. Rows on a bound are"
    )
    x = rows()
    x[4, 2] = 2.0
    with pytest.raises(ValueError, match=r"variable 2 must be between 0 and 1\. .* x\[4, 2\]"):
        bounded.named("x").check(x, training=True)
    bounded.check(rows(), training=True)


def test_rows_that_are_scored_outside_give_a_warning_without_a_cure():
    x = rows()
    x[4, 2] = 1.0
    with pytest.warns(UserWarning, match=r"x\[4, 2\]; 1 of .*1 of them exactly 1\. The log-d"):
        bounded.advise_on_rows(x)
    _, inside = bounded.mask_unsupported_rows(tf.constant(x))
    assert np.flatnonzero(~inside.numpy()).tolist() == [4]


def test_bounds_are_written_as_they_were_given():
    found = OutsideOfBounds([(0.01, 0.3)])
    found.add(np.array([[0.0081235]]))
    assert found.describe(0, str).startswith(
        "must be between 0.01 and 0.3. Received: 0.0081235 in 0; 1 of 1"
    )


def test_a_distance_that_tensorflow_takes_as_0_is_on_the_bound():
    x = rows()
    x[7, 1] = 1e-40
    assert "must be above 0. Received: 1e-40 in x[7, 1]; 1 of" in bounded.find_fault(x)


def test_extreme_values_are_refused_in_variables_without_bounds_alone():
    x = rows()
    x[5, 1] = 1e9
    assert bounded.find_fault(x) is None
    x[5, 0] = 1e9
    assert "x[5, 0] = 1e+09, where 98 %" in bounded.find_fault(x)
