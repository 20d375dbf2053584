import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from tfnvp import data


def test_digits_are_split_as_documented():
    digits = data.load_digits()
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1293, 144, 360)
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    np.testing.assert_array_equal(digits.test.reshape(-1, 64), images[order[-360:]])
    np.testing.assert_array_equal(digits.test_labels, labels[order[-360:]])
    assert digits.train.dtype == np.uint8
    assert digits.train.max() == 16


def test_dequantization_stays_in_its_bins_and_fills_them():
    pixels = np.repeat(np.arange(17), 2000)
    x = data.dequantize(pixels, levels=17, seed=(0, 0)).numpy()
    assert x.dtype == np.float32
    noise = x * 17 - pixels
    assert noise.min() > -1e-4
    assert noise.max() < 1 + 1e-4
    np.testing.assert_allclose(noise.mean(), 0.5, atol=0.01)
    np.testing.assert_allclose(noise.std(), 12**-0.5, atol=0.01)
    np.testing.assert_array_equal(data.quantize(x, levels=17), pixels)
    assert x.max() < 1.0


def test_dequantization_noise_is_fresh_or_seeded():
    pixels = np.zeros((3, 4), "uint8")
    assert np.any(data.dequantize(pixels).numpy() != data.dequantize(pixels).numpy())
    np.testing.assert_array_equal(
        data.dequantize(pixels, seed=(1, 2)), data.dequantize(pixels, seed=(1, 2))
    )


def test_quantize_clips():
    x = tf.constant([-0.1, 0.0, 0.999, 1.0, 1.2])
    np.testing.assert_array_equal(data.quantize(x), [0, 0, 255, 255, 255])


def test_pipeline_draws_new_noise_and_order_every_epoch():
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.dequantize(np.array([17]), levels=17), "from 17 to 17"),
        (lambda: data.dequantize(np.array([-1])), "from -1 to -1"),
        (lambda: data.dequantize(np.array([1]), levels=1), "`levels` must be"),
        (lambda: data.load_named("nothing"), "unknown data set 'nothing'"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bools_of_many_levels_get_a_warning():
    with pytest.warns(UserWarning, match="nearly black among 256 levels"):
        data.dequantize(np.array([True, False]))
