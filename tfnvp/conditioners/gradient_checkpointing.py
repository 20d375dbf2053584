"""A layer whose activations are computed again for the backward pass instead of kept."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfnvp")
class GradientCheckpointing(keras.layers.Wrapper):
    """Calls a layer, and in training keeps none of its activations but its inputs.

    The backward pass calls the layer once more to compute them again: it takes less memory, and the
    time of a second forward pass. If each network of a flow has this layer around it, memory holds
    the inputs and outputs of all couplings, but the activations of only one network at a time.
    Gradients are those of the plain layer.

    The second call starts from the states of the first: it draws the same dropout masks, and moving
    statistics are updated once. Randomness must come from Keras' seed generators, as in Keras'
    own layers.

    Args:
      layer: any Keras layer or model, to be called with a tensor or a list of them.
      **kwargs: arguments of `keras.layers.Layer`; the dtype policy is that of `layer`.

    Inputs and outputs are those of `layer`. Derivatives of gradients (Hessians) are not available
    in training.

    Raises:
      TypeError: if `layer` is not a Keras layer.

    >>> import tensorflow as tf, tfnvp
    >>> network = tfnvp.conditioners.MLP(3, hidden_units=(8,))
    >>> tfnvp.conditioners.GradientCheckpointing(network)(tf.ones([5, 2])).shape.as_list()
    [5, 3]

    Source: Chen, Xu, Zhang and Guestrin 2016 (Training deep nets with sublinear memory cost).
    """

    def __init__(self, layer: Any, **kwargs):
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(f"`layer` must be a Keras 3 layer or model. Received: {layer!r}")
        super().__init__(layer, **{"dtype": layer.dtype_policy, **kwargs})

    def call(self, inputs: Any, training: Any = None) -> tf.Tensor | list:
        if not training:
            return self.layer(inputs)
        states = [(v, tf.identity(v.value)) for v in self.layer.non_trainable_variables]
        results = []

        @tf.recompute_grad
        def compute(*tensors):
            scope = keras.StatelessScope(states, collect_losses=True)
            before = dict(scope.state_mapping)
            with scope:
                # The second call is outside of other layers, and does not inherit `training`.
                outputs = self.layer(tf.nest.pack_sequence_as(inputs, tensors), training=True)
            updates = [(v, scope.get_current_value(v)) for v, _ in states]
            updates = [(v, new) for v, new in updates if new is not before[id(v)]]
            results.append((outputs, updates))
            return [*tf.nest.flatten(outputs), *scope.losses]

        tensors = compute(*tf.nest.flatten(inputs))
        # Variables are assigned outside of `compute`, with the updates of its first call only.
        outputs, updates = results[0]
        for variable, value in updates:
            variable.assign(value)
        count = len(tf.nest.flatten(outputs))
        self.add_loss(tensors[count:])
        return tf.nest.pack_sequence_as(outputs, tensors[:count])

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return self.layer.compute_output_shape(input_shape)
