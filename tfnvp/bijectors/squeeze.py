"""Space to channels: an image of half the height and width, and four times the channels."""

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.bijector import Bijector
from tfnvp.partitions.gather import permute, reshape_event

ORDERS = ("channel_major", "position_major", "ordered")

# Positions of a 2 x 2 block, numbered row by row: first both of the even checkerboard.
_EVEN_THEN_ODD = np.array([0, 3, 1, 2])


class Squeeze(Bijector):
    """Moves each `factor x factor` block of pixels into the channels of one pixel.

    ::

        forward:  [..., H, W, C] -> [..., H / f, W / f, f^2 C]     log|det J| = 0
        inverse:  [..., H / f, W / f, f^2 C] -> [..., H, W, C]     log|det J| = 0

    A variable at row `dy` and column `dx` of its block, in channel `c` of `C`, goes to the channel

    | `order` | channel |
    |---|---|
    | `"channel_major"` | `c f^2 + dy f + dx` |
    | `"position_major"` | `(dy f + dx) C + c` |
    | `"ordered"` | `p C + c`, `p` counting (0, 0), (1, 1), (0, 1), (1, 0); `f = 2` only |

    The first is the paper's: halves of the channels divide the colours. The second is
    `tf.nn.space_to_depth`. The third is for factoring out: the first half of the channels holds
    the pixels whose row and column add up to an even number.

    In a flow whose forward direction generates, couplings between `tfb.Invert(Squeeze())` and
    `Squeeze()` act on squeezed images.

    Args:
      factor: int, 2 or more.
      order: "channel_major", "position_major" or "ordered".
      name: name of the bijector.

    Raises:
      ValueError: if `factor` or `order` is invalid; from calls, if the sizes of an image are
        unknown or do not divide.

    >>> import tensorflow as tf, tfnvp
    >>> image = tf.reshape(tf.range(4.0), [2, 2, 1])
    >>> tfnvp.bijectors.Squeeze(order="ordered").forward(image).numpy().tolist()
    [[[0.0, 3.0, 1.0, 2.0]]]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.6 and figure 3; the orders
    "channel_major" and "ordered" are those of the authors' released code.
    """

    def __init__(self, factor: int = 2, order: str = "channel_major", name: str = "squeeze"):
        parameters = dict(locals())
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 2:
            raise ValueError(f"`factor` must be an int of 2 or more. Received: {factor!r}")
        if order not in ORDERS:
            raise ValueError(f"`order` must be one of {ORDERS}. Received: {order!r}")
        if order == "ordered" and factor != 2:
            raise ValueError(f"`factor` must be 2 with order='ordered'. Received: {factor}")
        self.factor = factor
        self.order = order
        super().__init__(3, parameters=parameters, name=name)

    def _forward_and_log_det(self, x):
        f = self.factor
        height, width, channels = self._squeezed(x.shape).as_list()[-3:]
        x = reshape_event(x, 3, (height, f, width, f, channels // f**2))
        if self.order == "channel_major":
            x = _transpose_event(x, (0, 2, 4, 1, 3))
        else:
            x = _transpose_event(x, (0, 2, 1, 3, 4))
        x = reshape_event(x, 5, (height, width, channels))
        if self.order == "ordered":
            x = self._permute_positions(x, _EVEN_THEN_ODD)
        return x, self._constant_log_det(x, 0.0)

    def _inverse_and_log_det(self, y):
        f = self.factor
        height, width, channels = self._unsqueezed(y.shape).as_list()[-3:]
        if self.order == "ordered":
            y = self._permute_positions(y, np.argsort(_EVEN_THEN_ODD))
        if self.order == "channel_major":
            y = reshape_event(y, 3, (height // f, width // f, channels, f, f))
            y = _transpose_event(y, (0, 3, 1, 4, 2))
        else:
            y = reshape_event(y, 3, (height // f, width // f, f, f, channels))
            y = _transpose_event(y, (0, 2, 1, 3, 4))
        y = reshape_event(y, 5, (height, width, channels))
        return y, self._constant_log_det(y, 0.0)

    def _permute_positions(self, x, order):
        shape = x.shape[-3:].as_list()
        by_position = reshape_event(x, 3, (*shape[:2], len(order), shape[2] // len(order)))
        return reshape_event(permute(by_position, order, axis=-2), 4, shape)

    def _forward_event_shape(self, input_shape):
        return self._squeezed(input_shape)

    def _inverse_event_shape(self, output_shape):
        return self._unsqueezed(output_shape)

    def _forward_event_shape_tensor(self, input_shape):
        f = self.factor
        return tf.concat([input_shape[:-3], input_shape[-3:] // [f, f, 1] * [1, 1, f**2]], axis=0)

    def _inverse_event_shape_tensor(self, output_shape):
        f = self.factor
        return tf.concat([output_shape[:-3], output_shape[-3:] * [f, f, 1] // [1, 1, f**2]], axis=0)

    def _squeezed(self, shape):
        height, width, channels = self._image_shape(shape)
        f = self.factor
        if height % f or width % f:
            raise ValueError(
                f"{self.name}: height and width must be divisible by {f}. Received: an image of "
                f"shape {(height, width, channels)}"
            )
        return shape[:-3] + [height // f, width // f, channels * f**2]

    def _unsqueezed(self, shape):
        height, width, channels = self._image_shape(shape)
        f = self.factor
        if channels % f**2:
            raise ValueError(
                f"{self.name}: the number of channels must be divisible by {f**2} for the inverse. "
                f"Received: an image of shape {(height, width, channels)}"
            )
        return shape[:-3] + [height * f, width * f, channels // f**2]

    def _image_shape(self, shape):
        if shape.rank is None or shape.rank < 3 or not shape[-3:].is_fully_defined():
            raise ValueError(
                f"{self.name} needs images [..., height, width, channels] of known size. "
                f"Received shape: {shape}"
            )
        return shape[-3:].as_list()


def _transpose_event(x, order):
    """Transposes the last axes of `x`, leaving the others in place."""
    batch_rank = x.shape.rank - len(order)
    return tf.transpose(x, [*range(batch_rank), *(batch_rank + axis for axis in order)])
