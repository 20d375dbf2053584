"""How couplings divide images `[height, width, channels]`: by pixels or by channels."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.partitions.base import Partition
from tfnvp.partitions.gather import permute, reshape_event


class Checkerboard(Partition):
    """Pixels whose row and column add up to an odd number pass, the others move.

    ::

        b = 0 1 0 1     passed: the image with zeros where b = 0, [height, width, channels]
            1 0 1 0     moved:  the pixels where b = 0, row by row, [pixels, channels]
            0 1 0 1

    The passed part stays an image, because convolutions need one; a conditioner gives its
    parameters for every pixel as well, and only those at the moved pixels count. The moved part
    holds only the moved variables. Any height and width, odd ones too.

    Args:
      swapped: with True, the pixels whose row and column add up to an even number pass.

    Raises:
      ValueError: (from `shapes`) for events that are not images of two pixels or more.

    >>> import tensorflow as tf
    >>> passed, moved = Checkerboard().split(tf.reshape(tf.range(1, 7), [2, 3, 1]))
    >>> passed[:, :, 0].numpy().tolist(), moved[:, 0].numpy().tolist()
    ([[0, 2, 0], [4, 0, 6]], [1, 3, 5])

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.4 and figure 3. The
    authors' released code starts with the swapped pattern.
    """

    event_ndims = 3

    @property
    def parity(self) -> int:
        """The row and column of a passed pixel add up to this, modulo 2."""
        return 0 if self.swapped else 1

    def shapes(self, event_shape: Any) -> tuple:
        height, width, channels = _image_shape(self, event_shape)
        if height * width < 2:
            raise ValueError(
                f"{self} needs an image of two pixels or more. Received: event_shape="
                f"{tuple(event_shape)}"
            )
        pixels = int(np.sum(~self._passes(height, width)))
        return (height, width, channels), (pixels, channels)

    def parameters_shape(self, event_shape: Any) -> tuple:
        return self.shapes(event_shape)[0]

    def split(self, x: tf.Tensor) -> tuple:
        passes = self._passes(*_image_shape(self, x.shape[-3:])[:2])
        return tf.where(passes[:, :, None], x, tf.zeros([], x.dtype)), self.select_moved(x)

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        image_shape = _image_shape(self, passed.shape[-3:])
        passes = self._passes(*image_shape[:2])
        order, passed_pixels = _passed_first(passes)
        no_padding = [[0, 0]] * (moved.shape.rank - 2)
        pixels = tf.pad(moved, [*no_padding, [passed_pixels, 0], [0, 0]])
        image = reshape_event(permute(pixels, np.argsort(order), axis=-2), 2, image_shape)
        return tf.where(passes[:, :, None], passed, image)

    def select_moved(self, parameters: Any) -> tf.Tensor:
        height, width, channels = _image_shape(self, parameters.shape[-3:])
        order, passed_pixels = _passed_first(self._passes(height, width))
        pixels = permute(reshape_event(parameters, 3, (height * width, channels)), order, axis=-2)
        return tf.split(pixels, [passed_pixels, len(order) - passed_pixels], axis=-2)[1]

    def _passes(self, height, width):
        return np.add.outer(np.arange(height), np.arange(width)) % 2 == self.parity


def _passed_first(passes):
    """Returns the order of flat pixels that puts the passed ones first, and their number."""
    passed, moved = np.flatnonzero(passes), np.flatnonzero(~passes)
    return np.concatenate([passed, moved]), len(passed)


class Channels(Partition):
    """The first half of an image's channels pass, the others move.

    Of an odd number of channels, one more passes than moves.

    Args:
      swapped: with True, the first half moves.

    Raises:
      ValueError: (from `shapes`) for events that are not images of two channels or more.

    >>> import tensorflow as tf
    >>> passed, moved = Channels().split(tf.reshape(tf.range(4), [1, 1, 4]))
    >>> passed.numpy().tolist(), moved.numpy().tolist()
    ([[[0, 1]]], [[[2, 3]]])

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.4 and figure 3.
    """

    event_ndims = 3

    def shapes(self, event_shape: Any) -> tuple:
        height, width, channels = _image_shape(self, event_shape)
        if channels < 2:
            raise ValueError(
                f"{self} needs an image of two channels or more. Received: event_shape="
                f"{tuple(event_shape)}"
            )
        sizes = _halves(channels)
        return self._order(*((height, width, size) for size in sizes))

    def split(self, x: tf.Tensor) -> tuple:
        return self._order(*tf.split(x, _halves(_image_shape(self, x.shape[-3:])[2]), axis=-1))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        return tf.concat(self._order(passed, moved), axis=-1)


def _halves(channels):
    return [channels - channels // 2, channels // 2]


def _image_shape(partition, shape):
    """Returns `(height, width, channels)`, or raises where these are not known."""
    shape = tf.TensorShape(shape)
    if shape.rank != 3 or not shape.is_fully_defined():
        raise ValueError(
            f"{partition} divides images of a known shape (height, width, channels). "
            f"Received: events of shape {shape}"
        )
    return tuple(shape.as_list())
