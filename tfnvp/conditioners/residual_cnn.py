"""Real NVP's convolutional conditioner."""

import functools
import math
from typing import Any

import keras
import tensorflow as tf

from tfnvp.arguments import check_int
from tfnvp.conditioners.mlp import shapes_of
from tfnvp.conditioners.weight_normalized_convolution import WeightNormalizedConvolution
from tfnvp.running_statistics import RunningStatistics, scale_and_shift

# The released code starts a learned norm of 3 x 3 filters at sqrt(9 / 6), of 1 x 1 at sqrt(1 / 6).
_MAGNITUDES = {size: math.sqrt(size * size / 6) for size in (1, 3)}


@keras.saving.register_keras_serializable("tfnvp")
class ResidualCNN(keras.layers.Layer):
    """Residual convolutional network from passed variables (and a condition) to parameters.

    ::

        h_0 = conv3(relu([n, -n]))                          n = norm(inputs), see below
        h_i = h_{i-1} + conv3(relu(norm(conv3(relu(norm(h_{i-1}))))))
        outputs = conv1(relu(norm(sum_i conv1_i(h_i))))

    with weight-normalised convolutions, and `norm` a batch normalization with a learned offset
    whose statistics are those of `tfnvp.running_statistics.RunningStatistics`: the same in
    training and afterwards. For a checkerboard, where half of the inputs are zeros, `n` is
    doubled, and the pattern is added as one more channel. A condition is added as channels that
    are the same at every pixel.

    The last layer starts at zero, so that a coupling starts as the identity.

    Args:
      output_channels: int, parameters at each pixel. An additive coupling needs one for each moved
        channel, an affine one two.
      filters: int, width of the network.
      blocks: int, number of residual blocks.
      parity: for a checkerboard, the `parity` of the partition: 0 or 1, what row and column of a
        passed pixel add up to, modulo 2. None for other partitions.
      batch_norm: bool.
      zero_init: bool, start the last layer at zero.
      **kwargs: arguments of `keras.layers.Layer`, such as `dtype="mixed_bfloat16"`.

    Inputs: an image `[batch, height, width, channels]`, or the list of it and a condition
    `[batch, ...]`; outputs `[batch, height, width, output_channels]`. Any height and width.

    Raises:
      ValueError: if a size or `parity` is out of range; if the input is not an image.

    >>> import tensorflow as tf, tfnvp
    >>> network = tfnvp.conditioners.ResidualCNN(2, filters=4, blocks=1)
    >>> network(tf.ones([5, 3, 3, 1])).shape.as_list()
    [5, 3, 3, 2]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.7 and the authors' released
    code, where the last layer starts at random and the scale of a checkerboard's coupling at
    zero.
    """

    def __init__(
        self,
        output_channels: Any,
        filters: int = 64,
        blocks: int = 8,
        parity: Any = None,
        batch_norm: bool = True,
        zero_init: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"output_channels": output_channels, "filters": filters, "blocks": blocks}
        for name, size in sizes.items():
            check_int(name, size, least=0 if name == "blocks" else 1, most=10_000)
        check_parity(parity)
        self.output_channels = output_channels
        self.filters = filters
        self.blocks = blocks
        self.parity = parity
        self.batch_norm = bool(batch_norm)
        self.zero_init = bool(zero_init)

        conv = functools.partial(WeightNormalizedConvolution, dtype=self.dtype_policy)

        def convs(name, count, size, **kwargs):
            return [conv(filters, size, **kwargs, name=f"{name}_{i}") for i in range(count)]

        def norms(name, count=1):
            names = [f"{name}_{i}" for i in range(count * batch_norm)]
            return [_Normalization(dtype=self.dtype_policy, name=name) for name in names]

        self.stem = conv(filters, 3, name="stem")
        # An offset before a normalization would do nothing.
        self.first = convs("first", blocks, 3, use_bias=not self.batch_norm)
        self.second = convs("second", blocks, 3, magnitude=_MAGNITUDES[3])
        self.skips = convs("skip", blocks + 1, 1, magnitude=_MAGNITUDES[1])
        magnitude = 0.0 if zero_init else _MAGNITUDES[1]
        self.projection = conv(output_channels, 1, magnitude=magnitude, name="projection")

        self.input_norm, self.output_norm = norms("input_norm"), norms("output_norm")
        self.first_norms = norms("first_norm", blocks)
        self.second_norms = norms("second_norm", blocks)

    def build(self, input_shape: Any) -> None:
        image, joined = image_channels(self, input_shape)
        self.stem.build((None, None, None, joined + image))
        for norm in self.input_norm:
            norm.build((None, None, None, image))
        inner = [*self.first_norms, *self.first, *self.second_norms, *self.second]
        for layer in [*inner, *self.skips, *self.output_norm, self.projection]:
            layer.build((None, None, None, self.filters))

    def call(self, inputs: Any) -> tf.Tensor:
        image, *condition = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        relu = keras.ops.relu
        h = self.stem(self._joined(image, condition))
        skips = self.skips[0](h)
        for i in range(self.blocks):
            inner = self.first[i](relu(_apply(self.first_norms[i : i + 1], h)))
            h = h + self.second[i](relu(_apply(self.second_norms[i : i + 1], inner)))
            skips = skips + self.skips[i + 1](h)
        return self.projection(relu(_apply(self.output_norm, skips)))

    def _joined(self, image, condition):
        """The channels that the first convolution sees."""
        image = _apply(self.input_norm, image)
        if self.parity is not None:
            image = 2.0 * image
        halves = [keras.ops.relu(image), keras.ops.relu(-image)]
        return join_channels(halves, self.parity, condition)

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*shapes_of(input_shape)[0][:-1], self.output_channels)

    def get_config(self) -> dict:
        own = ("output_channels", "filters", "blocks", "parity", "batch_norm", "zero_init")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def check_parity(parity: Any) -> None:
    """Raises `ValueError` unless `parity` is that of a checkerboard, or None."""
    if parity not in (None, 0, 1):
        raise ValueError(f"`parity` must be 0, 1 or None. Received: {parity!r}")


