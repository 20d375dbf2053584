"""What flows on images share: whole grey levels as data and as samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import tensorflow as tf

from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.flows.flow import Flow
from tfnvp.flows.saving import SavedFlow
from tfnvp.flows.serialization import serialize
from tfnvp.quantization import quantize

# What `locals()` of a constructor holds besides the arguments that `ImageFlow` stores.
_NOT_STORED = {"self", "__class__", "name", "condition_network"}


class ImageFlow(Flow):
    """A flow on images `[height, width, channels]`, whose data can be whole grey levels."""

    # All of these rows go through each network at once.
    adaptation_rows = 512

    @property
    def accepts_integers(self) -> bool:
        """Whether whole grey levels are accepted, and dequantized: if the flow has `levels`."""
        return self.levels is not None

    def sample_images(
        self,
        n: int,
        seed: int | Sequence[int] | None = None,
        temperature: float = 1.0,
        condition: npt.ArrayLike | None = None,
    ) -> tf.Tensor:
        """Draws images as whole grey levels, with the arguments of `sample`.

        Returns:
          uint8 `[n, *image_shape]`, from 0 to `levels - 1`.

        Raises:
          ValueError: if the flow was made without `levels`, or with more than 256.
        """
        if self.levels is None or self.levels > 256:
            raise ValueError(
                f"`sample_images` needs a flow with 2 to 256 `levels`. Received: {self.levels}"
            )
        return quantize(self.sample(n, seed, temperature, condition), self.levels)

    def get_config(self) -> dict:
        return {**self._config, **SavedFlow.get_config(self)}


def stored_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `_config` of a flow, from the `locals()` at the beginning of its constructor."""
    return {name: serialize(v) for name, v in arguments.items() if name not in _NOT_STORED}


def check_image_shape(image_shape: Any, factor: int, rule: str) -> tuple[int, int, int]:
    """Returns the shape of images as a tuple.

    Args:
      image_shape: `(height, width, channels)`.
      factor: int that divides height and width.
      rule: the factor, as messages call it.

    Raises:
      ValueError: for another shape.
    """
    image_shape = event_shape_tuple(image_shape, "image_shape")
    if len(image_shape) != 3:
        raise ValueError(
            f"`image_shape` must be (height, width, channels). Received: {image_shape}"
        )
    if image_shape[0] % factor or image_shape[1] % factor:
        raise ValueError(
            "height and width in `image_shape`, (height, width, channels), must be divisible by "
            f"{rule}. Received: image_shape={image_shape}"
        )
    return image_shape
