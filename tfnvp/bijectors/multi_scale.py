"""Factors out half of an image's variables; the others continue at half the resolution."""

from collections.abc import Generator
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.bijectors import compose
from tfnvp.bijectors.bijector import Bijector
from tfnvp.bijectors.squeeze import Squeeze


class MultiScale(compose.Composition, Bijector):
    """Applies a bijector to half of the variables of an image; the other half stay as they are.

    With `(h1, h2)` the halves of the channels of the squeezed image::

        forward:  y = unsqueeze(inner(h1), h2)          log|det J| = that of inner
        inverse:  x = unsqueeze(inner^-1(h1), h2)       log|det J| = that of inner^-1

    The squeeze is `Squeeze(order="ordered")`: the kept half `h1` are the pixels whose row and
    column add up to an even number, an image `[height / 2, width / 2, 2 * channels]`. Read from
    the data to the latents, `h2` has been factored out and is final, while `inner` is all that
    follows. Its own last member may be a `MultiScale`, and so on: one for every scale but the
    last. Latents have the shape of the image, each at the position of its pixel.

    Args:
      inner: `tfb.Bijector` from images `[height / 2, width / 2, 2 * channels]` to the same shape.
      name: name of the bijector.

    `forward` and `inverse` map `[..., height, width, channels]` to the same shape; log-dets have
    the batch shape and are in nats. A `condition=` is passed to `inner` where it takes one.

    Raises:
      TypeError: if `inner` is not a bijector.
      ValueError: from calls, if height or width is odd.

    >>> import tensorflow as tf, tensorflow_probability as tfp, tfnvp
    >>> scale = tfnvp.bijectors.MultiScale(tfp.bijectors.Scale(10.0))
    >>> scale.forward(tf.ones([1, 2, 2, 1]))[0, :, :, 0].numpy().tolist()
    [[10.0, 1.0], [1.0, 10.0]]

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), section 3.6, equations 13 to 16.
    """

    def __init__(self, inner: Any, name: str = "multi_scale"):
        parameters = dict(locals())
        if not isinstance(inner, tfp.bijectors.Bijector):
            raise TypeError(f"`inner` must be a tfb.Bijector. Received: {inner!r}")
        self.inner = inner
        self._squeeze = Squeeze(order="ordered")
        constant = inner.is_constant_jacobian
        super().__init__(3, parameters=parameters, name=name, is_constant_jacobian=constant)
        self._weights, self._foreign = tuple(inner.variables), compose.foreign_members(inner)

    @property
    def adapts(self) -> bool:
        """Whether `inner` has members that are initialised from data."""
        return compose.adapts(self.inner)

    @property
    def is_initialized(self) -> bool:
        """Whether the members of `inner` that are initialised from data have values already."""
        return compose.is_initialized(self.inner)

    def adapt(self, y: Any, condition: Any = None) -> None:
        """Initialises the members of `inner` from their half of a sample of the inverse's inputs.

        Args:
          y: `[batch, height, width, channels]`.
          condition: `[batch, ...]`, where `inner` takes one.
        """
        compose.initialize(self, y, condition)

    def walk_inner(self, x: tf.Tensor, walk: Any) -> Generator:
        """Walks into `inner` with its half of the variables, for `tfnvp.bijectors.compose.walk`.

        Args:
          x: `[..., height, width, channels]`, or None.
          walk: function of a bijector and its input, which makes a generator of steps.
        """
        if x is None:
            return (yield from walk(self.inner, None))
        kept, factored_out = self._halves(x)
        kept = yield from walk(self.inner, kept)
        return self._joined(kept, factored_out)

    def _halves(self, x):
        return tf.split(self._squeeze.forward_and_log_det(x)[0], 2, axis=-1)

    def _joined(self, kept, factored_out):
        return self._squeeze.inverse_and_log_det(tf.concat([kept, factored_out], axis=-1))[0]

    def _forward_event_shape(self, shape):
        self._squeeze.forward_event_shape(shape)
        return shape

    _inverse_event_shape = _forward_event_shape