def image_channels(layer: Any, input_shape: Any, aligned: bool = False) -> tuple[int, int]:
    """Returns the number of channels of the image, and that of `join_channels`.

    Args:
      layer: the network, with its `parity`.
      input_shape: shape of the image, or the list of it and that of a condition.
      aligned: as for `join_channels`.

    Raises:
      ValueError: if the first input of the layer is not an image.
    """
    image, *conditions = shapes_of(input_shape)
    if len(image) != 4:
        raise ValueError(
            f"a {type(layer).__name__} needs images [batch, height, width, channels]. "
            f"Received: {image}"
        )
    joined = sum(_condition_channels(shape, image, aligned) for shape in conditions)
    return image[-1], image[-1] + joined + (layer.parity is not None)


def _condition_channels(shape, image, aligned):
    """Returns how many channels a condition becomes."""
    same_pixels = len(shape) == 4 and tuple(shape[1:3]) == tuple(image[1:3])
    return shape[-1] if aligned and same_pixels else math.prod(shape[1:])


def join_channels(
    images: list, parity: int | None, conditions: list, aligned: bool = False
) -> tf.Tensor:
    """Joins images, the pattern of a checkerboard, and conditions.

    Args:
      images: tensors `[batch, height, width, channels]`.
      parity: what row and column of a passed pixel add up to, modulo 2; None for no pattern.
      conditions: tensors `[batch, ...]`, whose numbers are the same at every pixel.
      aligned: bool, whether conditions of as many rows and columns as the images are joined to them
        pixel by pixel instead.
    """
    ops, channels, dtype = keras.ops, [*images], images[0].dtype
    batch, height, width = ops.shape(images[0])[:3]
    if parity is not None:
        rows, columns = (ops.arange(size, dtype="int32") for size in (height, width))
        passes = (rows[:, None] + columns[None, :]) % 2 == parity
        passes = ops.cast(passes, dtype)[None, :, :, None]
        channels.append(ops.broadcast_to(passes, (batch, height, width, 1)))
    for condition in conditions:
        size = _condition_channels(condition.shape, images[0].shape, aligned)
        pixels = (1, 1) if math.prod(condition.shape[1:]) == size else (height, width)
        condition = ops.reshape(ops.cast(condition, dtype), (-1, *pixels, size))
        channels.append(ops.broadcast_to(condition, (batch, height, width, size)))
    return ops.concatenate(channels, axis=-1)


class _Normalization(keras.layers.Layer):
    """Batch normalization with a learned offset; filters after it need no learned scale."""

    def build(self, input_shape):
        self.statistics = RunningStatistics(input_shape[-1], name="statistics")
        self.offset = self.add_weight(name="offset", shape=input_shape[-1:], initializer="zeros")

    def call(self, x):
        mean, variance = self.statistics(x)
        scale = tf.math.rsqrt(variance + 1e-4)
        offset = tf.cast(self.offset, scale.dtype) - mean * scale
        return scale_and_shift(x, scale, offset)


def _apply(layers, x):
    for layer in layers:
        x = layer(x)
    return x
