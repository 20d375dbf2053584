"""Bijectors, distributions and their arguments as JSON types, and back; no code is ever loaded.

A TFP object is described by its class and its `parameters`, the arguments of its constructor.
Whatever a file holds, a description makes only objects of public classes of `tfnvp.bases`,
`tfnvp.bijectors`, `tfnvp.partitions`, `tfp.bijectors` and `tfp.distributions`, Keras layers, and
objects of classes that the program has registered with Keras. No argument of theirs is a function,
but for Keras' own activations and the like inside of layers. Values of weights are not part of a
description: Keras saves them.
"""

import json
import re
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp import bases, bijectors, partitions

_NAMESPACES = {
    "tfnvp.bases": (bases, tfp.distributions.Distribution),
    "tfnvp.bijectors": (bijectors, tfp.bijectors.Bijector),
    "tfnvp.partitions": (partitions, partitions.Partition),
    "tfp.bijectors": (tfp.bijectors, tfp.bijectors.Bijector),
    "tfp.distributions": (tfp.distributions, tfp.distributions.Distribution),
}
# By package, since other packages can have classes of the same names.
_OF_PACKAGES = {
    "tfnvp": ["tfnvp.bijectors", "tfnvp.bases"],
    "tensorflow_probability": ["tfp.bijectors", "tfp.distributions"],
}
_KINDS = (tfp.bijectors.Bijector, tfp.distributions.Distribution)
_KEY = "tfnvp_type"
# What an argument of a class of TFP can be: TFP would call a function.
_ARGUMENTS = (
    *(type(None), bool, int, float, str, np.ndarray, tf.DType, tf.Variable, keras.layers.Layer),
    *(tfp.util.TransformedVariable, *_KINDS),
)
# Modules of Keras that only compute. Others read and write files, such as `keras.datasets`.
_COMPUTING_MODULES = re.compile(
    r"keras(\.(activations|constraints|dtype_policies|initializers|layers|losses|metrics|models"
    r"|ops|optimizers|quantizers|random|regularizers|src)(\..*)?)?"
)


def serialize(value: Any) -> Any:
    """Returns a description of a value by JSON types.

    Raises:
      TypeError: for a value that cannot be described, such as a function, or an instance of a class
        that is neither ours, TFP's nor Keras' nor registered with Keras.
    """
    if value is None or isinstance(value, (bool, int, float, str, np.integer)):
        return int(value) if isinstance(value, np.integer) else value
    if isinstance(value, (list, tuple, tf.TensorShape)):
        return [serialize(v) for v in value]
    if isinstance(value, dict):
        return {_KEY: "dict", "items": {str(k): serialize(v) for k, v in value.items()}}
    if isinstance(value, tf.DType):
        return {_KEY: "dtype", "name": value.name}
    if isinstance(value, (np.ndarray, np.generic, tf.Tensor, tf.Variable)):
        return _serialize_array(value)
    if isinstance(value, tfp.util.TransformedVariable):
        described = _serialize_array(value.pretransformed_input)
        return {_KEY: "transformed", "input": described, "bijector": serialize(value.bijector)}
    if isinstance(value, keras.layers.Layer):
        return _serialize_layer(value)
    if isinstance(value, partitions.Partition):
        return _describe("tfnvp.partitions", type(value).__name__, value.get_config())
    # Some objects of TFP are of private variants of public classes, such as `_Chain`.
    name = type(value).__name__.lstrip("_")
    for namespace in _OF_PACKAGES.get(type(value).__module__.partition(".")[0], ()):
        module, kind = _NAMESPACES[namespace]
        if isinstance(value, kind) and hasattr(module, name):
            return _describe(namespace, name, value.parameters)
    registered = keras.saving.get_registered_name(type(value))
    if keras.saving.get_registered_object(registered) is type(value) and isinstance(value, _KINDS):
        return _describe("registered", registered, value.get_config())
    raise TypeError(
        f"cannot be saved as part of a flow: {value!r} of type {type(value).__name__}. A bijector "
        "or distribution of your own can, once its class is decorated by "
        "`@keras.saving.register_keras_serializable()`; `flow.save_weights`, `tf.train.Checkpoint` "
        "and `flow.export` need no such thing"
    )


def _serialize_layer(layer):
    described = keras.saving.serialize_keras_object(layer)
    if "__lambda__" in json.dumps(described, default=str):
        raise TypeError(
            f"cannot be saved as part of a flow: {layer!r} holds a Python function, and code "
            "is never loaded. Write a layer of your own, whose class is decorated by "
            "`@keras.saving.register_keras_serializable()`"
        )
    return {_KEY: "keras", "object": described}


