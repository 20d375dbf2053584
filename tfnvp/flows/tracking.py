"""Finds what Keras must know of the variables inside a `tf.Module`."""

import keras
import tensorflow as tf


class AdoptedVariable(keras.Variable):
    """A Keras variable around a `tf.Variable` that exists already, as TFP's own bijectors have."""

    def _convert_to_tensor(self, value, dtype=None):
        if isinstance(value, tf.Variable):
            return value
        return super()._convert_to_tensor(value, dtype)


def find(module):
    """Returns the Keras layers, and the Keras variables of no layer, that a module uses.

    Every `tf.Variable` of the module is covered by one of them, so a Keras model that holds both
    lists trains and saves all.
    """
    layers = _of_type(module, keras.layers.Layer)
    inner = {id(sub) for layer in layers for sub in layer._flatten_layers(include_self=False)}
    layers = [layer for layer in layers if id(layer) not in inner]
    variables = _of_type(module, keras.Variable)
    known = {id(v.value) for v in variables}
    known.update(id(v.value) for layer in layers for v in layer.weights)
    variables += [
        AdoptedVariable(
            v,
            dtype=v.dtype.name,
            trainable=v.trainable,
            name=v.name.split(":")[0].replace("/", "_"),
        )
        for v in module.variables
        if id(v) not in known
    ]
    return layers, variables


def _of_type(module, kind):
    return list(module._flatten(predicate=lambda value: isinstance(value, kind)))
