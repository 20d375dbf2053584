"""Data sets by name: the digits, image sets of TensorFlow Datasets, and benchmark tables."""

import contextlib
import difflib
import importlib.util
import os
import pathlib
import re
import socket
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfnvp.data.benchmark_tables import BENCHMARK_TABLES, load_benchmark_table
from tfnvp.data.digits import LEVELS, load_digits
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.foreign_files import check_values, reading, whole_records
from tfnvp.data.splits import Splits, split_at_random


class ImageSet(NamedTuple):
    """How an image set of TensorFlow Datasets is divided and prepared.

    Args:
      tfds_name: its name there, with the configuration.
      train: split of the training images, in TFDS's notation.
      validation: split of the validation images.
      test: split of the test images.
      prepare: from one image to one of the size that the flow is for, or None.
      flip: whether the papers mirror training images at random.
    """

    tfds_name: str
    train: str
    validation: str
    test: str
    prepare: Callable | None = None
    flip: bool = False


def _celeba_crop(image):
    """Real NVP's crop of aligned CelebA faces, 64 x 64."""
    return _resize(image[40:188, 15:163], (64, 64))


def _lsun_crop(image):
    """Short side to 96 pixels, then a random 64 x 64 crop (also for evaluation, as published)."""
    import tensorflow as tf

    size = tf.cast(tf.shape(image)[:2], tf.float32)
    size = tf.cast(tf.round(size * (96.0 / tf.reduce_min(size))), tf.int32)
    # Always the same crop of an image, so that a resumed training sees the same data.
    seed = tf.stack([0, tf.reduce_sum(tf.cast(image, tf.int32))])
    return tf.image.stateless_random_crop(_resize(image, size), (64, 64, 3), seed)


def _face_crop(image):
    """The middle of an LFW picture, 32 x 32."""
    import tensorflow as tf

    return _resize(tf.image.central_crop(image, 0.5), (32, 32))


def _resize(image, size):
    import tensorflow as tf

    # Rounded to whole levels: likelihoods are those of 8-bit pixels.
    return tf.saturate_cast(tf.round(tf.image.resize(image, size, antialias=True)), tf.uint8)


def _first_held_out(tfds_name, rows, *preparation):
    """Returns an image set whose first training images are for validation."""
    train, validation = f"train[{rows}:]", f"train[:{rows}]"
    return ImageSet(tfds_name, train, validation, "validation", *preparation)


IMAGE_SETS = {
    "mnist": ImageSet("mnist", "train[:50000]", "train[50000:]", "test"),
    "fashion_mnist": ImageSet("fashion_mnist", "train[:50000]", "train[50000:]", "test"),
    "svhn_cropped": ImageSet("svhn_cropped", "train[:68257]", "train[68257:]", "test"),
    "cifar10": ImageSet("cifar10", "train[:45000]", "train[45000:]", "test", flip=True),
    "celeb_a": ImageSet("celeb_a", "train", "validation", "test", _celeba_crop, True),
    "lsun_bedroom": _first_held_out("lsun/bedroom", 1000, _lsun_crop, True),
    "lsun_tower": _first_held_out("lsun/tower", 1000, _lsun_crop, True),
    "lsun_church": _first_held_out("lsun/church_outdoor", 1000, _lsun_crop, True),
    "imagenet32": _first_held_out("downsampled_imagenet/32x32", 5000),
    "imagenet64": _first_held_out("downsampled_imagenet/64x64", 5000),
    "lfw": ImageSet("lfw", "train[:80%]", "train[80%:90%]", "train[90%:]", _face_crop, True),
}


#: Names of data sets that have a recipe, or a way of their own to be divided.
KNOWN = ("digits", *IMAGE_SETS, *BENCHMARK_TABLES)


def load_named(
    name: str, data_dir: str | pathlib.Path | None = None, division: str | None = BY_CONTENT
) -> Splits:
    """Loads a data set by its name.

    Args:
      name: "digits", which needs no download, a name in `IMAGE_SETS`, any image set that
        TensorFlow Datasets has prepared in `data_dir` (divided 80/10/10), or one of the tables of
        `load_benchmark_table`.
      data_dir: folder of prepared data sets. Default: TFDS_DATA_DIR, or TFDS's own default; tables
        need it.
      division: as for `split_at_random`, of image sets without a division of their own.

    Returns:
      `Splits` of whole grey levels, or of the rows of a table.

    Raises:
      ValueError: if there is no such data set, or it is not prepared and cannot be downloaded.
    """
    if name == "digits":
        digits = load_digits()
        return Splits(name, digits.train, digits.validation, digits.test, LEVELS)
    require_named(name, data_dir)
    if name in BENCHMARK_TABLES:
        return load_benchmark_table(name, data_dir)
    image_set = IMAGE_SETS.get(name)
    builder = _builder(image_set.tfds_name if image_set else name, name, data_dir)
    if image_set is None:
        return split_at_random(name, _images(builder, "all", None), 256, division=division)
    splits = (image_set.train, image_set.validation, image_set.test)
    parts = [_images(builder, split, image_set.prepare) for split in splits]
    return Splits(name, *parts, 256, image_set.flip)


