"""What TFP asks of every distribution, for those over events of one shape."""

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class Unbatched(tfd.Distribution):
    """A float32 distribution over events of one shape, without a batch shape.

    Args:
      event_shape: ints.
      parameters: the arguments of the subclass, for `copy` and the representation.
      name: name of the distribution.
      reparameterization_type: whether gradients flow through samples.
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        parameters: dict,
        name: str,
        reparameterization_type: tfd.ReparameterizationType = tfd.NOT_REPARAMETERIZED,
    ):
        self._one_event_shape = tuple(event_shape)
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=reparameterization_type,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype: tf.DType, num_classes: int | None = None) -> dict:
        return {}

    def _event_shape_tensor(self):
        return tf.constant(self._one_event_shape, tf.int32)

    def _event_shape(self):
        return tf.TensorShape(self._one_event_shape)

    def _batch_shape_tensor(self):
        return tf.zeros([0], tf.int32)

    def _batch_shape(self):
        return tf.TensorShape([])
