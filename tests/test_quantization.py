import numpy as np
import pytest
import tensorflow as tf

from tfnvp.quantization import dequantize, quantize


def test_masked_pixels_are_nan():
    x = dequantize(np.ma.masked_equal(np.array([3, 255, 0]), 255), levels=17)
    assert np.isnan(x).tolist() == [False, True, False]


def test_noise_stays_in_its_bins_and_fills_them():
    pixels = np.repeat(np.arange(17), 2000)
    x = dequantize(pixels, levels=17, seed=(0, 0)).numpy()
    assert x.dtype == np.float32
    noise = x * 17 - pixels
    assert noise.min() > -1e-4
    assert noise.max() < 1 + 1e-4
    np.testing.assert_allclose(noise.mean(), 0.5, atol=0.01)
    np.testing.assert_allclose(noise.std(), 12**-0.5, atol=0.01)
    np.testing.assert_array_equal(quantize(x, levels=17), pixels)
    assert x.max() < 1.0


def test_noise_is_new_or_follows_from_a_seed():
    pixels = np.zeros((3, 4), "uint8")
    assert np.any(dequantize(pixels).numpy() != dequantize(pixels).numpy())
    np.testing.assert_array_equal(dequantize(pixels, seed=(1, 2)), dequantize(pixels, seed=(1, 2)))


def test_quantize_clips():
    x = tf.constant([-0.1, 0.0, 0.999, 1.0, 1.2])
    np.testing.assert_array_equal(quantize(x), [0, 0, 255, 255, 255])


@pytest.mark.parametrize(
    ("pixels", "levels", "message"),
    [
        (17, 17, "from 17 to 17"),
        (-1, 256, "from -1 to -1"),
        (0.5, 256, "must hold whole grey levels. Received: 0.5"),
        (np.inf, 256, "from inf to inf"),
        (1, 1, "`levels` must be"),
    ],
)
def test_bad_arguments_are_named(pixels, levels, message):
    for given in ([pixels], np.array([pixels])):
        with pytest.raises(ValueError, match=message):
            dequantize(given, levels)


def test_bools_of_many_levels_get_a_warning():
    with pytest.warns(UserWarning, match="nearly black among 256 levels"):
        dequantize(np.array([True, False]))
