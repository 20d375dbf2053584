"""Every private name of TensorFlow, TFP and Keras that tfnvp uses.

Nothing else in the package reaches into another library. `tests/test_internals.py` has one test for
each name here, which says what broke when a library renames it.
"""

import contextlib
import sys
import threading
import weakref
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.utils import io_utils
from tensorflow.python.eager import record, tape
from tensorflow.python.ops import gradients_util
from tensorflow.python.ops.resource_variable_ops import ResourceVariable
from tensorflow_probability.python.bijectors.bijector import Bijector

# The base class of all objects that `tfb.Chain(...)` returns.
from tensorflow_probability.python.bijectors.chain import _Chain as plain_chain
from tensorflow_probability.python.bijectors.invert import _Invert
from tensorflow_probability.python.internal import cache_util
from tensorflow_probability.python.internal import prefer_static as prefer_static

if keras.config.backend() != "tensorflow":
    raise ImportError(
        "tfnvp needs TensorFlow as the backend of Keras: set KERAS_BACKEND=tensorflow before Keras "
        f"is imported. Received: {keras.config.backend()}"
    )

# --- TensorFlow Probability -------------------------------------------------------------------


def is_chain(bijector) -> bool:
    """Whether a bijector is a `tfb.Chain` or ours."""
    return isinstance(bijector, plain_chain)


def is_invert(bijector) -> bool:
    """Whether a bijector is a `tfb.Invert`."""
    return isinstance(bijector, _Invert)


def hashed_by_a_cache() -> bool:
    """Whether `__hash__`, which calls this, runs for a key of one of TFP's caches."""
    frame = sys._getframe(2)
    while frame.f_code is Bijector.__hash__.__code__:  # Of a composition.
        frame = frame.f_back
    return frame.f_code.co_filename == cache_util.__file__


def renamed(bijector, name: str):
    """Gives a copied bijector another name, which is also among its parameters."""
    bijector._name = name
    bijector._parameters = {**bijector._parameters, "name": name}
    return bijector


# --- TensorFlow -------------------------------------------------------------------------------


def tape_is_recording() -> bool:
    """Whether a gradient tape or a forward accumulator may record operations now."""
    return record.could_possibly_record()


def tapes_watching(tensors) -> int:
    """Counts the recording tapes that watch any of the tensors: 0, 1, or 2 for more.

    A persistent tape counts twice.
    """
    return gradients_util.PossibleTapeGradientTypes(tensors)


def tell_tapes_of_reads(variables) -> None:
    """Makes gradient tapes watch trainable variables, as reading them would."""
    for variable in variables:
        if variable.trainable:
            tape.variable_accessed(variable)


def read(variable: tf.Variable) -> tf.Tensor:
    """Reads a variable without a copy of its value, hidden from gradient tapes."""
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def count_writes(graph, variables) -> int | None:
    """Counts a graph's operations that may write to variables; None where that is unknown."""
    try:
        consumers = [op for v in variables for op in graph.capture(v.handle).consumers()]
    except (AttributeError, ValueError):
        return None
    return sum(op.type != "ReadVariableOp" for op in consumers)


def results_in(graph, times: int = 1) -> Iterator[tuple[tf.Tensor, int]]:
    """Yields the floats that a graph and its loops compute, and how often each at most.

    Scalars, reads of variables and tensors of unknown shape are left out.
    """
    for op in graph.get_operations():
        yield from ((tensor, times) for tensor in op.outputs if _is_result(tensor))
        for body, again in _loop_body(graph, op):
            yield from results_in(body, times * again)


def results_kept(graph, operations: list, readers: list, times: int = 1) -> Iterator:
    """Yields the floats of operations that others, of their gradients, read, as `results_in` does.

    What the gradients read of an iteration, the body of a loop puts into lists.
    """
    inner = set(operations)
    read = {t.ref(): t for op in readers for t in op.inputs if t.op in inner and _is_result(t)}
    yield from ((tensor, times) for tensor in read.values())
    for op in operations:
        for body, again in _loop_body(graph, op):
            inside = body.get_operations()
            lists = [other for other in inside if other.type == "TensorListPushBack"]
            yield from results_kept(body, inside, lists, times * again)


def _is_result(tensor):
    is_array = tensor.shape.is_fully_defined() and tensor.shape.rank
    return tensor.dtype.is_floating and is_array and tensor.op.type != "ReadVariableOp"


def _loop_body(graph, op):
    """Returns the graph of a loop's body and how often it runs at most, if an operation is one."""
    if op.type not in ("While", "StatelessWhile"):
        return []
    most = tf.get_static_value(op.inputs[1])  # -1 without a `maximum_iterations`.
    body = graph._get_function(op.get_attr("body").name).graph
    return [(body, max(1, int(most or 1)))]


def objects_in(module: tf.Module, kind) -> list:
    """Returns the objects of a class that a `tf.Module` and its submodules hold as attributes."""
    return list(module._flatten(predicate=lambda value: isinstance(value, kind)))


