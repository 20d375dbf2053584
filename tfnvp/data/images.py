"""Folders of images: read whole or in pieces."""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tfnvp.advice import warn_of_images
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.image_files import image_files
from tfnvp.data.pixels import ImageReader, is_grey
from tfnvp.data.splits import Splits, split_at_random

_LEVELS = tuple(2**bits for bits in range(1, 9))

# Images of a piece.
_ROWS = 512

# What is done to images, in the order in which it is said.
DONE = {
    "unreadable": "cannot be read, and are left out",
    "too small": "are smaller than {size}, and are left out",
    "small": "are smaller than {size}, and are enlarged; `skip_bad` leaves them out",
    "resized": "are of another size, and are cropped and resized to {size}",
    "frames": "hold several frames or pages, of which the first is read",
    "deep": "have 16 bits a channel, of which the upper 8 are read",
    "transparent": "are transparent, and lie on `background={background}`",
    "profile": "have a colour profile of their own, and are converted to sRGB",
    "grey": "are grey, and become colour images",
    "colour": "are in colour, and become grey",
    "repeated": "have the same pixels as an image before them",
    "two-valued": "are only black and white, among {levels} levels: give `levels=2`",
}


class ImageFolder:
    """The images in a folder and its sub-folders, all of one shape.

    Warnings count the images that are changed or left out.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it. Default: as they
        are, all of the same size.
      skip_bad: bool, leave out images that cannot be read, or are smaller than `size`.
      levels: int, at most 256; the number of grey levels to which the 256 of a file are reduced.
      background: "white", "black" or "#rrggbb", the colour behind transparent pixels.
      follow_links: bool, also look into folders that are symbolic links.
      event_shape: `(height, width)` with or without channels, 1 or 3: the shape of a flow's data,
        to which images are cropped, resized and converted. Default: by `size`; and in colour,
        unless all are grey.

    Attributes:
      files: paths of the images, in order.
      names: after reading, the paths of the images that were read, within the folder.

    Raises:
      ValueError: if there is no folder, or no image in it; for another value of an argument.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("a.png", "b.png"):
    ...     Image.new("L", (6, 8), ord(name[0])).save(folder / name)
    >>> images = ImageFolder(folder, size=4)
    >>> images.rows().shape, images.names
    ((2, 4, 4, 1), ['a.png', 'b.png'])
    """

    def __init__(
        self,
        folder: str | pathlib.Path,
        size: int | None = None,
        skip_bad: bool = False,
        levels: int = 256,
        background: str = "white",
        follow_links: bool = False,
        event_shape: tuple[int, ...] | None = None,
    ):
        if not 2 <= levels <= 256:
            raise ValueError(f"`levels` must be from 2 to 256. Received: {levels}")
        self.folder, self.size, self.skip_bad = pathlib.Path(folder), size, skip_bad
        self.levels, self.event_shape = levels, event_shape
        shape, channels = (None if size is None else (size, size)), None
        if event_shape is not None:
            shape, channels = _size_and_channels(event_shape, shape)
        self._reader = ImageReader(shape, channels, background)
        self.files = image_files(self.folder, follow_links)
        self.names: list[str] = []
        self._total, self._done = len(self.files), collections.defaultdict(list)
        if channels is None:
            channels = 3 if False in _in_parallel(is_grey, self.files) else 1
            self._reader = dataclasses.replace(self._reader, channels=channels)

    def rows(self) -> np.ndarray:
        """Reads all images, as one array.

        Returns:
          uint8 `[n, *event_shape]`, from 0 to `levels - 1`.

        Raises:
          ValueError: if an image cannot be read, or none is left; if sizes differ and there is
            neither `size` nor `event_shape`.
        """
        rows = np.concatenate(list(self.chunks()))
        seen: set[bytes] = set()
        for name, row in zip(self.names, rows, strict=True):
            checksum = hashlib.blake2b(row.tobytes(), digest_size=16).digest()
            if checksum in seen:
                self._done["repeated"].append(name)
            seen.add(checksum)
        self._say()
        return rows

    def chunks(self) -> Iterator[np.ndarray]:
        """Reads the images in pieces, several files at a time; each piece as `rows`."""
        self.names, shapes, is_two_valued = [], set(), True
        for first in range(0, len(self.files), _ROWS):
            files = self.files[first : first + _ROWS]
            images = [i for i in self._noted(files, self._read) if i is not None]
            if images:
                stacked = self._stacked(images, shapes)
                is_two_valued &= not ((stacked > 0) & (stacked < 255)).any()
                yield self._in_levels(stacked)
        self._require(self.names)
        if is_two_valued and self.levels > 2 and self.event_shape is None:
            self._done["two-valued"] = self.names
        self._say()

    def check(self) -> None:
        """Reads all images once, and leaves the bad ones out of `files`."""

        def read(file):
            image, done = self._read(file)
            return (None, done) if image is None else (file, ())

        self.files = [file for file in self._noted(self.files, read) if file is not None]
        self._require(self.files)
        self._say()

    def _read(self, file):
        """Returns an image, or None to leave it out, and what was done."""
        try:
            image, done = self._reader.read(file)
        except ValueError:
            if not self.skip_bad:
                raise
            return None, ["unreadable"]
        return (None, ["too small"]) if self.skip_bad and "small" in done else (image, done)

    def _noted(self, files, read):
        """Yields what a function returns of each file, and notes what was done and the names."""
        for file, (item, done) in zip(files, _in_parallel(read, files), strict=True):
            name = str(file.relative_to(self.folder))
            for what in done:
                self._done[what].append(name)
            if item is not None:
                self.names.append(name)
            yield item

    def _require(self, files):
        if not files:
            small = " or smaller than `size`" if "too small" in self._done else ""
            raise ValueError(
                f"no readable images in {self.folder}: all {self._total} are damaged{small}"
            )

    def _stacked(self, images, shapes):
        """Stacks images of one shape, which is also that of those before: `shapes` is updated."""
        shapes.update(image.shape for image in images)
        if len(shapes) > 1:
            raise ValueError(
                f"the images in {self.folder} differ in size: give `size`. Received: "
                f"{sorted(shapes)}"
            )
        return np.stack(images)

    def _in_levels(self, images):
        """Returns images of 256 grey levels in those of the folder, and in the flow's shape."""
        if self.levels < 256:
            images = (images.astype("uint16") * self.levels // 256).astype("uint8")
        return images.reshape(len(images), *(self.event_shape or images.shape[1:]))

    def _say(self):
        """Warns of what was done since it last warned."""
        if self.size is not None:  # As the user has asked.
            self._done.pop("resized", None)
        size = " x ".join(map(str, self._reader.size or ()))
        words = {"background": self._reader.background, "levels": self.levels, "size": size}
        done = {text.format(**words): self._done[what] for what, text in DONE.items()}
        done = {text: names for text, names in done.items() if names}
        warn_of_images(f"images in {self.folder}", self._total, done)
        self._done.clear()


def load_images(
    folder: str | pathlib.Path,
    size: int | None = None,
    skip_bad: bool = False,
    levels: int = 256,
    *,
    division: str | None = BY_CONTENT,
    **how: Any,
) -> Splits:
    """Reads a folder of images, and its sub-folders, and divides it at random.

    Images are read upright, as their Exif data say, in formats PNG, JPEG, BMP, WebP, TIFF and GIF.
    Warnings count what is changed or left out: images with transparency, of 16 bits, with several
    frames, with a colour profile (converted to sRGB), smaller than `size`, grey among colours,
    repeated, damaged; and files of other types.

    Args:
      folder: path of the folder.
      size: as for `ImageFolder`.
      skip_bad: as for `ImageFolder`.
      levels: int, a power of two, to which the 256 grey levels of a file are reduced: 2 for black
        and white images. With `event_shape`, any number from 2.
      division: as for `split_at_random`.
      **how: `background`, `follow_links` and `event_shape`, as for `ImageFolder`.

    Returns:
      `Splits` of `[n, H, W, 3]` (or 1, if all are grey), with `levels`.

    Raises:
      ValueError: if there are no images, one cannot be read, or sizes differ and `size` is None;
        for another number of levels; and for fewer than ten images.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for i in range(10):
    ...     Image.new("RGB", (6, 8), (i, 0, 0)).save(folder / f"{i}.png")
    >>> load_images(folder, size=4).train.shape
    (8, 4, 4, 3)
    """
    if how.get("event_shape") is None:
        _check_levels(levels)
    images = ImageFolder(folder, size, skip_bad, levels, **how)
    return split_at_random(folder_name(folder), images.rows(), levels, division=division)


def folder_name(folder: str | pathlib.Path) -> str:
    """Returns what the data set of a folder is called, also for "." and ".."; links keep theirs."""
    return os.path.basename(os.path.abspath(folder))


def image_chunks(
    folder: str | pathlib.Path,
    size: int | None = None,
    levels: int = 256,
    skip_bad: bool = False,
    background: str = "white",
    follow_links: bool = False,
) -> tuple[Iterator[np.ndarray], int]:
    """Reads a folder of images, and its sub-folders, in pieces; several files at a time.

    The images and the warnings are those of `load_images`, but that repeated images are not
    counted: pieces are forgotten once they are read.

    Args:
      folder: path of the folder.
      size: as for `load_images`.
      levels: as for `load_images`.
      skip_bad: as for `load_images`. Each image is then read twice.
      background: as for `load_images`.
      follow_links: as for `load_images`.

    Returns:
      `(chunks, count)`: an iterator over uint8 arrays `[n, H, W, channels]`, and the number of
      images. There is one channel if all images are grey.

    Raises:
      ValueError: if there are no images, or for another number of levels; from the iterator, if an
        image cannot be read or differs in size.
    """
    _check_levels(levels)
    images = ImageFolder(folder, size, skip_bad, levels, background, follow_links)
    if skip_bad:
        images.check()
    return images.chunks(), len(images.files)


def _check_levels(levels):
    """Raises `ValueError` for a number of levels that does not divide 256 evenly."""
    if levels not in _LEVELS:
        known = ", ".join(map(str, _LEVELS))
        raise ValueError(f"`levels` of images in files must be one of {known}. Received: {levels}")


def _size_and_channels(event_shape, size):
    """Returns the size and channels of a flow's images; a given size must be the same."""
    channels = 1 if len(event_shape) == 2 else event_shape[-1]
    if len(event_shape) not in (2, 3) or channels not in (1, 3):
        raise ValueError(
            "`event_shape` of images must be (height, width), with or without channels, 1 or 3. "
            f"Received: {event_shape}"
        )
    if size not in (None, event_shape[:2]):
        raise ValueError(
            f"`size` of images for a flow of {event_shape[0]} x {event_shape[1]} pixels must be "
            f"that or left out. Received: {size[0]}"
        )
    return event_shape[:2], channels


def _in_parallel(function, items):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))
