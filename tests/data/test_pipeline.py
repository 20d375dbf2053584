import numpy as np
import pytest
import tensorflow as tf

from tfnvp import data
from tfnvp.data.pipeline import noisy_batches

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


def test_noise_and_order_are_new_in_every_epoch():
    pixels = np.arange(100, dtype="uint8")[:, None]
    dataset = data.training_dataset(pixels, 256, batch_size=32, seed=0)
    first, second = (np.concatenate(list(dataset)) for _ in range(2))
    assert first.shape == second.shape == (100, 1)
    assert np.any(data.quantize(first).numpy() != data.quantize(second).numpy())
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(data.quantize(epoch), axis=0), pixels)
    assert len(np.intersect1d(first, second)) < 10


# Small batches are read several at once, large ones one by one.
@pytest.mark.parametrize(
    ("shape", "batch_size", "sizes"),
    [
        ((10_000, 20), 150, [150] * 66 + [100]),
        ((11, 30_000), 5, [5, 5, 1]),
        ((11, 3), 2**40, [11]),
    ],
)
def test_every_row_comes_once_in_batches_of_the_size(shape, batch_size, sizes):
    rows = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    batches = list(data.training_dataset(rows, None, batch_size, seed=0))
    assert [len(batch) for batch in batches] == sizes
    order = np.concatenate(batches)
    assert np.any(order != rows)
    np.testing.assert_array_equal(order[np.argsort(order[:, 0])], rows)


def test_images_are_flipped_half_of_the_time():
    images = np.tile(np.array([[0, 9]], "uint8")[..., None], (200, 1, 1, 1))
    rows = np.concatenate(list(data.training_dataset(images, 10, 50, seed=0, flip=True)))
    flipped = rows[:, 0, 0, 0] > 0.5
    assert 70 < flipped.sum() < 130
    np.testing.assert_array_equal(flipped, rows[:, 0, 1, 0] < 0.5)


def test_a_resumed_epoch_is_that_of_a_run_never_stopped():
    def epochs(start):
        epoch = data.Epoch()
        batches = data.training_dataset(ROWS, None, 5, seed=3, epoch=epoch)
        for number in range(start, 3):
            epoch.on_epoch_begin(number)
            yield np.concatenate(list(batches))

    *_, third = epochs(0)
    np.testing.assert_array_equal(next(epochs(2)), third)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS[:0], None, 4), "`rows` must not be empty"),
        ((ROWS, None, 0), "`batch_size` must be a positive int"),
        ((np.array([[0, 2]]), 2, 4), "`rows` must hold grey levels"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.training_dataset(*arguments)


def test_finite_rows_leave_a_row_out_with_its_condition_and_weight():
    x, condition, weight = ROWS[:6].copy(), ROWS[:6, :1].copy(), np.ones(6, "float32")
    x[0, 1], condition[2, 0], weight[3] = np.nan, np.inf, np.nan
    finite = data.FiniteRows()
    dataset = tf.data.Dataset.from_tensor_slices((x, condition, weight)).batch(2).apply(finite)
    batches = list(dataset.as_numpy_iterator())
    # The batch of rows 2 and 3 is empty, and dropped.
    assert [len(batch[0]) for batch in batches] == [1, 2]
    for part, whole in zip(zip(*batches, strict=True), (x, condition, weight), strict=True):
        np.testing.assert_array_equal(np.concatenate(part), whole[[1, 4, 5]])
    assert finite.skipped == 3


def test_finite_rows_take_batches_without_conditions():
    elements = tf.data.Dataset.from_tensor_slices((ROWS, np.ones(12, "float32"))).batch(4)
    dataset = elements.map(lambda x, weight: (x, None, weight)).apply(data.FiniteRows())
    assert [(len(x), y, len(weight)) for x, y, weight in dataset] == [(4, None, 4)] * 3


def test_noisy_batches_have_the_rows_by_their_weights():
    rows, weight = np.float32([[0.0, 0.0], [10.0, 10.0], [20.0, 20.0]]), np.array([1.0, 0.0, 3.0])
    batches = noisy_batches(rows, weight, np.array([0.1, 0.5]), 64, steps=40, seed=0)
    assert int(batches.cardinality()) == 40
    drawn = np.stack(list(batches.as_numpy_iterator()))
    assert drawn.shape == (40, 64, 2)
    near = np.abs(drawn[..., :1] - rows[:, 0]).argmin(axis=-1)
    np.testing.assert_array_equal((near == 0).sum(axis=1), 16)
    np.testing.assert_array_equal((near == 2).sum(axis=1), 48)
    noise = (drawn - rows[near]).reshape(-1, 2)
    np.testing.assert_allclose(noise.std(axis=0), [0.1, 0.5], rtol=0.05)
    assert len(np.unique(noise)) > 0.99 * noise.size
