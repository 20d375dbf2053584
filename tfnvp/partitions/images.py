"""How couplings divide images `[height, width, channels]`: by pixels or by channels."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.partitions.base import OfLastAxis, Partition
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
        event_shape = _image_shape(self, event_shape)
        passes = self._passes(event_shape)
        if passes.size < 2:
            raise ValueError(f"{self} needs two pixels or more. Received: image of {event_shape}")
        return event_shape, (int(np.sum(~passes)), event_shape[2])

    def parameters_shape(self, event_shape: Any) -> tuple:
        return self.shapes(event_shape)[0]

    def split(self, x: tf.Tensor) -> tuple:
        passes = self._passes(x.shape[-3:])
        return tf.where(passes[:, :, None], x, tf.zeros([], x.dtype)), self.select_moved(x)

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        passes = self._passes(passed.shape[-3:])
        order, passed_pixels = _passed_first(passes)
        no_padding = [[0, 0]] * (moved.shape.rank - 2)
        pixels = tf.pad(moved, [*no_padding, [passed_pixels, 0], [0, 0]])
        pixels = permute(pixels, np.argsort(order), axis=-2)
        image = reshape_event(pixels, 2, passed.shape[-3:])
        return tf.where(passes[:, :, None], passed, image)

    def select_moved(self, parameters: Any) -> tf.Tensor:
        order, passed_pixels = _passed_first(self._passes(parameters.shape[-3:]))
        pixels = reshape_event(parameters, 3, (len(order), parameters.shape[-1]))
        pixels = permute(pixels, order, axis=-2)
        return tf.split(pixels, [passed_pixels, len(order) - passed_pixels], axis=-2)[1]

    def _passes(self, event_shape):
        """Returns `[height, width]`, whether a pixel passes."""
        height, width, _ = _image_shape(self, event_shape)
        return np.add.outer(np.arange(height), np.arange(width)) % 2 == self.parity


def _passed_first(passes):
    """Returns the order of flat pixels that puts the passed ones first, and their number."""
    passed, moved = np.flatnonzero(passes), np.flatnonzero(~passes)
    return np.concatenate([passed, moved]), len(passed)


class Channels(OfLastAxis):
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

    def _sizes(self, event_shape):
        return super()._sizes(_image_shape(self, event_shape))


def _image_shape(partition, shape):
    """Returns `(height, width, channels)`, or raises where these are not known."""
    shape = tf.TensorShape(shape)
    if shape.rank != 3 or not shape.is_fully_defined():
        raise ValueError(
            f"{partition} divides images of known (height, width, channels). Received: {shape}"
        )
    return tuple(shape.as_list())
