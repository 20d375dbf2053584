"""A convolution whose filters have a norm of their own."""

import math
from typing import Any

import keras


class WeightNormalizedConvolution(keras.layers.Layer):
    """Convolution of stride 1 and padding "same" by filters of norm 1, or of a learned norm.

    ::

        outputs = conv(inputs, magnitude * v / ||v||) + bias      with ||v|| of each output channel

    Args:
      filters: int, number of output channels.
      kernel_size: int, height and width of the filters.
      use_bias: bool.
      magnitude: None for filters of norm 1, or the float at which the learned norms start.
      **kwargs: arguments of `keras.layers.Layer`.

    Source: Salimans and Kingma 2016; Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section
    3.7, and the authors' released code.
    """

    def __init__(
        self, filters: Any, kernel_size: Any, use_bias: bool = True, magnitude: Any = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.initial_magnitude = magnitude

    def build(self, input_shape: Any) -> None:
        channels, filters = input_shape[-1], self.filters
        bound = math.sqrt(2.0 / channels)
        shape = (self.kernel_size, self.kernel_size, channels, filters)
        initial = keras.initializers.RandomUniform(-bound, bound)
        self.direction = self.add_weight(shape, initial, name="direction")
        self.magnitude = self.bias = None
        if self.initial_magnitude is not None:
            initial = keras.initializers.Constant(self.initial_magnitude)
            self.magnitude = self.add_weight((filters,), initial, name="magnitude")
        if self.use_bias:
            self.bias = self.add_weight((filters,), "zeros", name="bias")

    def call(self, inputs: Any) -> keras.KerasTensor:
        ops = keras.ops
        direction = ops.convert_to_tensor(self.direction)
        square = ops.sum(ops.square(direction), axis=(0, 1, 2))
        scale = ops.rsqrt(square + keras.config.epsilon())
        if self.magnitude is not None:
            scale = scale * ops.convert_to_tensor(self.magnitude)
        return convolve(inputs, direction * scale, self.bias)


def convolve(inputs: Any, kernel: Any, bias: Any = None) -> keras.KerasTensor:
    """Returns the convolution of stride 1 and padding "same", plus a bias.

    Args:
      inputs: `[batch, height, width, channels]`.
      kernel: `[size, size, channels, filters]`.
      bias: `[filters]` or None.
    """
    ops, (size, _, channels, filters) = keras.ops, kernel.shape
    # One pixel a row: TensorFlow never fuses a sum that follows a convolution into it. oneDNN's
    # kernel of convolution, bias and sum mixes up requests that run at the same time. The
    # number of channels is also right for no rows, where that of oneDNN's convolution is not.
    if size == 1:
        # The same as a convolution, and on CPUs faster than one.
        pixels = ops.matmul(ops.reshape(inputs, (-1, channels)), kernel[0, 0])
    else:
        pixels = ops.reshape(
            ops.conv(inputs, kernel, padding="same", data_format="channels_last"), (-1, filters)
        )
    if bias is not None:
        pixels = ops.add(pixels, bias)
    return ops.reshape(pixels, (*ops.shape(inputs)[:-1], filters))
