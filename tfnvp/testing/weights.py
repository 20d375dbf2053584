"""Checks of a bijector's weights: registered, trainable, no stale results, one network call."""

import collections
import contextlib
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import _internals
from tfnvp.bijectors.bijector import variables_of
from tfnvp.bijectors.compose import walk
from tfnvp.testing.subject import LOG_DETS, restored

# What is asked about tensors that are held: the inverse for the output of `forward`, and for data.
_METHODS = ("forward", "inverse", "inverse", *LOG_DETS.values())


def held_variables(bijector: Any) -> list:
    """Returns the variables of all Keras layers and variables that a bijector's attributes hold."""
    held = _internals.objects_in(bijector, (keras.layers.Layer, keras.Variable))
    return _distinct(v for keras_object in held for v in variables_of(keras_object))


def all_variables(bijector: Any) -> list:
    """Returns every variable of a bijector, registered or only held."""
    return _distinct([*bijector.variables, *held_variables(bijector)])


def _distinct(variables):
    return list({id(v): v for v in variables}.values())


def check_variables(subject: Any) -> None:
    """Every variable that the bijector holds, or reads, is among its `variables`."""
    bijector = subject.bijector
    registered = {id(v) for v in bijector.variables}
    trainable = {id(v) for v in bijector.trainable_variables}
    found = [(v, "held by a Keras layer or variable") for v in held_variables(bijector)]
    with tf.GradientTape() as tape:
        subject.all_four(subject.x, subject.forward(subject.x))
    found += [(v, "read by the methods") for v in tape.watched_variables()]
    for variable, how in found:
        where = "trainable_variables" if variable.trainable else "variables"
        subject.require(
            id(variable) in (trainable if variable.trainable else registered),
            f"variables: {variable.name} of shape {variable.shape} is {how} of the bijector, and "
            f"missing in its {where}",
        )


def check_gradients(subject: Any) -> None:
    """Values have gradients by the input; value or log-det by every trainable variable."""
    variables = subject.bijector.trainable_variables
    names = ["its input", *(v.name for v in variables)]
    for direction, method, x in subject.directions():
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            # Squared: a sum can be constant where its terms are not.
            value = tf.reduce_sum(subject.ask_anew(direction, x) ** 2)
            log_det = tf.reduce_sum(subject.ask_anew(method, x))
        by_value, by_log_det = (tape.gradient(r, [x, *variables]) for r in (value, log_det))
        subject.require(by_value[0] is not None, f"gradients: {direction} has none by its input")
        for name, *pair in zip(names, by_value, by_log_det, strict=True):
            pair = [tf.convert_to_tensor(g) for g in pair if g is not None]
            what = f"gradients: neither {direction} nor its log-det has one by {name}"
            subject.require(pair, what)
            what = f"gradients: that of {direction} or its log-det by {name} is NaN or infinite"
            subject.require(all(np.isfinite(g).all() for g in pair), what)


def check_stale_answers(subject: Any) -> None:
    """After weights change, tensors held from before get the answers of the new weights."""
    variables = [v for v in all_variables(subject.bijector) if v.trainable and v.dtype.is_floating]
    if not variables:
        return
    eager = functools.partial(_held_and_fresh, subject, variables)
    for ask, where in (
        (eager, "eagerly"),
        (tf.function(eager, autograph=False), "in a tf.function"),
    ):
        with restored(variables):
            held, fresh, _ = ask()
        for method, *answers in zip(_METHODS, held, fresh, strict=True):
            subject.require_close(
                *answers,
                f"stale answers: {method} of a tensor held since before a weight changed, {where} "
                "(TFP caches by tensors alone; a tfnvp.bijectors.Bijector does not)",
            )


def _held_and_fresh(subject, variables):
    """Asks before and after a change of weights, with the same tensors and with new ones."""
    x = tf.identity(subject.x)
    y = subject.ask("forward", x)
    z = tf.identity(y)  # Like new data: the bijector cannot know that it comes from x.
    questions = list(zip(_METHODS, (x, y, z, x, z), strict=True))
    before = [subject.ask(*question) for question in questions]
    for i, variable in enumerate(variables):
        noise = np.random.default_rng(i).normal(0.0, 0.1, variable.shape)
        variable.assign_add(tf.cast(noise, variable.dtype))
    held = [subject.ask(*question) for question in questions]
    fresh = [subject.ask_anew(*question) for question in questions]
    # Returned too, so that they stay alive, in the graph as in eager mode.
    return held, fresh, before


def check_conditioner_calls(subject: Any) -> None:
    """A value and its log-det together call each member's conditioner once."""
    held = _conditioners([subject.bijector, *subject.bijector.submodules])
    # Submodules hold a member once, however often it occurs in a chain.
    members = collections.Counter(map(id, held))
    occurrences = (step.bijector for step in walk(subject.bijector))
    members |= collections.Counter(map(id, _conditioners(occurrences)))
    layers = {id(layer): layer for layer in held}.values()
    for direction, method, x in subject.directions():
        x = tf.identity(x)
        with _counted_calls(layers) as calls:
            # Kept, as users keep it: the cache entry is deleted with the value.
            kept = subject.ask(direction, x)
            subject.ask(method, x)
            del kept
        for layer in layers:
            called, expected = calls[id(layer)], members[id(layer)]
            subject.require(
                called == expected,
                f"conditioner calls: {direction} with its log-det called {layer.name} {called} "
                f"times, expected {expected} (once for each coupling that has it)",
            )


def _conditioners(modules):
    found = [getattr(module, "conditioner", None) for module in modules]
    return [c for c in found if isinstance(c, keras.layers.Layer)]


@contextlib.contextmanager
def _counted_calls(layers):
    """Counts the calls of layers, by their `id`.

    Wraps the layers' own `call`, the function that computes, and removes the wrappers afterwards.
    """
    calls = collections.Counter()

    def counted(layer, call, *args, **kwargs):
        calls[id(layer)] += 1
        return call(*args, **kwargs)

    for layer in layers:
        # Without Keras' own setter: the wrapper is not state of the layer.
        object.__setattr__(layer, "call", functools.partial(counted, layer, layer.call))
    try:
        yield calls
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
