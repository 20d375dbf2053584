"""Folders of images as data."""

import pathlib
import warnings

import numpy as np

from tfnvp.data.skipped import warn_of_skipped
from tfnvp.data.splits import split_at_random

_LEVELS = tuple(2**bits for bits in range(1, 9))
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def load_images(folder, size=None, skip_bad=False, levels=256):
    """Reads a folder of images, and its sub-folders, and divides it at random.

    Args:
      folder: path of the folder.
      size: as for `read_images`.
      skip_bad: as for `read_images`.
      levels: as for `read_images`.

    Returns:
      `Splits` of `[n, H, W, 3]` (or 1, if all are grey), with `levels`.

    Raises:
      ValueError: as `read_images`; and for fewer than ten images.
    """
    folder = pathlib.Path(folder)
    return split_at_random(folder.name, read_images(folder, size, skip_bad, levels), levels)


def read_images(folder, size=None, skip_bad=False, levels=256):
    """Reads a folder of images, and its sub-folders, as one array.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it. Default: as they
        are, all of the same size.
      skip_bad: bool, leave out images that cannot be read, with a warning that counts them.
      levels: int, a power of two: the 256 grey levels of a file become so many. Black and white
        images have 2.

    Returns:
      uint8 `[n, H, W, 3]` (or 1, if all are grey), from 0 to `levels - 1`.

    Raises:
      ValueError: if there are no images, one cannot be read, or sizes differ and `size` is None;
        for another number of levels.
    """
    check_levels_of_files(levels)
    folder = pathlib.Path(folder)
    files = image_files(folder)
    images, bad = [], []
    for file in files:
        try:
            images.append(read_image(file, size))
        except ValueError:
            if not skip_bad:
                raise
            bad.append(file)
    if not images:
        raise ValueError(f"no readable images in {folder}: all {len(bad)} are damaged")
    if bad:
        warn_of_skipped(len(bad), len(files), f"images in {folder}", bad[0].name)
    grey = sum(image.ndim == 2 for image in images)
    if 0 < grey < len(images):
        warnings.warn(
            f"{grey} of {len(images)} images in {folder} are grey: they become colour images, as "
            "the others are",
            stacklevel=2,
        )
    if grey < len(images):
        images = [i if i.ndim == 3 else np.repeat(i[..., np.newaxis], 3, axis=-1) for i in images]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"the images in {folder} differ in size: give --image-size. Received: {sorted(shapes)}"
        )
    stacked = np.stack(images)
    if levels > 2 and not ((stacked > 0) & (stacked < 255)).any():
        warnings.warn(
            f"the images in {folder} are black and white alone, and count as {levels} grey levels: "
            "`levels=2` (`tfnvp train --levels 2`) makes two of them",
            stacklevel=2,
        )
    return in_levels(stacked, levels)


def check_levels_of_files(levels):
    """Raises `ValueError` for a number of levels that 256 cannot be divided into evenly."""
    if levels not in _LEVELS:
        raise ValueError(
            f"`levels` of images in files must be one of {', '.join(map(str, _LEVELS))}. "
            f"Received: {levels!r}"
        )


def in_levels(images, levels):
    """Returns images `[n, H, W, ...]` of 256 grey levels as `[n, H, W, channels]` of fewer."""
    return images.reshape((*images.shape[:3], -1)) // np.uint8(256 // levels)


def image_files(folder):
    """Returns the images in a folder and its sub-folders, in order; there must be one."""
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not files:
        raise ValueError(f"no images in {folder}: looked for files that end in {_IMAGES}")
    return files


def read_image(file, size=None, mode=None):
    """Reads an image as uint8 `[H, W]` or `[H, W, 3]`; `mode` is "L", "RGB" or None, as it is."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image = image.convert(mode or ("L" if image.mode in ("1", "L", "I;16") else "RGB"))
            if size is not None:
                image = ImageOps.fit(image, (size, size))
            return np.asarray(image)
    # What Pillow raises for damaged files depends on their format.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is not a readable image: {error}") from error
