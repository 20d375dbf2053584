"""Finds the layers and variables inside a `tf.Module`, for Keras to train and save."""

import keras
import tensorflow as tf

from tfnvp import _internals


def find(
    module: tf.Module, *others: keras.layers.Layer
) -> tuple[list[keras.layers.Layer], list[keras.Variable]]:
    """Returns the Keras layers that a module uses, with others, and its variables outside of them.

    Together they cover every `tf.Variable` of the module, so that a Keras model with both lists as
    attributes trains and saves all of them. Each variable gets a `path` of its own, by which tools
    such as per-variable settings of optimizers tell them apart. Variables of TensorFlow train as
    long as those of Keras do.
    """
    layers = _internals.objects_in(module, keras.layers.Layer)
    inner = {id(sub) for layer in layers for sub in _internals.all_layers(layer, False)}
    layers = [*(layer for layer in layers if id(layer) not in inner), *others]
    variables = _internals.objects_in(module, keras.Variable)
    known = {id(v.value) for v in variables}
    known.update(id(v.value) for layer in layers for v in layer.weights)
    variables += [
        _internals.AdoptedVariable(
            v,
            dtype=v.dtype.name,
            trainable=v.trainable,
            name=v.name.split(":")[0].replace("/", "_"),
        )
        for v in module.variables
        if id(v) not in known
    ]
    weights = [v for layer in layers for v in layer.variables]
    _internals.make_paths_unique([*weights, *variables])
    for variable in (*weights, *variables):
        _internals.value_that_follows(variable)
    return layers, variables
