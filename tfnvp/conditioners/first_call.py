"""The first call of a network, which creates its weights."""

import contextlib
from typing import Any

import keras
import tensorflow as tf


def first_outputs(network: keras.layers.Layer, inputs: Any, argument: str) -> Any:
    """Returns what a network makes of its inputs, once its weights exist.

    Args:
      network: Keras layer or model.
      inputs: what it is called with.
      argument: what messages call the network.

    Raises:
      ValueError: if the network reads variables that are no weights of Keras.
    """
    # Tapes do not record inside of `tf.init_scope`, which is needed only in graphs.
    eager = contextlib.nullcontext() if tf.executing_eagerly() else tf.init_scope()
    with eager, tf.GradientTape() as tape:
        outputs = network(inputs)
    weights = [v.value for v in network.weights]
    # A variable, and under a strategy its copies on the replicas.
    tracked = {id(part) for v in weights for part in (v, *getattr(v, "values", ()))}
    if others := [v.name for v in tape.watched_variables() if id(v) not in tracked]:
        raise ValueError(
            f"`{argument}` must hold its variables as weights of Keras: others are neither "
            f"trained nor saved. Received: {network!r}, which reads {others}"
        )
    return outputs
