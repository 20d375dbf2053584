import numpy as np
import pytest

from tfnvp.inputs.chunks import conditions_of, row_chunks
from tfnvp.inputs.conditions import ConditionInput, ConditionSpec

of_shape = ConditionSpec.of_shape


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001, 2001])
@pytest.mark.parametrize("kind", ["one", "one row", "one for each"])
def test_every_row_has_its_condition(rows, kind):
    x = np.arange(rows)
    condition = {
        "one": np.ones(2),
        "one row": np.ones([1, 2]),
        "one for each": np.stack([x, -x], axis=1),
    }[kind]
    together = []
    for first, chunk, part in row_chunks(1000, x, condition, of_shape((2,))):
        assert chunk[0] == first
        assert len(chunk) <= 1000
        if kind != "one for each":
            assert part is condition or rows == 1
        else:
            np.testing.assert_array_equal(part, np.stack([chunk, -chunk], axis=1))
        together.append(chunk)
    np.testing.assert_array_equal(np.concatenate(together), x)


def test_flows_without_condition_and_scalar_conditions():
    assert [part for *_, part in row_chunks(2, [1, 2, 3])] == [None, None]
    assert [part for *_, part in row_chunks(2, [1, 2, 3], 0.5, of_shape(()))] == [0.5, 0.5]
    assert [part for *_, part in row_chunks(2, [1, 2, 3], [4, 5, 6], of_shape(()))] == [[4, 5], [6]]
    assert list(row_chunks(2, [])) == []


def test_each_of_several_arrays_is_cut_or_for_all():
    spec = ConditionSpec((ConditionInput("a", (2,)), ConditionInput("b", (1,), "int32")))
    chunks = list(row_chunks(2, [1, 2, 3], {"a": [0.5, 0.5], "b": [7, 8, 9]}, spec))
    assert [part for *_, part in chunks] == [
        {"a": [0.5, 0.5], "b": [7, 8]},
        {"a": [0.5, 0.5], "b": [9]},
    ]


def test_conditions_of_some_rows_stay_masked():
    masked = np.ma.masked_equal(np.array([[1.0], [-9.0], [3.0]]), -9.0)
    chosen = np.array([False, True, True])
    found = conditions_of(chosen, 3, masked, of_shape((1,)))
    np.testing.assert_array_equal(found, [[np.nan], [3.0]])


@pytest.mark.parametrize("conditions", [2, 5])
def test_a_wrong_number_of_conditions_is_refused(conditions):
    with pytest.raises(ValueError, match=f"{conditions} conditions for 3 rows"):
        list(row_chunks(2, np.zeros([3, 4]), np.zeros([conditions, 1]), of_shape((1,))))