def describe_activation(activation: Any) -> Any:
    """Returns JSON types from which `keras.activations.get` makes an activation again.

    Args:
      activation: what Keras layers take: a name or None, a function, or a layer, of which it makes
        a copy without the weights.

    Raises:
      ValueError: for what Keras does not know, or could not load.
    """
    try:
        given = keras.activations.get(activation)
        described = keras.activations.serialize(given)
        check_keras_objects([described])
        made = keras.activations.get(described)
        is_layer = isinstance(given, keras.layers.Layer)
        if made is given or (is_layer and type(made) is type(given)):
            return described
        reason = f"it would become {made!r}"
    except (AttributeError, TypeError, ValueError) as error:  # All three come from Keras.
        reason = str(error)
    raise ValueError(
        "`activation` must be the name of a Keras activation, a Keras layer, or a function that is "
        "decorated by `@keras.saving.register_keras_serializable()`, so that the flow can be "
        f"saved. Received: {activation!r}; {reason}"
    )


def _describe(namespace, name, arguments):
    # None is the default of these arguments, and some (`parameters`) are no arguments.
    arguments = {k: serialize(v) for k, v in arguments.items() if v is not None}
    return {_KEY: namespace, "name": name, "arguments": arguments}


def _serialize_array(value):
    array = np.asarray(value)
    return {
        _KEY: "array",
        "dtype": array.dtype.name,
        "value": array.tolist(),
        "variable": isinstance(value, tf.Variable),
        "trainable": bool(getattr(value, "trainable", False)),
    }


def deserialize(value: Any) -> Any:
    """Makes a value from its description; the inverse of `serialize`.

    Raises:
      ValueError: for the description of a class that is not public, or not registered, of a
        function, or of an object of Keras that does more than compute.
    """
    if isinstance(value, (list, tuple)):
        return [deserialize(v) for v in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KEY)
    if kind == "dict":
        # Keras makes objects of dictionaries, too.
        check_keras_objects(value["items"])
        return {k: deserialize(v) for k, v in value["items"].items()}
    if kind == "dtype":
        return tf.as_dtype(value["name"])
    if kind == "array":
        array = np.asarray(value["value"], tf.as_dtype(value["dtype"]).as_numpy_dtype)
        # A number, as an option is, and no array without axes.
        return tf.Variable(array, trainable=value["trainable"]) if value["variable"] else array[()]
    if kind == "transformed":
        bijector = deserialize(value["bijector"])
        initial = bijector.forward(deserialize(value["input"]))
        trainable = value["input"]["trainable"]
        return tfp.util.TransformedVariable(initial, bijector, trainable=trainable)
    if kind == "keras":
        check_keras_objects(value["object"])
        layer = keras.saving.deserialize_keras_object(value["object"], safe_mode=True)
        if not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"not a description of a Keras layer: {value['object']}")
        return layer
    cls = _class_of(kind, str(value.get("name")))
    arguments = {k: deserialize(v) for k, v in value["arguments"].items()}
    if kind.startswith("tfp.") and not all(
        isinstance(leaf, _ARGUMENTS) for leaf in tf.nest.flatten(arguments)
    ):
        raise ValueError(f"an argument of a class of TFP is a function or a partition: {value}")
    return cls(**arguments)


def _class_of(kind, name):
    """Returns the class that a description names."""
    if kind == "registered":
        base, cls = _KINDS, keras.saving.get_registered_object(name)
        if cls is None:
            raise ValueError(
                f"the class {name!r} is not registered with Keras: import the module that defines "
                "it before the flow is loaded"
            )
    else:
        module, base = _NAMESPACES.get(kind, (None, None))
        cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ValueError(
            f"not a description of a bijector, distribution or partition: {name!r} of {kind!r}"
        )
    return cls


def check_keras_objects(described: Any) -> None:
    """Raises `ValueError` if Keras would make an object from another module than is allowed.

    Args:
      described: JSON types, such as `keras.saving.serialize_keras_object` returns.
    """
    for part in described.values() if isinstance(described, dict) else described:
        if isinstance(part, (dict, list)):
            check_keras_objects(part)
    if not isinstance(described, dict) or "class_name" not in described:
        return
    if described.get("module") is None and described["class_name"] != "__lambda__":
        return  # Data, such as `__numpy__`, or a registered class.
    is_function = described["class_name"] == "function"
    name = described.get("config" if is_function else "registered_name")
    if keras.saving.get_registered_object(str(name or described["class_name"])) is not None:
        return
    module = str(described.get("module"))
    if not _COMPUTING_MODULES.fullmatch(module) and not (is_function and module == "builtins"):
        raise ValueError(
            "a file can name only objects of Keras that compute, and classes that are registered "
            f"with Keras: import the module that defines them first. Received: {described}"
        )
