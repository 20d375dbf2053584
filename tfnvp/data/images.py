"""Folders of images: read whole or in pieces."""

import functools
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tfnvp.advice import warn_of_black_and_white, warn_of_grey_images, warn_of_skipped
from tfnvp.data.splits import Splits, split_at_random

_LEVELS = tuple(2**bits for bits in range(1, 9))
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")

# The formats that they are read in, whatever a file is named: others of Pillow run programs, such
# as Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")

# Most pixels of an image: some formats make gigabytes of a few kilobytes.
_PIXELS = 2**26

# Images of a piece.
_ROWS = 512


def load_images(
    folder: str | pathlib.Path, size: int | None = None, skip_bad: bool = False, levels: int = 256
) -> Splits:
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


def read_images(
    folder: str | pathlib.Path, size: int | None = None, skip_bad: bool = False, levels: int = 256
) -> np.ndarray:
    """Reads a folder of images, and its sub-folders, as one array.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it. Default: as they
        are, all of the same size.
      skip_bad: bool, leave out images that cannot be read, with a warning that counts them.
      levels: int, a power of two, to which the 256 grey levels of a file are reduced: 2 for black
        and white images.

    Returns:
      uint8 `[n, H, W, 3]` (or 1, if all are grey), from 0 to `levels - 1`.

    Raises:
      ValueError: if there are no images, one cannot be read, or sizes differ and `size` is None;
        for another number of levels.
    """
    _check_levels(levels)
    folder = pathlib.Path(folder)
    images = _read(_files(folder), functools.partial(read_image, size=size), folder, skip_bad)
    grey = sum(image.ndim == 2 for image in images)
    if 0 < grey < len(images):
        warn_of_grey_images(grey, len(images), folder)
        images = [i if i.ndim == 3 else np.repeat(i[..., np.newaxis], 3, axis=-1) for i in images]
    stacked = _stacked(images, folder, set())
    if levels > 2 and not ((stacked > 0) & (stacked < 255)).any():
        warn_of_black_and_white(folder, levels)
    return _in_levels(stacked, levels)


def image_chunks(
    folder: str | pathlib.Path, size: int | None = None, levels: int = 256, skip_bad: bool = False
) -> tuple[Iterator[np.ndarray], int]:
    """Reads a folder of images, and its sub-folders, in pieces; several files at a time.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it.
      levels: int, a power of two, to which the 256 grey levels of a file are reduced.
      skip_bad: bool, leave out images that cannot be read, with a warning that counts them. Each
        image is then read twice.

    Returns:
      `(chunks, count)`: an iterator over uint8 arrays `[n, H, W, channels]`, and the number of
      images. There is one channel if the first image is grey; the others are converted to that.

    Raises:
      ValueError: if there are no images, or for another number of levels; from the iterator, if an
        image cannot be read or differs in size.
    """
    _check_levels(levels)
    folder = pathlib.Path(folder)
    files = _files(folder)
    if skip_bad:
        files = _read(files, _checked, folder, skip_bad=True)
    mode = "L" if read_image(files[0], size).ndim == 2 else "RGB"
    read = functools.partial(read_image, size=size, mode=mode)

    def pieces():
        shapes = set()
        for first in range(0, len(files), _ROWS):
            images = _read(files[first : first + _ROWS], read, folder)
            yield _in_levels(_stacked(images, folder, shapes), levels)

    return pieces(), len(files)


def read_image(file: pathlib.Path, size: int | None = None, mode: str | None = None) -> np.ndarray:
    """Reads an image as uint8 `[H, W]` or `[H, W, 3]`; `mode` is "L", "RGB" or None, as it is."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file, formats=_FORMATS) as image:
            if image.width * image.height > _PIXELS:
                raise ValueError(f"{image.size} are more than {_PIXELS:,} pixels")
            image = image.convert(mode or ("L" if image.mode in ("1", "L", "I;16") else "RGB"))
            if size is not None:
                image = ImageOps.fit(image, (size, size))
            return np.asarray(image)
    except Exception as error:  # What Pillow raises for damaged files depends on their format.
        raise ValueError(f"{file} is not a readable image: {error}") from error


def _check_levels(levels):
    """Raises `ValueError` for a number of levels that does not divide 256 evenly."""
    if levels not in _LEVELS:
        known = ", ".join(map(str, _LEVELS))
        raise ValueError(f"`levels` of images in files must be one of {known}. Received: {levels}")


def _files(folder):
    """Returns the images in a folder and its sub-folders, in order; there must be one."""
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    # No pipes, which would wait for ever.
    named = (path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    files = sorted(path for path in named if path.is_file())
    if not files:
        raise ValueError(f"no images in {folder}: looked for files that end in {_IMAGES}")
    return files


def _read(files, read, folder, skip_bad=False):
    """Returns what a function reads of files, several at a time.

    With `skip_bad`, damaged files are left out, with a warning; one must be readable.
    """

    def attempt(file):
        try:
            return read(file)
        except ValueError:
            if not skip_bad:
                raise
            return None

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(attempt, files))
    bad = [file for file, item in zip(files, found, strict=True) if item is None]
    if len(bad) == len(files):
        raise ValueError(f"no readable images in {folder}: all {len(bad)} are damaged")
    if bad:
        warn_of_skipped(len(bad), len(files), f"images in {folder}", bad[0].name)
    return [item for item in found if item is not None]


def _checked(file):
    """Returns a file that can be read as an image."""
    read_image(file)
    return file


def _stacked(images, folder, shapes):
    """Stacks images of one shape, which is also that of those before: `shapes` is updated."""
    shapes.update(image.shape for image in images)
    if len(shapes) > 1:
        sizes = sorted(shapes)
        raise ValueError(f"the images in {folder} differ in size: give `size`. Received: {sizes}")
    return np.stack(images)


def _in_levels(images, levels):
    """Returns images `[n, H, W, ...]` of 256 grey levels as `[n, H, W, channels]` of fewer."""
    return images.reshape((*images.shape[:3], -1)) // np.uint8(256 // levels)
