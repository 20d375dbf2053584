"""Weights of rows: only their ratios count, over the whole data set, for every kind of data."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.conftest import perturb
from tfnvp.fitting.batches import Data, without_tuning
from tfnvp.fitting.weights import relative

pytestmark = pytest.mark.usefixtures("eagerly")
X = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
WEIGHTS = np.linspace(0.0, 3.0, 20).astype("float32")
EXPECTED = WEIGHTS / WEIGHTS.mean()


class Batches(keras.utils.PyDataset):
    """Batches by Keras' present protocol."""

    num_batches = 5

    def __init__(self, factor):
        super().__init__()
        self.factor = np.float32(factor)

    def __getitem__(self, i):
        rows = slice(4 * i, 4 * i + 4)
        return X[rows], None, self.factor * WEIGHTS[rows]


def generator(factor):
    # Its first batch has the mean of all.
    parts = (X[:2], None, np.float32([factor, 2 * factor]))
    yield parts
    yield parts


def dataset(factor):
    parts = (X, np.zeros((20, 0)), np.float32(factor) * WEIGHTS)
    return without_tuning(tf.data.Dataset.from_tensor_slices(parts).batch(4))


def collected(x):
    return np.concatenate([batch[2] for batch in x])


@pytest.mark.parametrize("factor", [1.0, 1e-9, 1e30])
def test_only_ratios_count(factor):
    found = relative(Data(X, None, (factor * WEIGHTS.astype("float64")).tolist()))
    np.testing.assert_allclose(found.sample_weight, EXPECTED, rtol=1e-5)
    for source in (dataset(factor), dataset(factor).repeat()):
        x = relative(Data(source), steps=5).x
        np.testing.assert_allclose(collected(x.take(5)), EXPECTED, rtol=1e-5)
    batches = relative(Data(Batches(factor))).x
    assert batches.num_batches == 5
    np.testing.assert_allclose(
        collected(batches[i] for i in range(5)), EXPECTED, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        collected(relative(Data(generator(factor))).x), np.float32([2, 4, 2, 4]) / 3, rtol=1e-5
    )


def test_batches_in_lists_have_weights_too():
    class Lists(Batches):
        def __getitem__(self, i):
            return list(super().__getitem__(i))

    batches = relative(Data(Lists(7.0))).x
    np.testing.assert_allclose(collected(batches[i] for i in range(5)), EXPECTED, rtol=1e-5)


def test_data_without_weights_is_unchanged():
    class Unweighted(Batches):
        def __getitem__(self, i):
            return (*super().__getitem__(i)[:2], None)

    plain = without_tuning(tf.data.Dataset.from_tensor_slices(X).batch(4))
    for data in (Data(X), Data(plain), Data(Unweighted(1.0))):
        assert relative(data) is data
    np.testing.assert_array_equal(next(relative(Data(iter([X]))).x), X)


def test_no_weight_at_all_is_an_error():
    for data in (Data(dataset(0.0)), Data(Batches(0.0))):
        with pytest.raises(ValueError, match=r"must not be 0 for all rows\. Received: 20 zeros"):
            relative(data)
    with pytest.raises(ValueError, match=r"must not be 0 for all rows\. Received: 2 zeros"):
        next(relative(Data(generator(0.0))).x)


def test_unusable_weights_stay_for_the_loss_to_report():
    weights = np.float32([1.0, np.nan, -1.0, np.inf])
    parts = without_tuning(tf.data.Dataset.from_tensors((X[:4], np.zeros((4, 0)), weights)))
    np.testing.assert_array_equal(collected(relative(Data(parts)).x), weights)


def test_every_method_has_the_weighted_mean_as_loss():
    # Only Keras' methods sum the losses of batches.
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(4,), standardize=False))
    flow.compile("sgd", jit_compile=False)
    expected = -np.average(flow.log_prob(X), weights=WEIGHTS)
    start, ends, losses = flow.get_weights(), [], []
    for factor in (1.0, 1e-9):
        weights = factor * WEIGHTS
        for loss in (
            flow.evaluate(X, sample_weight=weights, batch_size=8, verbose=0),
            flow.evaluate(dataset(factor), verbose=0),
            flow.test_on_batch(X, sample_weight=weights),
        ):
            np.testing.assert_allclose(loss, expected, rtol=1e-4)
        options = {"shuffle": False, "batch_size": 8, "verbose": 0}
        held_out = (X, None, weights)
        history = flow.fit(X, sample_weight=weights, validation_data=held_out, **options).history
        after = -np.average(flow.log_prob(X), weights=WEIGHTS)
        np.testing.assert_allclose(history["val_loss"], [after], rtol=1e-4)
        losses.append(history["loss"])
        flow.train_on_batch(X, sample_weight=weights)
        ends.append(flow.get_weights())
        flow.set_weights(start)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert any(
        np.abs(one - before).max() > 1e-3 for one, before in zip(ends[1], start, strict=True)
    )
