import numpy as np
import pytest
from PIL import Image

from tfnvp import plotting


def test_grid_places_every_image():
    images = np.stack([np.full((2, 3), value) for value in (0.0, 0.2, 0.4, 0.6, 2.0)])
    picture = np.asarray(plotting.image_grid(images, columns=3, scale=1))
    assert picture.shape == (7, 13)
    for i, grey in enumerate((0, 51, 102, 153, 255)):
        top, left = 1 + (i // 3) * 3, 1 + (i % 3) * 4
        np.testing.assert_array_equal(picture[top : top + 2, left : left + 3], grey)
    np.testing.assert_array_equal(picture[0], 255)


def test_grids_of_colour_and_enlarged():
    images = np.zeros((2, 3, 4, 4, 3))
    images[1, 2] = [1.0, 0.0, 0.5]
    picture = np.asarray(plotting.image_grid(images, scale=2))
    assert picture.shape == (22, 32, 3)
    np.testing.assert_array_equal(picture[-3, -3], [255, 0, 128])


def test_columns_of_a_grid_can_be_others():
    images = np.linspace(0, 1, 6).reshape(2, 3, 1, 1)[..., np.newaxis, np.newaxis]
    wide, narrow = (plotting.image_grid(images[..., 0], columns, 1) for columns in (None, 2))
    assert (wide.size, narrow.size) == ((7, 5), (5, 7))
    assert np.asarray(narrow)[1::2, 1::2].tolist() == [[0, 51], [102, 153], [204, 255]]


@pytest.mark.parametrize("kind", ["uint8", "int64"])
def test_whole_numbers_are_grey_levels(tmp_path, kind):
    levels = np.arange(256).reshape(1, 16, 16).astype(kind)
    picture = np.asarray(plotting.image_grid(levels, scale=1, gap=0))
    np.testing.assert_array_equal(picture, levels[0])
    (file,) = plotting.save_separately(tmp_path, levels)
    np.testing.assert_array_equal(Image.open(file), levels[0])
    for most in (2, 17, 256):
        whole = np.arange(most).astype(kind)
        np.testing.assert_allclose(plotting.in_grey_levels(whole, most), whole / (most - 1))
    picture = plotting.samples_picture(levels % 17, levels=17)
    assert sorted(set(np.asarray(picture).flat)) == [round(255 * k / 16) for k in range(17)]
    np.testing.assert_array_equal(plotting.in_grey_levels(np.array([0, 500]), 501), [0, 1])
    bools = plotting.image_grid(levels > 99, scale=1, gap=0)
    np.testing.assert_array_equal(bools, np.where(levels[0] > 99, 255, 0))


@pytest.mark.parametrize("shape", [(3,), (2, 4), (0, 8, 8), (2, 8, 8, 5, 2)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match="`images` must be"):
        plotting.image_grid(np.zeros(shape))


def test_files_are_written(tmp_path):
    assert plotting.save_grid(tmp_path / "grid.png", np.zeros((4, 8, 8))).is_file()
    points = np.random.default_rng(0).normal(size=(50, 2))
    assert Image.open(plotting.save_samples(tmp_path / "points.png", points)).size[0] > 300
    assert plotting.save_samples(tmp_path / "none.png", np.zeros((5, 3))) is None
    assert not (tmp_path / "none.png").exists()


def test_samples_are_drawn_in_the_grey_levels_of_their_data():
    samples = np.float32([[0.0, 0.24], [0.26, 0.49], [0.51, 1.2]]).reshape(1, 3, 2)
    two = np.asarray(plotting.samples_picture(samples, levels=2))
    assert set(np.unique(two)) == {0, 255}
    assert (two < 255).mean() > 0.1
    three = plotting.samples_picture(np.full((1, 16, 16), 0.4), levels=3)
    assert set(np.unique(three)) == {128, 255}
