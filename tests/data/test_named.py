import json
import os
import pathlib
import socket

import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from tfnvp import data
from tfnvp.data import named

FEATURES = "tensorflow_datasets.core.features."


def write_prepared(folder, images, files=None):
    """Writes images as a data set of TensorFlow Datasets, and returns its folder.

    With `files`, these bytes are written in their place.
    """
    folder = folder / "small" / "1.0.0"
    folder.mkdir(parents=True)
    parts = {
        "image": {
            "pythonClassName": f"{FEATURES}image_feature.Image",
            "image": {"dtype": "uint8", "shape": {"dimensions": list(images.shape[1:])}},
        }
    }
    features = {
        "pythonClassName": f"{FEATURES}features_dict.FeaturesDict",
        "featuresDict": {"features": parts},
    }
    (folder / "features.json").write_text(json.dumps(features))
    split = {
        "name": "train",
        "numBytes": "1",
        "shardLengths": [len(images)],
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    }
    info = {"name": "small", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    file = folder / "small-train.tfrecord-00000-of-00001"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for content in files or [tf.io.encode_png(image).numpy() for image in images]:
            content = tf.train.BytesList(value=[content])
            feature = {"image": tf.train.Feature(bytes_list=content)}
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return folder


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


@pytest.fixture
def prepared(tmp_path):
    return write_prepared(tmp_path, np.zeros((10, 4, 4, 1), "uint8"))


# As TensorFlow Datasets writes the name of a class, as its protos and older versions may, and
# within a text.
NAMING = {
    "pythonClassName": '{"pythonClassName": "evil_features.X"}',
    "python_class_name": '{"python_class_name": "evil_features.X"}',
    "type": '{"type": "evil_features.X", "content": {}}',
    "text": json.dumps(
        {
            "type": f"{FEATURES}features_dict.FeaturesDict",
            "proto_cls": "tensorflow_datasets.FeaturesDict",
            "content": '{"features": {"image": {"pythonClassName": "evil_features.X"}}}',
        }
    ),
}


@pytest.mark.parametrize("features", NAMING.values(), ids=NAMING)
def test_classes_that_a_folder_names_are_not_imported(tmp_path, prepared, monkeypatch, features):
    assert data.load_named("small", tmp_path).event_shape == (4, 4, 1)
    (tmp_path / "evil_features.py").write_text("raise SystemExit('foreign code runs')")
    monkeypatch.syspath_prepend(tmp_path)
    (prepared / "features.json").write_text(features)
    with pytest.raises(ValueError, match=r"unknown class of features 'evil_features\.X'"):
        data.load_named("small", tmp_path)


def test_images_are_read_without_a_generator(tmp_path, prepared, monkeypatch):
    # A data set of a generator makes all later tensors of the process slow to allocate.
    monkeypatch.setattr(tf.data.Dataset, "from_generator", None)
    assert len(data.load_named("small", tmp_path).train)


@pytest.mark.parametrize(
    "name", ["huggingface:small", "kaggle:small", "small/../small", "../small", "small/a=1", ""]
)
def test_names_are_plain(tmp_path, prepared, name):
    with pytest.raises(ValueError, match=f"unknown data set '{name}'"):
        data.load_named(name, tmp_path)


@pytest.mark.parametrize("info", ["[1]", "{}", "{", "null", "[" * 100_000, '{"name": 3}'])
def test_damaged_descriptions_of_data_sets_are_named(tmp_path, prepared, info):
    (prepared / "dataset_info.json").write_text(info)
    with pytest.raises(ValueError, match=r"data set 'small' in .* cannot be read as images"):
        data.load_named("small", tmp_path)


def test_damaged_records_of_data_sets_are_named(tmp_path, prepared):
    (file,) = prepared.glob("small-train*")
    content = file.read_bytes()
    file.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
    with pytest.raises(ValueError, match=r"small/1\.0\.0 cannot be read as a prepared data set"):
        data.load_named("small", tmp_path)
    file.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=f"{file.name} is broken after 9 of its records"):
        data.load_named("small", tmp_path)
    info = prepared / "dataset_info.json"
    info.write_text(info.read_text().replace("tfrecord", "riegeli"))
    with pytest.raises(ValueError, match="no TFRecord but riegeli"):
        data.load_named("small", tmp_path)
