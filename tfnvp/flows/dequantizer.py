"""The flow of the noise in learned dequantization: couplings that see the grey levels."""

from collections.abc import Callable

import keras
import tensorflow_probability as tfp

from tfnvp.bijectors import AffineCoupling, Chain, LearnedDequantization, LULinear
from tfnvp.partitions import Channels

#: Couplings of the noise, half of whose channels each one moves.
COUPLINGS = 4


def dequantizer(
    image_shape: tuple[int, int, int], levels: int, conditioner: Callable[..., keras.layers.Layer]
) -> tfp.bijectors.Invert:
    """Returns a learned dequantization that starts with uniform noise, for the data side of a flow.

    Args:
      image_shape: `(height, width, channels)`; height and width even.
      levels: int, number of grey levels.
      conditioner: function of `partition`, `shape` and `name` that makes the network of an affine
        coupling of noise of this shape.
    """
    height, width, channels = image_shape
    shape = (height // 2, width // 2, 4 * channels)
    members = []
    for i in range(COUPLINGS):
        name = f"dequantization_{i}"
        partition = Channels(i % 2 == 1)
        network = conditioner(partition=partition, shape=shape, name=name)
        members += [
            LULinear(shape, name=f"{name}_channels", per_pixel=True),
            AffineCoupling(network, partition, shape, condition_shape=shape, name=name),
        ]
    inner = Chain(members, name="dequantization")
    return tfp.bijectors.Invert(LearnedDequantization(inner, image_shape, levels))
