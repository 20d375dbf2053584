"""Data as Keras gets it: batches of arrays, validation rows, samples, counts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp.fitting import batches
from tfnvp.fitting.batches import Data


def numbered(n):
    x = np.arange(n, dtype="float64")
    return Data(x[:, None] * [1.0, 1.0], x[:, None], x.astype("int64"))


@pytest.mark.parametrize("at_once", [1, 2**16], ids=["a read for each batch", "one read"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_rows_conditions_and_weights_stay_together(shuffle, at_once, monkeypatch):
    monkeypatch.setattr(batches, "_READ_AT_ONCE", at_once)
    data = numbered(10)._replace(x={"x": numbered(10).x})
    arguments = batches.for_keras(data, {"batch_size": 4, "epochs": 2}, shuffle)
    dataset = arguments.pop("x")
    assert arguments == {"epochs": 2}
    epochs = [list(dataset) for _ in range(2)]
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


def test_weights_without_conditions_get_empty_targets():
    x, targets, weights = next(
        iter(batches.for_keras(numbered(10)._replace(condition=None), {})["x"])
    )
    assert targets.shape == (10, 0)
    np.testing.assert_array_equal(x[:, 0], weights)


def test_the_last_rows_are_for_validation():
    train, held_out = batches.split_validation(numbered(10), 0.25)
    assert [len(part) for part in train] == [7, 7, 7]
    for part in held_out:
        np.testing.assert_array_equal(np.ravel(part)[-1], 9)
        assert len(part) == 3
    for unchanged in (numbered(10), Data(tf.data.Dataset.range(3))):
        assert batches.split_validation(unchanged, 0.0) == (unchanged, None)


def test_data_sets_of_arrays_are_not_tuned():
    # While tf.data tunes itself, an epoch that begins with a compilation delays the next one.
    x = np.ones((10, 2), "float32")
    assert not batches.for_keras(Data(x), {})["x"].options().autotune.enabled
    assert not tfnvp.data.training_dataset(x, None, 4).options().autotune.enabled


@pytest.mark.parametrize("batch_size", [0, -1, 2.0, True])
def test_the_batch_size_is_a_positive_int(batch_size):
    with pytest.raises(ValueError, match="`batch_size` must be a positive int"):
        batches.for_keras(numbered(10), {"batch_size": batch_size})


@pytest.mark.parametrize("arguments", [{"steps_per_epoch": 2}, {"steps": 2}])
def test_arrays_with_a_number_of_steps_stay_with_keras(arguments):
    data = numbered(10)
    assert batches.for_keras(data, arguments)["x"] is data.x


def test_a_sample_is_spread_over_arrays_that_may_be_sorted():
    x, condition = batches.sample(numbered(100)._replace(sample_weight=None), 10)
    np.testing.assert_array_equal(condition[:, 0], np.arange(0, 100, 10))
    np.testing.assert_array_equal(x[:, 0], condition[:, 0])
    both = Data({"x": numbered(100).x, "condition": numbered(100).condition})
    np.testing.assert_array_equal(batches.sample(both, 10)[1], condition)


def test_rows_of_weight_0_are_in_no_sample():
    weights = np.float32([0, 1, 2, 0] * 25)
    data = numbered(100)._replace(sample_weight=weights)
    dataset = tf.data.Dataset.from_tensor_slices(tuple(data)).batch(4)
    for source in (data, Data(dataset)):
        x, condition = batches.sample(source, 10)
        assert len(x) == 10
        assert (weights[x[:, 0].astype(int)] > 0).all()
        np.testing.assert_array_equal(x[:, 0], condition[:, 0])


class Sequence(keras.utils.PyDataset):
    """Five batches, by Keras' present protocol: without a length."""

    num_batches = 5

    def __getitem__(self, i):
        data = numbered(20)
        return data.x[4 * i : 4 * i + 4], data.condition[4 * i : 4 * i + 4]


def test_a_sample_of_other_data_is_its_beginning():
    data = numbered(20)
    dataset = tf.data.Dataset.from_tensor_slices((data.x, data.condition)).batch(4)
    for source in (dataset, Sequence()):
        x, condition = batches.sample(Data(source), 6)
        np.testing.assert_array_equal(x[:, 0], np.arange(6))
        np.testing.assert_array_equal(condition[:, 0], np.arange(6))
    endless = Sequence()
    endless.num_batches = None
    assert len(batches.sample(Data(endless), 6)[0]) == 6
    x, condition = batches.sample(Data(dataset.map(lambda x, c: x)), 6)
    assert condition is None
    with pytest.raises(ValueError, match="a generator cannot be read twice"):
        batches.sample(Data(iter([data.x])), 6)
    with pytest.raises(ValueError, match="the training data is empty"):
        batches.sample(Data(dataset.take(0)), 6)


def test_batches_of_an_epoch_are_counted():
    data = numbered(84)
    assert batches.count_batches(data, 8) == 11
    assert batches.count_batches(data, None) == 3
    dataset = tf.data.Dataset.from_tensor_slices(data.x).batch(8)
    assert batches.count_batches(Data(dataset), None) == 11
    assert batches.count_batches(Data(dataset.repeat()), None) is None
    assert batches.count_batches(Data(iter([data.x])), None) is None
    assert batches.count_batches(Data(Sequence()), None) == 5
