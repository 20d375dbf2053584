"""A fully connected conditioner."""

import math
from collections.abc import Iterable
from typing import Any

import keras

from tfnvp.arguments import check_dropout, check_int

# Outputs for which sums of products are faster than a matrix product.
_NARROW = 4


@keras.saving.register_keras_serializable("tfnvp")
class MLP(keras.layers.Layer):
    """Fully connected network from passed variables (and a condition) to a coupling's parameters.

    ::

        h_0 = concatenate(flatten(inputs))
        h_i = dropout(activation(W_i h_{i-1} + b_i))   (+ h_{i-1} with `residual`)
        outputs = reshape(W h_n + b, output_shape)

    The last layer starts at zero, so that a coupling starts as the identity. Under a mixed policy
    it computes in the dtype of its weights: shifts of pixels need more than bfloat16's 8 bits.

    Args:
      output_shape: int or tuple, shape of the outputs of one example. An additive coupling
        needs the moved shape, an affine one twice its last axis.
      hidden_units: sequence of ints, the width of each hidden layer; may be empty.
      activation: Keras activation of the hidden layers.
      dropout: float in [0, 1), share of hidden units dropped in training.
      residual: bool, add the input of each hidden layer to its output where the widths agree.
      zero_init: bool, start the last layer at zero.
      **kwargs: arguments of `keras.layers.Layer`, such as `dtype="mixed_bfloat16"`.

    Inputs: a tensor `[batch, ...]` or a list of such tensors; outputs `[batch, *output_shape]`.

    Raises:
      ValueError: if a size or `dropout` is out of range.

    >>> import tensorflow as tf, tfnvp
    >>> tfnvp.conditioners.MLP(3, hidden_units=(8,))(tf.ones([5, 2])).shape.as_list()
    [5, 3]
    """

    def __init__(
        self,
        output_shape: Any,
        hidden_units: Any = (128, 128),
        activation: Any = "relu",
        dropout: float = 0.0,
        residual: bool = False,
        zero_init: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.outputs_shape = _sizes(output_shape, "output_shape")
        self.hidden_units = _sizes(hidden_units, "hidden_units")
        if not self.outputs_shape:
            raise ValueError(f"`output_shape` must not be empty. Received: {output_shape!r}")
        check_dropout(dropout)
        self.activation = keras.activations.get(activation)
        self.dropout = float(dropout)
        self.residual = bool(residual)
        self.zero_init = bool(zero_init)

        dtype = self.dtype_policy
        self.hidden = [
            keras.layers.Dense(units, activation=self.activation, dtype=dtype, name=f"hidden_{i}")
            for i, units in enumerate(self.hidden_units)
        ]
        self.dropouts = [keras.layers.Dropout(dropout, dtype=dtype) for _ in self.hidden if dropout]
        self.projection = _Projection(
            math.prod(self.outputs_shape),
            kernel_initializer="zeros" if zero_init else "glorot_uniform",
            dtype=dtype.variable_dtype,
            name="projection",
        )

    def build(self, input_shape: Any) -> None:
        size = sum(math.prod(shape[1:]) for shape in shapes_of(input_shape))
        for layer in [*self.hidden, self.projection]:
            check_int(f"weights of {layer.name}", size * layer.units, least=0, most=2**29)
            layer.build((None, size))
            size = layer.units

    def call(self, inputs: Any) -> keras.KerasTensor:
        inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        flat = [
            x if len(x.shape) == 2 else keras.ops.reshape(x, (-1, math.prod(x.shape[1:])))
            for x in inputs
        ]
        h = flat[0] if len(flat) == 1 else keras.ops.concatenate(flat, axis=-1)
        for i, layer in enumerate(self.hidden):
            skip, h = h, layer(h)
            if self.dropouts:
                h = self.dropouts[i](h)
            if self.residual and skip.shape[-1] == h.shape[-1]:
                h = h + skip
        outputs = self.projection(h)
        if len(self.outputs_shape) == 1:
            return outputs
        return keras.ops.reshape(outputs, (-1, *self.outputs_shape))

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (shapes_of(input_shape)[0][0], *self.outputs_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "output_shape": list(self.outputs_shape),
            "hidden_units": list(self.hidden_units),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "residual": self.residual,
            "zero_init": self.zero_init,
        }


def shapes_of(input_shape: Any) -> list:
    """Returns the shapes of all inputs of a layer, which may be one or a list."""
    return input_shape if isinstance(input_shape[0], (list, tuple)) else [input_shape]


def _sizes(value, name):
    is_sequence = isinstance(value, Iterable) and not isinstance(value, str)
    sizes = tuple(value) if is_sequence else (value,)
    for size in sizes:
        check_int(name, size, most=2**20)
    return tuple(int(size) for size in sizes)  # Keras takes no numbers of NumPy.


class _Projection(keras.layers.Dense):
    """A dense layer that in training computes few outputs as sums, which XLA can fuse.

    In XLA, the gradient of so narrow a matrix product takes longer than all other gradients.
    """

    def call(self, inputs, training=None):
        if not training or self.units > _NARROW:
            return super().call(inputs, training=training)
        columns = [keras.ops.sum(inputs * self.kernel[:, i], axis=-1) for i in range(self.units)]
        return keras.ops.stack(columns, axis=-1) + self.bias
