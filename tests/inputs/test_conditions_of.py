import numpy as np
import pytest

from tfnvp.inputs.conditions import ConditionInput, ConditionSpec
from tfnvp.inputs.spec import DataSpec

FIRST, REST = slice(0, 2), slice(2, 4)


def conditions_of(chosen, condition, shape=(1,), rows=3):
    """The conditions of some of three rows; `shape` is that of one, None without any."""
    spec = None if shape is None else ConditionSpec.of_shape(shape)
    return DataSpec((2,), conditions=spec).conditions_of(chosen, rows, condition)


@pytest.mark.parametrize("chosen", [FIRST, REST, np.array([True, False, True]), [2, 0, 0]], ids=str)
def test_every_row_has_its_condition(chosen):
    each = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(conditions_of(chosen, each, (2,)), each[chosen])
    for one in (np.ones(2), np.ones([1, 2])):
        assert conditions_of(chosen, one, (2,)) is one
    np.testing.assert_array_equal(conditions_of(chosen, each[:1], (2,), rows=1), each[:1])


def test_flows_without_condition_and_scalar_conditions():
    assert conditions_of(FIRST, None) is None
    assert conditions_of(FIRST, [4, 5, 6], None) == [4, 5, 6]
    assert conditions_of(FIRST, 0.5, ()) == 0.5
    assert conditions_of(REST, [4, 5, 6], ()) == [6]


def test_each_of_several_arrays_is_cut_or_for_all():
    parts = ConditionSpec((ConditionInput("a", (2,)), ConditionInput("b", (1,), "int32")))
    condition = {"a": [0.5, 0.5], "b": [7, 8, 9]}
    found = DataSpec((2,), conditions=parts).conditions_of(REST, 3, condition)
    assert found == {"a": [0.5, 0.5], "b": [9]}


def test_conditions_of_some_rows_stay_masked():
    masked = np.ma.masked_equal(np.array([[1.0], [-9.0], [3.0]]), -9.0)
    found = conditions_of(np.array([False, True, True]), masked)
    np.testing.assert_array_equal(found, [[np.nan], [3.0]])


@pytest.mark.parametrize("conditions", [2, 5])
def test_a_wrong_number_of_conditions_is_refused(conditions):
    with pytest.raises(ValueError, match=f"{conditions} conditions for 3 rows"):
        conditions_of(FIRST, np.zeros([conditions, 1]))
