"""A transformer as a conditioner, for sequences of tokens and for images in patches."""

import math
from typing import Any

import keras

from tfnvp.arguments import check_dropout, check_int
from tfnvp.conditioners.mlp import shapes_of

# Width of the hidden layer after an attention, in widths of the network.
_HIDDEN = 4


@keras.saving.register_keras_serializable("tfnvp")
class VisionTransformer(keras.layers.Layer):
    """Transformer from passed variables (and a condition) to a coupling's parameters.

    ::

        h = W tokens + b + positions
        h = h + dropout(attention(norm(h)))                   in each block
        h = h + dropout(attention(norm(h), condition))        with a condition only
        h = h + dropout(W_2 gelu(W_1 norm(h)))                W_1 to four times the width
        outputs = W norm(h) + b
        gelu(x) = x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))

    where `norm` is a layer normalization and `attention` is softmax attention by several heads.
    `gelu` is the form with tanh, as in the released code of Jet. `positions` are learned, one for
    each token: a network is for one number of tokens. Images are cut into square patches, row by
    row, each of which is a token; every token then gives the outputs of its pixels. A condition
    becomes tokens with positions of its own: a vector `[batch, features]` one, a sequence
    `[batch, length, features]` as many as it is long.

    The last layer starts at zero, so that a coupling starts as the identity. Under a mixed policy
    it computes in the dtype of its weights.

    Args:
      output_channels: int, parameters for each token, or for each pixel of an image. An additive
        coupling needs one for each moved feature or channel, an affine one two.
      width: int, size of a token inside of the network; a multiple of `heads`.
      blocks: int, number of blocks.
      heads: int, number of heads of each attention.
      patch: int, height and width of a patch, for images.
      dropout: float in [0, 1), share of what a block adds to the tokens dropped in training.
      zero_init: bool, start the last layer at zero.
      **kwargs: arguments of `keras.layers.Layer`, such as `dtype="mixed_bfloat16"`.

    Inputs: tokens `[batch, tokens, features]` or an image `[batch, height, width, channels]`, or
    the list of one of them and a condition `[batch, ..., features]`. Outputs
    `[batch, tokens, output_channels]` or `[batch, height, width, output_channels]`. All sizes but
    that of the batch are fixed when the layer is built.

    Raises:
      ValueError: if a size or `dropout` is out of range, or `width` is not a multiple of `heads`;
        for inputs of another rank, of unknown size, or that `patch` does not divide; for inputs of
        other sizes than when the layer was built.

    >>> import tensorflow as tf, tfnvp
    >>> network = tfnvp.conditioners.VisionTransformer(4, width=8, blocks=1, heads=2)
    >>> network(tf.ones([5, 3, 2])).shape.as_list()
    [5, 3, 4]
    >>> network = tfnvp.conditioners.VisionTransformer(2, width=8, blocks=1, heads=2, patch=2)
    >>> network(tf.ones([5, 4, 6, 1])).shape.as_list()
    [5, 4, 6, 2]

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), with width 512 and 8 heads; the network is
    that of Dosovitskiy et al. 2021 (An image is worth 16x16 words), the attention to a condition
    that of Vaswani et al. 2017 (Attention is all you need).
    """

    def __init__(
        self,
        output_channels: Any,
        width: int = 128,
        blocks: int = 2,
        heads: int = 4,
        patch: int = 1,
        dropout: float = 0.0,
        zero_init: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"output_channels": output_channels, "width": width, "heads": heads}
        for name, size in {**sizes, "patch": patch, "blocks": blocks}.items():
            check_int(name, size, least=0 if name == "blocks" else 1, most=10_000)
        if width % heads:
            raise ValueError(f"`width` must be a multiple of `heads` = {heads}. Received: {width}")
        check_dropout(dropout)
        self.output_channels = int(output_channels)
        self.width = int(width)
        self.blocks = int(blocks)
        self.heads = int(heads)
        self.patch = int(patch)
        self.dropout = float(dropout)
        self.zero_init = bool(zero_init)

        dtype = self.dtype_policy
        self.residuals = [
            _Block(self.width, self.heads, dropout, dtype=dtype, name=f"block_{i}")
            for i in range(blocks)
        ]
        self.norm = _normalization("norm", dtype)
        self.projection = keras.layers.Dense(
            self.patch**2 * self.output_channels,
            kernel_initializer="zeros" if zero_init else "glorot_uniform",
            dtype=dtype.variable_dtype,
            name="projection",
        )

    def build(self, input_shape: Any) -> None:
        inputs, *conditions = shapes_of(input_shape)
        if len(inputs) not in (3, 4) or None in inputs[1:]:
            raise ValueError(
                "a VisionTransformer needs tokens [batch, tokens, features] or images [batch, "
                f"height, width, channels], of known size. Received: {inputs}"
            )
        if self.patch > 1 and (len(inputs) == 3 or any(size % self.patch for size in inputs[1:3])):
            raise ValueError(
                "`patch` must divide the height and width of images, and be 1 for tokens. "
                f"Received: {self.patch} for inputs of shape {inputs}"
            )
        if any(len(shape) < 2 or None in shape[1:] for shape in conditions):
            raise ValueError(
                "a VisionTransformer needs conditions [batch, ..., features], of known size. "
                f"Received: {conditions}"
            )
        # Keras compares the inputs of every call with these.
        self.input_spec = [
            keras.layers.InputSpec(shape=(None, *shape[1:])) for shape in (inputs, *conditions)
        ]
        pixels = self.patch**2
        tokens = (None, math.prod(inputs[1:-1]) // pixels, inputs[-1] * pixels)
        shapes = [tokens, *map(_sequence_shape, conditions)]
        self.embeddings = []
        for i, shape in enumerate(shapes):
            embedding = _Embedding(self.width, dtype=self.dtype_policy, name=f"embedding_{i}")
            embedding.build(shape)
            self.embeddings.append(embedding)
        embedded = (None, None, self.width)
        for block in self.residuals:
            block.build([embedded] * min(len(shapes), 2))
        self.norm.build(embedded)
        self.projection.build(embedded)

    def call(self, inputs: Any) -> keras.KerasTensor:
        ops = keras.ops
        x, *conditions = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        sequences = [ops.reshape(c, _sequence_shape(c.shape)) for c in conditions]
        tokens = _cut(x, self.patch) if len(x.shape) == 4 else x
        h, *embedded = (
            embedding(part)
            for embedding, part in zip(self.embeddings, [tokens, *sequences], strict=True)
        )
        condition = [ops.concatenate(embedded, axis=1)] if embedded else []
        for block in self.residuals:
            h = block([h, *condition])
        outputs = self.projection(self.norm(h))
        return _join(outputs, x.shape[1:3], self.patch) if len(x.shape) == 4 else outputs

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*shapes_of(input_shape)[0][:-1], self.output_channels)

    def get_config(self) -> dict:
        own = ("output_channels", "width", "blocks", "heads", "patch", "dropout", "zero_init")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


