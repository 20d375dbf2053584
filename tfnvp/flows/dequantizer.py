"""The flow of the noise in learned dequantization: couplings that see the grey levels."""

from typing import Any

import tensorflow_probability as tfp

from tfnvp.bijectors import AffineCoupling, Chain, LearnedDequantization, LULinear
from tfnvp.conditioners import GatedConvNet
from tfnvp.partitions import Channels

#: Couplings of the noise, half of whose channels each one moves.
COUPLINGS = 4


def dequantizer(
    image_shape: tuple[int, int, int], levels: int, filters: int, blocks: int, dtype: Any
) -> tfp.bijectors.Invert:
    """Returns a learned dequantization that starts with uniform noise, for the data side of a flow.

    Args:
      image_shape: `(height, width, channels)`; height and width even.
      levels: int, number of grey levels.
      filters: int, width of the networks.
      blocks: int, number of residual blocks of each network.
      dtype: Keras dtype policy of the networks.
    """
    height, width, channels = image_shape
    shape = (height // 2, width // 2, 4 * channels)
    moved = shape[-1] // 2
    members = []
    for i in range(COUPLINGS):
        name = f"dequantization_{i}"
        network = GatedConvNet(2 * moved, filters, blocks, dtype=dtype, name=f"{name}_network")
        members += [
            LULinear(shape, name=f"{name}_channels", per_pixel=True),
            AffineCoupling(network, Channels(i % 2 == 1), shape, condition_shape=shape, name=name),
        ]
    inner = Chain(members, name="dequantization")
    return tfp.bijectors.Invert(LearnedDequantization(inner, image_shape, levels))
