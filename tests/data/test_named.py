import os
import pathlib
import socket

import numpy as np
import pytest
import sklearn.datasets

from tfnvp import data
from tfnvp.data import named

PREPARED = os.environ.get("TFDS_DATA_DIR")


@pytest.mark.skipif(not PREPARED, reason="TFDS_DATA_DIR names no prepared data sets")
@pytest.mark.parametrize(
    ("name", "shape", "rows"),
    [("cifar10_first4k", (32, 32, 3), None), ("olivetti_faces", (64, 64, 1), 400)],
)
def test_prepared_image_sets_are_read(name, shape, rows):
    if not (pathlib.Path(PREPARED) / name).is_dir():
        pytest.skip(f"{name} is not prepared in TFDS_DATA_DIR")
    splits = data.load_named(name)
    assert splits.event_shape == shape
    assert splits.train.dtype == np.uint8
    assert splits.levels == 256
    total = len(splits.train) + len(splits.validation) + len(splits.test)
    assert rows is None or total == rows


@pytest.mark.skipif(not PREPARED, reason="TFDS_DATA_DIR names no prepared data sets")
def test_mnist_is_divided_as_in_the_paper():
    if not (pathlib.Path(PREPARED) / "mnist").is_dir():
        pytest.skip("mnist is not prepared in TFDS_DATA_DIR")
    splits = data.load_named("mnist")
    assert [len(part) for part in splits[1:4]] == [50_000, 10_000, 10_000]
    assert splits.event_shape == (28, 28, 1)


def test_without_network_or_data_the_message_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ValueError, match=r"not prepared.*no network.*`data_dir`.*'digits' works"):
        data.load_named("cifar10", tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'nothing': Choose one of digits"):
        data.load_named("nothing", tmp_path)


def test_digits_are_split_as_documented():
    digits = data.load_digits()
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1293, 144, 360)
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    np.testing.assert_array_equal(digits.test.reshape(-1, 64), images[order[-360:]])
    np.testing.assert_array_equal(digits.test_labels, labels[order[-360:]])
    assert digits.train.dtype == np.uint8
    assert digits.train.max() == 16
    splits = data.load_named("digits")
    np.testing.assert_array_equal(splits.train, digits.train)
    assert (splits.levels, splits.event_shape) == (17, (8, 8))


def test_crops_have_the_sizes_of_the_papers():
    generator = np.random.default_rng(0)
    for prepare, shape, size in (
        (named._celeba_crop, (218, 178, 3), 64),
        (named._lsun_crop, (256, 341, 3), 64),
        (named._face_crop, (250, 250, 3), 32),
    ):
        image = generator.integers(0, 256, shape).astype("uint8")
        prepared = prepare(image)
        assert prepared.shape == (size, size, 3)
        assert prepared.dtype == np.uint8


def test_the_celeba_crop_is_that_of_the_released_code():
    image = np.zeros((218, 178, 3), "uint8")
    image[40:188, 15:163] = 200
    np.testing.assert_array_equal(named._celeba_crop(image), 200)