class _Embedding(keras.layers.Layer):
    """A sequence at the width of the network, plus a learned vector for each position."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = keras.layers.Dense(width, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        initial = keras.initializers.RandomNormal(stddev=1.0 / math.sqrt(self.width))
        self.dense.build(input_shape)
        self.positions = self.add_weight((input_shape[1], self.width), initial, name="positions")

    def call(self, sequence):
        return self.dense(keras.ops.cast(sequence, self.compute_dtype)) + self.positions


class _Block(keras.layers.Layer):
    """Self-attention, attention to a condition where there is one, and a hidden layer."""

    def __init__(self, width, heads, dropout, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        dtype = self.dtype_policy
        self.attention = self._attention("attention")
        self.attention_norm = _normalization("attention_norm", dtype)
        self.cross_attention = self.cross_norm = None
        self.hidden_norm = _normalization("hidden_norm", dtype)
        self.hidden = keras.layers.Dense(_HIDDEN * width, dtype=dtype, name="hidden")
        self.narrow = keras.layers.Dense(width, dtype=dtype, name="narrow")
        self.dropout = keras.layers.Dropout(dropout, dtype=dtype) if dropout else None

    def _attention(self, name):
        size, dtype = self.width // self.heads, self.dtype_policy
        return keras.layers.MultiHeadAttention(self.heads, size, dtype=dtype, name=name)

    def build(self, input_shape):
        tokens, *condition = input_shape
        self.attention_norm.build(tokens)
        self.attention.build(tokens, tokens)
        if condition:
            self.cross_norm = _normalization("cross_norm", self.dtype_policy)
            self.cross_norm.build(tokens)
            self.cross_attention = self._attention("cross_attention")
            self.cross_attention.build(tokens, *condition)
        self.hidden_norm.build(tokens)
        self.hidden.build(tokens)
        self.narrow.build((*tokens[:-1], _HIDDEN * self.width))

    def call(self, inputs):
        h, *condition = inputs
        normalized = self.attention_norm(h)
        h = h + self._dropped(self.attention(normalized, normalized))
        if condition:
            h = h + self._dropped(self.cross_attention(self.cross_norm(h), *condition))
        return h + self._dropped(self.narrow(_gelu(self.hidden(self.hidden_norm(h)))))

    def _dropped(self, x):
        return x if self.dropout is None else self.dropout(x)


def _gelu(x):
    """GELU with tanh, `x (1 + tanh(u)) / 2`, as `x sigmoid(2 u)`: fewer operations."""
    slope = 2 * math.sqrt(2 / math.pi)
    return x * keras.ops.sigmoid(x * (slope + slope * 0.044715 * keras.ops.square(x)))


def _normalization(name, dtype):
    return keras.layers.LayerNormalization(epsilon=1e-6, dtype=dtype, name=name)


def _sequence_shape(shape):
    """Returns the shape of a condition as a sequence: its last axis holds the features."""
    return -1, math.prod(shape[1:-1]), shape[-1]


def _cut(images, patch):
    """Cuts `[batch, height, width, channels]` into tokens `[batch, patches, patch^2 channels]`."""
    height, width, channels = images.shape[1:]
    rows, columns, features = height // patch, width // patch, patch * patch * channels
    blocks = keras.ops.reshape(images, (-1, rows, patch, columns, patch, channels))
    return keras.ops.reshape(_exchange(blocks), (-1, rows * columns, features))


def _join(tokens, size, patch):
    """Puts the patches of images of a size `(height, width)` together: the inverse of `_cut`."""
    rows, columns = (length // patch for length in size)
    blocks = keras.ops.reshape(
        tokens, (-1, rows, columns, patch, patch, tokens.shape[-1] // patch**2)
    )
    return keras.ops.reshape(_exchange(blocks), (-1, *size, blocks.shape[-1]))


def _exchange(blocks):
    """Exchanges rows in a patch with columns of patches, and back."""
    return keras.ops.transpose(blocks, (0, 1, 3, 2, 4, 5))
