"""A convolutional conditioner with gated residual blocks, without batch statistics."""

from typing import Any

import keras

from tfnvp.arguments import check_dropout, check_int
from tfnvp.conditioners.mlp import shapes_of
from tfnvp.conditioners.residual_cnn import check_parity, image_channels, join_channels
from tfnvp.conditioners.weight_normalized_convolution import convolve


@keras.saving.register_keras_serializable("tfnvp")
class GatedConvNet(keras.layers.Layer):
    """Gated residual convolutional network from passed variables (and a condition) to parameters.

    ::

        h_0 = conv3(inputs)
        a, b = conv1(dropout(celu(conv3(celu(h_{i-1})))))       celu(x) = [elu(x), elu(-x)]
        h_i = norm(h_{i-1} + a * sigmoid(b))
        outputs = conv3(celu(h_n))

    where `norm` is a layer normalization over the channels of each pixel. No number depends on
    other rows of the batch, nor on moving statistics. For a checkerboard the pattern is added to
    the inputs as one more channel. A condition is added as channels: those of an image of the same
    pixels, or the same ones at every pixel.

    The last layer starts at zero, so that a coupling starts as the identity. Under a mixed policy
    it computes in the dtype of its weights.

    Args:
      output_channels: int, parameters at each pixel. An additive coupling needs one for each moved
        channel, an affine one two.
      filters: int, width of the network.
      blocks: int, number of gated residual blocks.
      parity: for a checkerboard, the `parity` of the partition: 0 or 1, what row and column of a
        passed pixel add up to, modulo 2. None for other partitions.
      dropout: float in [0, 1), share of a block's hidden units dropped in training.
      zero_init: bool, start the last layer at zero.
      **kwargs: arguments of `keras.layers.Layer`, such as `dtype="mixed_bfloat16"`.

    Inputs: an image `[batch, height, width, channels]`, or the list of it and a condition
    `[batch, ...]`; outputs `[batch, height, width, output_channels]`. Any height and width.

    Raises:
      ValueError: if a size, `parity` or `dropout` is out of range; if the input is not an image.

    >>> import tensorflow as tf, tfnvp
    >>> network = tfnvp.conditioners.GatedConvNet(2, filters=4, blocks=1)
    >>> network(tf.ones([5, 3, 3, 1])).shape.as_list()
    [5, 3, 3, 2]

    Source: Ho, Chen, Srinivas, Duan and Abbeel 2019 (Flow++), without its attention;
    the order and sizes of layers are those of the University of Amsterdam's Deep Learning
    tutorials (Lippe, "Normalizing flows for image modeling"), 32 filters and 3 blocks among them.
    """

    def __init__(
        self,
        output_channels: Any,
        filters: int = 32,
        blocks: int = 3,
        parity: Any = None,
        dropout: float = 0.0,
        zero_init: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"output_channels": output_channels, "filters": filters, "blocks": blocks}
        for name, size in sizes.items():
            check_int(name, size, least=0 if name == "blocks" else 1, most=10_000)
        check_parity(parity)
        check_dropout(dropout)
        self.output_channels = int(output_channels)
        self.filters = int(filters)
        self.blocks = int(blocks)
        self.parity = None if parity is None else int(parity)
        self.dropout = float(dropout)
        self.zero_init = bool(zero_init)

        dtype = self.dtype_policy
        self.stem = _Convolution(self.filters, 3, dtype=dtype, name="stem")
        self.residuals = [
            _GatedBlock(self.filters, dropout, dtype=dtype, name=f"block_{i}")
            for i in range(blocks)
        ]
        self.projection = _Convolution(
            self.output_channels,
            3,
            initializer="zeros" if zero_init else "glorot_uniform",
            dtype=dtype.variable_dtype,
            name="projection",
        )

    def build(self, input_shape: Any) -> None:
        _, joined = image_channels(self, input_shape, aligned=True)
        self.stem.build((None, None, None, joined))
        for block in self.residuals:
            block.build((None, None, None, self.filters))
        self.projection.build((None, None, None, 2 * self.filters))

    def call(self, inputs: Any) -> keras.KerasTensor:
        image, *condition = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        h = self.stem(join_channels([image], self.parity, condition, aligned=True))
        for block in self.residuals:
            h = block(h)
        return self.projection(_celu(h))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*shapes_of(input_shape)[0][:-1], self.output_channels)

    def get_config(self) -> dict:
        own = ("output_channels", "filters", "blocks", "parity", "dropout", "zero_init")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class _GatedBlock(keras.layers.Layer):
    """`norm(x + a * sigmoid(b))`, with `a` and `b` from two convolutions of `x`."""

    def __init__(self, filters, dropout, **kwargs):
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.first = _Convolution(filters, 3, dtype=dtype, name="first")
        self.dropout = keras.layers.Dropout(dropout, dtype=dtype) if dropout else None
        self.second = _Convolution(2 * filters, 1, dtype=dtype, name="second")
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name="norm")

    def build(self, input_shape):
        *pixels, filters = input_shape
        self.first.build((*pixels, 2 * filters))
        self.second.build((*pixels, 2 * filters))
        self.norm.build(input_shape)

    def call(self, x):
        h = _celu(self.first(_celu(x)))
        if self.dropout is not None:
            h = self.dropout(h)
        value, gate = keras.ops.split(self.second(h), 2, axis=-1)
        return self.norm(x + value * keras.ops.sigmoid(gate))


class _Convolution(keras.layers.Layer):
    """Convolution of stride 1 and padding "same"."""

    def __init__(self, filters, kernel_size, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.initializer = initializer

    def build(self, input_shape):
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape, self.initializer, name="kernel")
        self.bias = self.add_weight((self.filters,), "zeros", name="bias")

    def call(self, inputs):
        return convolve(inputs, keras.ops.convert_to_tensor(self.kernel), self.bias)


def _celu(x):
    """Concatenated ELU: `[elu(x), elu(-x)]`."""
    return keras.ops.concatenate([keras.ops.elu(x), keras.ops.elu(-x)], axis=-1)
