"""What a condition network takes and gives: its inputs as a `ConditionSpec`, the output's shape."""

from typing import Any

import keras
import tensorflow as tf

from tfnvp._internals import all_layers
from tfnvp.bijectors.bijector import event_shape_tuple
from tfnvp.conditioners import MLP, StandardizedInputs
from tfnvp.conditioners.condition_statistics import ConditionStatistics
from tfnvp.conditioners.first_call import first_outputs
from tfnvp.conditioners.parts import name_of, packed, parts_of
from tfnvp.inputs.conditions import ConditionInput, ConditionSpec

#: Layers whose inputs are labels, of any size.
OF_LABELS = (
    keras.layers.Embedding,
    keras.layers.CategoryEncoding,
    keras.layers.Hashing,
    keras.layers.IntegerLookup,
)

# Layers that XLA compiles, and makes faster also on CPUs.
_DENSE = (
    *(keras.layers.InputLayer, keras.layers.Dense, keras.layers.Embedding, keras.layers.Flatten),
    *(keras.layers.Reshape, keras.layers.Concatenate, keras.layers.Add, keras.layers.Activation),
    *(keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU, keras.layers.Dropout),
    *(keras.layers.LayerNormalization, keras.layers.BatchNormalization),
    *(MLP, StandardizedInputs, ConditionStatistics),
)

# Types that hold not all whole numbers of labels.
_SMALL_FLOATS = ("bfloat16", "float16")


def describe_conditions(network: Any, condition_shape: Any) -> tuple[ConditionSpec | None, Any]:
    """Returns the conditions that a flow accepts, and the shape of those that its bijector gets.

    Args:
      network: the flow's condition network, or None. It is called, so that its weights exist.
      condition_shape: int or tuple, or a dictionary or sequence of shapes; or None, for flows
        without condition, and for functional models, which know the shapes of their inputs.

    Raises:
      TypeError: if `network` is not a Keras layer.
      ValueError: if shapes do not fit, or are not known.

    >>> network = keras.Sequential([keras.layers.Embedding(10, 8), keras.layers.Flatten()])
    >>> spec, shape = describe_conditions(network, 1)
    >>> spec.inputs[0].dtype, spec.inputs[0].categories, shape
    ('int32', 10, (8,))
    """
    if network is None:
        if condition_shape is None:
            return None, None
        shape = event_shape_tuple(condition_shape, "condition_shape")
        return ConditionSpec.of_shape(shape), shape
    if not isinstance(network, keras.layers.Layer):
        raise TypeError(f"`condition_network` must be a Keras 3 layer. Received: {network!r}")
    inner = network.layer if isinstance(network, StandardizedInputs) else network
    if condition_shape is None:
        shapes = {key: tuple(tensor.shape[1:]) for key, tensor in _declared(inner).items()}
        if not shapes:
            raise ValueError(
                "`condition_shape` must be given, unless `condition_network` is a functional "
                f"model, whose inputs have shapes. Received: {network!r}"
            )
    else:
        shapes = parts_of(condition_shape)
    shapes = {
        key: () if shape in ((), []) else event_shape_tuple(shape, name_of("condition_shape", key))
        for key, shape in shapes.items()
    }
    dtypes = _dtypes(inner, shapes)
    zeros = {key: tf.zeros((1, *shape), dtypes[key]) for key, shape in shapes.items()}
    output = first_outputs(network, packed(zeros), "condition_network")
    shape = getattr(output, "shape", (None,))
    if len(shape) < 2 or shape[0] != 1 or not tf.TensorShape(shape).is_fully_defined():
        raise ValueError(
            "`condition_network` must give one array [batch, ...] for one condition in each row. "
            f"Received: {network!r}, which gives {output!r}"
        )
    inputs = [
        ConditionInput(key, shapes[key], dtypes[key], _categories(inner, tensor))
        for key, tensor in zip(shapes, _in_order(inner, shapes), strict=True)
    ]
    return ConditionSpec(tuple(inputs)), tuple(shape[1:])


def compiles_well(network: keras.layers.Layer | None) -> bool:
    """Whether XLA is known to compile a condition network well: it has dense layers of Keras'."""
    return network is None or all(
        isinstance(layer, _DENSE)
        or (isinstance(layer, keras.Model) and type(layer).__module__.startswith("keras."))
        for layer in all_layers(network)
    )


def _declared(network):
    """Returns the symbolic inputs of a functional or sequential model by their keys."""
    if not getattr(network, "inputs", None):
        return {}
    if len(network.inputs) == 1:
        return {None: network.inputs[0]}
    if isinstance(network.input, dict):  # As the model was given them.
        return network.input
    return {tensor.name: tensor for tensor in network.inputs}


def _dtypes(network, shapes):
    """Returns "float32", or the type of labels, of each input by its key."""
    declared = {
        key: "float32" if tensor is None else keras.backend.standardize_dtype(tensor.dtype)
        for key, tensor in zip(shapes, _in_order(network, shapes), strict=True)
    }
    if "string" in declared.values():
        raise ValueError(
            "`condition_network` must take numbers: make them from texts beforehand. "
            f"Received: {network!r} with an input of texts"
        )
    layers = all_layers(network)
    dtypes, guessed = {}, set()
    # Floats can be declared for what an embedding takes, too; they have no gradient.
    if any(isinstance(layer, OF_LABELS) for layer in layers) and not any(
        isinstance(layer, keras.layers.Discretization) for layer in layers
    ):
        guessed = _without_gradient(network, shapes)
    for key, dtype in declared.items():
        is_whole = not keras.backend.is_float_dtype(dtype)
        if key in guessed and dtype in _SMALL_FLOATS:
            raise ValueError(
                "`condition_network` must take labels as whole numbers: let it begin with "
                f"`keras.Input({shapes[key]}, dtype='int32')`. Received: {network!r}, whose input "
                f"is {dtype}"
            )
        dtypes[key] = dtype if is_whole else "int32" if key in guessed else "float32"
    return dtypes


def _in_order(network, shapes):
    """Returns the symbolic input for each of the shapes, or None where it is not known."""
    declared = _declared(network)
    by_place = list(declared.values())
    if len(by_place) != len(shapes):
        return [None] * len(shapes)
    return [declared.get(key, by_place[i]) for i, key in enumerate(shapes)]


def _without_gradient(network, shapes):
    """Returns the keys of the inputs that have no gradient."""
    with tf.init_scope():  # Creates the weights; tapes do not record in there.
        network(packed({key: tf.zeros((1, *shape)) for key, shape in shapes.items()}))
    zeros = {key: tf.zeros((1, *shape)) for key, shape in shapes.items()}
    with tf.GradientTape() as tape:
        tape.watch(list(zeros.values()))
        output = network(packed(zeros))
    gradients = tape.gradient(output, zeros)
    return {key for key, gradient in gradients.items() if gradient is None}


def _categories(network, tensor):
    """Returns how many labels the embedding has that an input goes to, or None."""
    for layer in all_layers(network) if tensor is not None else ():
        # Layers inside of a layer of another class have no input.
        if isinstance(layer, keras.layers.Embedding) and getattr(layer, "input", None) is tensor:
            return layer.input_dim
    return None