# --- TensorFlow Datasets ----------------------------------------------------------------------

_FEATURES_ARE_REPLACED = threading.Lock()


@contextlib.contextmanager
def only_known_features() -> Iterator[None]:
    """Lets TensorFlow Datasets make features only of classes that are imported already.

    Otherwise it imports whatever module the `features.json` of a data set names.
    """
    from tensorflow_datasets.core.features.feature import FeatureConnector

    def known(cls, name):
        if name not in cls._registered_features:
            raise ValueError(f"it names the unknown class of features {name!r}")
        return cls._registered_features[name]

    with _FEATURES_ARE_REPLACED:
        original = FeatureConnector.__dict__["cls_from_name"]
        FeatureConnector.cls_from_name = classmethod(known)
        try:
            yield
        finally:
            FeatureConnector.cls_from_name = original


# --- Keras ------------------------------------------------------------------------------------


def all_layers(layer: keras.layers.Layer, include_self: bool = True) -> list:
    """Returns a Keras layer with all layers inside it."""
    return list(layer._flatten_layers(include_self=include_self))


def variables_to_train(layer: keras.layers.Layer) -> list:
    """Returns a layer's own variables that train unless it is frozen."""
    return layer._trainable_variables


def is_training() -> bool:
    """Whether the code that calls this runs inside of a layer or model called for training."""
    context = global_state.get_global_attribute("current_call_ctx")
    return context is not None and bool(context.get_value("training"))


class _FollowingVariable(ResourceVariable):
    """A variable that trains as long as the Keras variable does that holds it."""

    @property
    def _trainable(self):  # `trainable` returns it, and gradient tapes look at it.
        holder = self._holder()
        return vars(self)["_trainable"] if holder is None else holder.trainable


def value_that_follows(variable: keras.Variable) -> tf.Variable:
    """Returns the `tf.Variable` of a Keras variable, which from now on has its `trainable` flag."""
    value = variable.value
    if type(value) is ResourceVariable:
        value._holder = weakref.ref(variable)
        value.__class__ = _FollowingVariable
    return value


class AdoptedVariable(keras.Variable):
    """A Keras variable that wraps an existing `tf.Variable`, such as one of a TFP bijector."""

    def _convert_to_tensor(self, value, dtype=None):
        if isinstance(value, tf.Variable):
            return value
        return super()._convert_to_tensor(value, dtype)


def make_paths_unique(variables) -> None:
    """Appends numbers to the paths of Keras variables whose path is that of an earlier one."""
    taken = set()
    for variable in {id(v): v for v in variables}.values():
        path, number = variable.path, 0
        while variable.path in taken:
            number += 1
            variable._path = f"{path}_{number}"
        taken.add(variable.path)


class BuiltModel(keras.Model):
    """A model whose weights exist before its first batch."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Under `tf.distribute`, Keras' own method reads a batch, and fails on dictionaries.
        pass


def initial_epoch(model: keras.Model) -> int:
    """Returns the epoch in which Keras' `fit` begins."""
    return model._initial_epoch or 0


def set_initial_epoch(model: keras.Model, epoch: int | None) -> None:
    """Sets the epoch in which Keras' `fit` begins, from a callback's `on_train_begin`."""
    model._initial_epoch = epoch


def may_overwrite(file) -> bool:
    """Asks on the terminal whether a file may be overwritten, as `keras.Model.save` does."""
    return io_utils.ask_to_proceed_with_overwrite(file)


def learning_rate(optimizer: keras.Optimizer):
    """Returns what an optimizer holds as learning rate: a variable, or a schedule."""
    return optimizer._learning_rate


def adam_slots(optimizer: keras.Optimizer, variable) -> tuple:
    """Returns Adam's averages of the gradient, and of its square, for a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def trained_variable(optimizer: keras.Optimizer, variable) -> keras.Variable:
    """Returns the Keras variable of which an optimizer moves `variable`, or a replica of it."""
    return optimizer._trainable_variables[optimizer._get_variable_index(variable)]


def is_validation_in_fit(arguments: dict) -> bool:
    """Whether Keras' `fit` calls `evaluate` with these arguments, for its validation data."""
    return bool(arguments.get("_use_cached_eval_dataset"))


def strategy_of(optimizer: keras.Optimizer, default):
    """Returns the `tf.distribute` strategy that an optimizer was made under."""
    return getattr(optimizer, "_distribution_strategy", default)


def sum_gradients_before_clipping(optimizer: keras.Optimizer, total) -> None:
    """Lets an optimizer add up replicas' gradients by `total` before it clips them.

    Keras alone clips each replica's part first, which changes length and direction of the sum.
    """
    if "_clip_gradients" in vars(optimizer):
        return  # Done in an earlier `compile`.
    clip = optimizer._clip_gradients
    optimizer._clip_gradients = lambda gradients: clip(total(gradients))
    optimizer._all_reduce_sum_gradients = lambda gradients_and_variables: gradients_and_variables
