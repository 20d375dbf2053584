"""Arrays as Keras gets them: data sets of ours, shuffled, divided, with their weights."""

import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting import batches as array_batches


def numbered(n):
    x = np.arange(n, dtype="float64")
    return x[:, None] * [1.0, 1.0], x[:, None], x.astype("int64")


@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_conditions_and_weights_stay_together(shuffle):
    x, y, weights = numbered(10)
    arguments = {"sample_weight": weights, "batch_size": 4, "epochs": 2}
    batches, nothing, left = array_batches.in_batches({"x": x}, y, arguments, shuffle)
    assert nothing is None
    assert left == {"epochs": 2}
    epochs = [list(batches) for _ in range(2)]
    assert [len(weights) for _, _, weights in epochs[0]] == [4, 4, 2]
    orders = []
    for epoch in epochs:
        for rows, conditions, weights in epoch:
            assert rows["x"].dtype == conditions.dtype == tf.float32
            np.testing.assert_array_equal(rows["x"][:, 0], weights)
            np.testing.assert_array_equal(conditions[:, 0], weights)
        orders.append([int(w) for _, _, weights in epoch for w in weights])
        assert sorted(orders[-1]) == list(range(10))
    assert (orders[0] != orders[1]) == (orders[0] != list(range(10))) == shuffle


def test_the_last_rows_are_for_validation():
    x, y, weights = numbered(10)
    arguments = {"sample_weight": weights, "validation_split": 0.25}
    x, y, left = array_batches.without_validation_rows(x, y, arguments)
    assert len(x) == len(y) == len(left["sample_weight"]) == 7
    for part in left["validation_data"]:
        np.testing.assert_array_equal(np.ravel(part)[-1], 9)
        assert len(part) == 3


# While tf.data tunes itself, an epoch that begins with a compilation delays the next one.
def test_no_data_set_of_arrays_is_tuned():
    x = np.ones((10, 2), "float32")
    batches, _, _ = array_batches.in_batches(x, None, {})
    assert not batches.options().autotune.enabled
    assert not tfnvp.data.training_dataset(x, None, 4).options().autotune.enabled


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True])
def test_the_batch_size_is_a_positive_int(batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be a positive int"):
        array_batches.in_batches(np.ones((10, 2), "float32"), None, {"batch_size": batch_size})


@pytest.mark.parametrize("arguments", [{"steps_per_epoch": 2}, {"steps": 2}])
def test_arrays_with_a_number_of_steps_stay_with_keras(arguments):
    x = np.ones((10, 2), "float32")
    assert array_batches.in_batches(x, None, arguments)[0] is x
