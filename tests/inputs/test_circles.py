"""The argument `circular`, and what messages say of values outside of an interval."""

import numpy as np
import pytest

from tests.inputs.test_spec import Table
from tfnvp.bijectors import Angles, Bounds, Chain
from tfnvp.inputs.bounds import (
    Circle,
    bounds_of,
    circles_of,
    circles_of_columns,
    intervals,
    whole_inside,
)
from tfnvp.inputs.spec import DataSpec
from tfnvp.inputs.support import DataSide

SIDE = DataSide(
    Chain([Bounds([None, 0.0], [None, None]), Angles([0.0, None], [360.0, None])]), (2,)
)
circular = DataSpec((2,), data_side=SIDE)


def rows(*phases):
    return np.column_stack([phases, np.ones(len(phases))]).astype("float32")


@pytest.mark.parametrize(
    "given", [{1: (0, 360)}, [None, (0.0, 360.0)], {np.int64(1): np.array([0, 360])}]
)
def test_circles_are_a_pair_or_none_for_each_variable(given):
    assert circles_of(given, 2) == [None, Circle(0.0, 360.0)]
    assert circles_of_columns({"phase": (0, 360)}, ["a", "phase"], "t.csv") == (None, (0, 360))


@pytest.mark.parametrize("given", [None, {}, [None, None]])
def test_no_circles(given):
    assert circles_of(given, 2) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"phase": (0, 1)}, "`circular` must have indices.* a flow knows no names .*: 'phase'"),
        ([(0, 1)], "`circular` must be a dictionary .* for each of the 2 variables"),
        ({1: (0, None)}, r"`circular` of variable 1 must be a pair \(low, high\) of numbers, the"),
        ({1: (None, None)}, "the ends of its interval"),
        ({1: (0, np.inf)}, "the ends of its interval"),
        ({1: 360}, r"`circular` of variable 1 must be a pair \(low, high\).*Received: 360"),
        ({1: (360, 0)}, "`circular` of variable 1 must have low below high"),
    ],
)
def test_other_circles_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        circles_of(given, 2)


def test_a_variable_has_bounds_or_is_circular():
    circles = circles_of({1: (0, 360)}, 2)
    assert intervals(bounds_of({0: (0, None)}, 2), circles) == [(0.0, None), (0.0, 360.0)]
    assert intervals(None, circles) == circles
    with pytest.raises(ValueError, match="both for variable 1"):
        intervals(bounds_of({1: (0, None)}, 2), circles)


def test_rows_outside_are_refused_by_column_row_and_value_and_both_ends_are_inside():
    circular.check(rows(0, 360, 180), training=True)
    with pytest.raises(ValueError, match="modulo") as caught:
        circular.check(Table(rows(0, 12, 360.5, 400), ["phase", "size"]), training=True)
    assert str(caught.value) == (
        "`x`: column 'phase' must be from 0 to 360. Received: 360.5 in x[2, 0]; 2 of 4 values "
        "(50.00%) are not. Take it modulo the interval, `low + (x - low) % (high - low)`, or "
        "correct that"
    )
    x = rows(0, 12, 360)
    x[1, 1] = 0.0
    with pytest.raises(ValueError, match=r"variable 1 must be above 0.*Rows on a bound"):
        circular.check(x, training=True)


def test_only_variables_without_an_interval_can_be_too_far_from_others():
    assert circular.find_fault(rows(*[1e-6] * 9, 360.0)) is None


def test_whole_numbers_go_round():
    x = np.array([359.7, 0.2, 17.6])
    assert whole_inside(x, Circle(0.0, 360.0)).tolist() == [0.0, 0.0, 18.0]
    x = np.array([-3.1, 3.1, 0.4])
    assert whole_inside(x, Circle(-np.pi, np.pi)).tolist() == [-3.0, 3.0, 0.0]
    assert whole_inside(np.array([0.6, 3.4]), Circle(0.6, 3.6)).tolist() == [1.0, 3.0]
    assert whole_inside(np.array([0.7, 3.55]), Circle(0.7, 3.6)).tolist() == [1.0, 1.0]
