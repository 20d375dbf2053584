"""Weights as an exported model stores them."""

import contextlib

import keras
import tensorflow as tf

from tfnvp.arguments import check_choice

# How the names of kernels end: those of Keras, and of `WeightNormalizedConvolution`.
_KERNELS = ("kernel", "direction")


class StoredWeights:
    """The weights of a flow in the type that a SavedModel stores them in.

    With "bfloat16", kernels of layers (trainable Keras weights whose name ends in "kernel" or
    "direction") are stored as bfloat16, rounded to 8 significant bits, and read as float32. All
    others stay float32: they are few, and their rounding errors would not average out.

    Args:
      flow: a `tfnvp.Flow`.
      dtype: "float32" or "bfloat16".

    Raises:
      ValueError: for another type.

    >>> import tfnvp
    >>> flow = tfnvp.NICE(2, couplings=2, hidden_units=(4,))
    >>> len(StoredWeights(flow, "bfloat16").pairs)  # two kernels for each coupling
    4

    Source: Wang and Kanwar 2019, "BFloat16: the secret to high performance on Cloud TPUs".
    """

    def __init__(self, flow: keras.Model, dtype: str = "float32"):
        check_choice("weights_dtype", dtype)
        self.pairs = []
        if dtype == "bfloat16":
            self.pairs = [
                (weight, tf.Variable(tf.cast(weight.value, tf.bfloat16), name=weight.name))
                for weight in flow.trainable_variables
                if weight.name.endswith(_KERNELS) and weight.dtype == "float32"
            ]

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns a context in which the flow computes with the stored weights."""
        if not self.pairs:
            return contextlib.nullcontext()
        return keras.StatelessScope(
            [(weight, tf.cast(stored, tf.float32)) for weight, stored in self.pairs]
        )


def not_finite(flow: keras.Model) -> keras.Variable | None:
    """Returns the first weight of a flow that is NaN or infinite somewhere, or None."""
    for weight in flow.weights:
        value = tf.convert_to_tensor(weight.value)
        if value.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(value)):
            return weight
    return None
