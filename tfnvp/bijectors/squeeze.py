"""Space to channels: an image of half the height and width, and four times the channels."""

import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_int, check_one_of
from tfnvp.bijectors.bijector import Bijector
from tfnvp.partitions.gather import permute, reshape_event

#: By the names of `order`: the new order of an image's axes (row, dy, column, dx, channel).
ORDERS = {
    "channel_major": (0, 2, 4, 1, 3),
    "position_major": (0, 2, 1, 3, 4),
    "ordered": (0, 2, 1, 3, 4),
}

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
        check_int("factor", factor, least=2)
        check_one_of("order", order, ORDERS)
        if order == "ordered" and factor != 2:
            raise ValueError(f"`factor` must be 2 with order='ordered'. Received: {factor}")
        self.factor = factor
        self.order = order
        super().__init__(3, parameters=parameters, name=name, is_constant_jacobian=True)

    def _forward_and_log_det(self, x):
        squeezed = self._known(self._forward_event_shape(x.shape)[-3:])
        x = reshape_event(x, 3, self._axes(x.shape[-3:]))
        x = _transpose_event(x, ORDERS[self.order])
        x = reshape_event(x, 5, squeezed)
        if self.order == "ordered":
            x = self._permute_positions(x, _EVEN_THEN_ODD)
        return x, self._constant_log_det(x, 0.0)

    def _inverse_and_log_det(self, y):
        image, order = self._known(self._inverse_event_shape(y.shape)[-3:]), ORDERS[self.order]
        axes = self._axes(image)
        if self.order == "ordered":
            y = self._permute_positions(y, np.argsort(_EVEN_THEN_ODD))
        y = reshape_event(y, 3, [axes[i] for i in order])
        y = _transpose_event(y, np.argsort(order))
        y = reshape_event(y, 5, image)
        return y, self._constant_log_det(y, 0.0)

    def _axes(self, image_shape):
        """Returns the sizes of the axes (row, dy, column, dx, channel) of an image."""
        height, width, channels = image_shape
        return height // self.factor, self.factor, width // self.factor, self.factor, channels

    def _permute_positions(self, x, order):
        height, width, channels = shape = x.shape[-3:]
        by_position = reshape_event(x, 3, (height, width, len(order), channels // len(order)))
        return reshape_event(permute(by_position, order, axis=-2), 4, shape)

    def _forward_event_shape(self, input_shape):
        f = self.factor
        return self._resized(input_shape, (f, f, 1), (1, 1, f**2), "height and width")

    def _inverse_event_shape(self, output_shape):
        f = self.factor
        return self._resized(output_shape, (1, 1, f**2), (f, f, 1), "the number of channels")

    def _resized(self, shape, divisors, factors, what):
        if shape.rank is None:
            return shape
        if shape.rank < 3:
            raise ValueError(f"{self.name} needs [..., height, width, channels]. Received: {shape}")
        image = [
            size if size is None else size * factor / divisor
            for size, divisor, factor in zip(shape[-3:], divisors, factors, strict=True)
        ]
        if any(size is not None and size % 1 for size in image):
            raise ValueError(
                f"{self.name}: {what} must be divisible by {max(divisors)}. Received: {shape}"
            )
        return shape[:-3] + [size if size is None else int(size) for size in image]

    def _known(self, image_shape):
        if not image_shape.is_fully_defined():
            raise ValueError(
                f"{self.name} needs images of known size, which `tf.ensure_shape` sets. "
                f"Received: {image_shape}"
            )
        return image_shape

    def _forward_event_shape_tensor(self, input_shape):
        f = self.factor
        return tf.concat([input_shape[:-3], input_shape[-3:] // [f, f, 1] * [1, 1, f**2]], axis=0)

    def _inverse_event_shape_tensor(self, output_shape):
        f = self.factor
        return tf.concat([output_shape[:-3], output_shape[-3:] * [f, f, 1] // [1, 1, f**2]], axis=0)


def _transpose_event(x, order):
    """Transposes the last axes of `x`, leaving the others in place."""
    batch_rank = x.shape.rank - len(order)
    return tf.transpose(x, [*range(batch_rank), *(batch_rank + axis for axis in order)])