def require_named(name: str, data_dir: str | pathlib.Path | None = None) -> None:
    """Raises `ValueError` where it is sure, without TensorFlow, that a name names no data.

    That is so for a table of which the folder is missing, and for a name that is unknown here, is
    not prepared in the folder, and names no file of TensorFlow Datasets.

    Args:
      name: as for `load_named`.
      data_dir: as for `load_named`.
    """
    if name in BENCHMARK_TABLES and data_dir is None:
        file = BENCHMARK_TABLES[name][0]
        raise ValueError(f"{name!r} needs the folder that holds {file}: give `data_dir`")
    folder, stem = data_dir or os.environ.get("TFDS_DATA_DIR"), re.split("[:/]", name)[0]
    if name in KNOWN or pathlib.Path(folder or _DEFAULT_FOLDER, stem).exists():
        return
    package = importlib.util.find_spec("tensorflow_datasets").submodule_search_locations[0]
    if not re.fullmatch(_TFDS_NAME, name) or not any(
        stem == file.partition(".")[0]
        for _, folders, files in os.walk(package)
        for file in (*folders, *files)
    ):
        raise _unknown(name, folder)


def _unknown(name, folder):
    near = [f"did you mean {n}? " for n in difflib.get_close_matches(name, KNOWN, n=1)]
    return ValueError(
        f"unknown data set {name!r}: {''.join(near)}Choose one of {', '.join(KNOWN)}, one that "
        f"is prepared in {folder or 'the default data folder'}, or a folder of `images`"
    )


# In TensorFlow Datasets: a name, its configuration and version. A namespace, such as that of
# "huggingface:mnist", or arguments would run other code.
_TFDS_NAME = r"\w+(/\w[\w.+-]*)?(:[\d.]+)?"
_DEFAULT_FOLDER = pathlib.Path.home() / "tensorflow_datasets"


def _builder(tfds_name, name, data_dir):
    import tensorflow_datasets as tfds

    from tfnvp._internals import only_known_features

    folder = data_dir or os.environ.get("TFDS_DATA_DIR")
    builder = None
    if re.fullmatch(_TFDS_NAME, tfds_name):
        with (
            reading(f"data set {name!r} in {folder}", "images"),
            contextlib.suppress(tfds.core.DatasetNotFoundError),
            only_known_features(),
        ):
            files = pathlib.Path(folder or "", re.split("[:/]", tfds_name)[0]).rglob("*")
            if folder and not all(file.is_file() or file.is_dir() for file in files):
                raise ValueError("not all of its files are regular")  # A pipe waits for ever.
            builder = tfds.builder(tfds_name, data_dir=folder)
            features = builder.info.features
            if "image" not in features or not _holds_images(features["image"]):
                raise ValueError("it has no images")
    if builder is None:
        raise _unknown(name, folder)
    if not (pathlib.Path(builder.data_path) / "dataset_info.json").is_file():
        _require_network(name, tfds_name, builder)
        builder.download_and_prepare()
    with reading(builder.data_path, "a prepared data set"):
        if builder.info.file_format.value != "tfrecord":
            raise ValueError(f"it holds no TFRecord but {builder.info.file_format.value}")
        for split in builder.info.splits.values():
            for file in split.filepaths:
                whole_records(file)
    return builder


def _require_network(name, tfds_name, builder):
    """Raises at once without a network; TensorFlow Datasets would try for minutes."""
    downloads = pathlib.Path(builder.data_path).parents[1] / "downloads"
    if downloads.is_dir() and any(downloads.iterdir()):
        return
    try:
        socket.create_connection(("storage.googleapis.com", 443), timeout=3).close()
    except OSError:
        raise ValueError(
            f"data set {name!r} is not prepared in {builder.data_path}, and there is no network. "
            'Prepare it where there is one, by `python -c "import tensorflow_datasets as t; '
            f"t.builder('{tfds_name}', data_dir='data').download_and_prepare()\"`, and give a copy "
            "of the folder as `data_dir`. The data set 'digits' works without a network"
        ) from None


def _holds_images(feature):
    import tensorflow_datasets as tfds

    # Other features can unpack to any size before their shape is known.
    return isinstance(feature, tfds.features.Image)


def _decoded(builder, split):
    """Returns a data set of the images of a split, whose headers say that they fit into memory."""
    import tensorflow as tf
    from tensorflow_datasets import decode

    feature = builder.info.features["image"]
    only = decode.PartialDecoding({"image": feature}, {"image": decode.SkipDecoding()})
    files = builder.as_dataset(split=split, decoders=only).map(lambda example: example["image"])
    files = files.cache()  # Read once, for the headers and the images.
    pixels = (
        files.map(_pixels, tf.data.AUTOTUNE)
        .batch(512)
        .reduce(np.float64(0.0), lambda total, some: total + tf.reduce_sum(some))
    )
    check_values((feature.shape[-1] or 4) * int(pixels), pathlib.Path(builder.data_path))
    return files.map(feature.decode_example, tf.data.AUTOTUNE)


def _pixels(file):
    """Returns the number of pixels of a PNG or JPEG file, from its header."""
    import tensorflow as tf

    def of_png():
        return tf.io.decode_raw(tf.strings.substr(file, 16, 8), tf.int32, little_endian=False)

    is_png = tf.strings.substr(file, 0, 4) == b"\x89PNG"
    size = tf.cond(is_png, of_png, lambda: tf.image.extract_jpeg_shape(file)[:2])
    # As a float, since a false header can name a number beyond all integers.
    return tf.reduce_prod(tf.cast(size, tf.float64))


def _images(builder, split, prepare):
    import tensorflow as tf

    with reading(builder.data_path, "a prepared data set"):
        dataset = _decoded(builder, split)
        if prepare is not None:
            dataset = dataset.map(prepare, tf.data.AUTOTUNE)
        images = np.concatenate(list(dataset.batch(512).as_numpy_iterator()))
    if images.dtype != np.uint8:
        raise ValueError(f"{builder.data_path} must hold images in uint8. Received: {images.dtype}")
    return images if images.ndim == 4 else images[..., np.newaxis]
