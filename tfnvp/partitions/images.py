"""How couplings divide images `[height, width, channels]`: by pixels or by channels."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_one_of
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


class _Pairs(Partition):
    """Of each two pixels side by side one passes and one moves: both parts are smaller images."""

    event_ndims = 3
    # Axis along which pixels are paired, 0 for rows and 1 for columns.
    _axis = 1

    def shapes(self, event_shape: Any) -> tuple:
        sizes = list(_image_shape(self, event_shape))
        if sizes[self._axis] % 2:
            raise ValueError(
                f"{self} needs an even {('height', 'width')[self._axis]}. Received: image of "
                f"{tuple(sizes)}"
            )
        sizes[self._axis] //= 2
        return tuple(sizes), tuple(sizes)

    def split(self, x: tf.Tensor) -> tuple:
        sizes = list(self.shapes(x.shape[-3:])[0])
        pairs = reshape_event(x, 3, [*sizes[: self._axis + 1], 2, *sizes[self._axis + 1 :]])
        # Reshape and unstack, because the gradient of a strided slice is far slower.
        first, second = tf.unstack(pairs, axis=self._axis - 3)
        return self._order(*self._exchange(first, second))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        sizes = passed.shape[-3:].as_list()
        sizes[self._axis] *= 2
        pairs = self._exchange(*self._order(passed, moved))
        return reshape_event(tf.stack(pairs, axis=self._axis - 3), 4, sizes)

    def _exchange(self, first, second):
        """Brings the two pixels of a pair into the order of the parts, and back."""
        return first, second


class Stripes(_Pairs):
    """Rows (or columns) of pixels with even index pass, those with odd index move.

    Both parts are images of half the height (or width), so that a network sees no padded zeros.

    Args:
      direction: "horizontal" for stripes that are rows, "vertical" for stripes that are columns.
      swapped: with True, the stripes with odd index pass.

    Raises:
      ValueError: if `direction` is another; (from `shapes`) for events that are not images, or
        whose height (or width) is odd.

    >>> import tensorflow as tf
    >>> passed, moved = Stripes("vertical").split(tf.reshape(tf.range(8), [2, 4, 1]))
    >>> passed[:, :, 0].numpy().tolist(), moved[:, :, 0].numpy().tolist()
    ([[0, 2], [4, 6]], [[1, 3], [5, 7]])

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), where the pixels are patches.
    """

    def __init__(self, direction: str, swapped: bool = False):
        super().__init__(swapped)
        check_one_of("direction", direction, ("horizontal", "vertical"))
        self.direction = direction
        self._axis = 0 if direction == "horizontal" else 1

    def get_config(self) -> dict:
        return {"direction": self.direction, **super().get_config()}


class PackedCheckerboard(_Pairs):
    """The pixels of `Checkerboard`, with both parts as images of half the width.

    ::

        b = 0 1 0 1     passed: the pixels where b = 1, row by row, [height, width / 2, channels]
            1 0 1 0     moved:  the pixels where b = 0, row by row, [height, width / 2, channels]
            0 1 0 1

    Columns of such an image are pairs of the original ones. That suits networks which know each
    position, such as `tfnvp.conditioners.VisionTransformer`: no token is spent on zeros. For
    convolutions take `Checkerboard`.

    Args:
      swapped: with True, the pixels whose row and column add up to an even number pass.

    Raises:
      ValueError: (from `shapes`) for events that are not images of even width.

    >>> import tensorflow as tf
    >>> passed, moved = PackedCheckerboard().split(tf.reshape(tf.range(8), [2, 4, 1]))
    >>> passed[:, :, 0].numpy().tolist(), moved[:, :, 0].numpy().tolist()
    ([[1, 3], [4, 6]], [[0, 2], [5, 7]])

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), where the pixels are patches.
    """

    def _exchange(self, first, second):
        is_even = (np.arange(first.shape[-3]) % 2 == 0)[:, None, None]
        return tf.where(is_even, second, first), tf.where(is_even, first, second)


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
