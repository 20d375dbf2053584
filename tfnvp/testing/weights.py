"""Checks of a bijector's weights: registered, trainable, no stale results, one network call."""

import collections
import contextlib
import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfnvp import _internals
from tfnvp.bijectors.compose import walk
from tfnvp.testing.subject import restored


def held_variables(bijector: Any) -> list:
    """Returns the variables of all Keras layers and variables that a bijector's attributes hold."""
    found = {}
    for value in _internals.objects_in(bijector, (keras.layers.Layer, keras.Variable)):
        for variable in [value] if isinstance(value, keras.Variable) else value.weights:
            found[id(variable.value)] = variable.value
    return list(found.values())


def all_variables(bijector: Any) -> list:
    """Returns every variable of a bijector, registered or only held."""
    both = [*bijector.variables, *held_variables(bijector)]
    return list({id(v): v for v in both}.values())


def check_variables(subject: Any) -> None:
    """Every variable that the bijector holds, or reads, is among its `variables`."""
    bijector = subject.bijector
    registered = {id(v) for v in bijector.variables}
    trainable = {id(v) for v in bijector.trainable_variables}
    for variable in held_variables(bijector):
        missing = id(variable) not in (trainable if variable.trainable else registered)
        subject.require(
            not missing,
            f"variables: {variable.name} of shape {variable.shape} is held by a Keras layer or "
            f"variable of the bijector, and missing in its "
            f"{'trainable_variables' if variable.trainable else 'variables'} "
            f"({len(trainable)} trainable of {len(registered)})",
        )
    with tf.GradientTape() as tape:
        subject.all_four(subject.x, subject.forward(subject.x))
    for variable in tape.watched_variables():
        subject.require(
            id(variable) in trainable,
            f"variables: {variable.name} of shape {variable.shape} is read by the bijector's "
            f"methods and missing in its trainable_variables ({len(trainable)})",
        )


def check_gradients(subject: Any) -> None:
    """Values have gradients by the input; value or log-det by every trainable variable."""
    variables = subject.bijector.trainable_variables
    y = subject.forward(subject.x)
    for direction, point, value, log_det in (
        ("forward", subject.x, subject.forward, subject.forward_log_det),
        ("inverse", y, subject.inverse, subject.inverse_log_det),
    ):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(point)
            # Squared: a sum can be constant where its terms are not.
            results = tf.reduce_sum(value(point) ** 2), tf.reduce_sum(log_det(point))
        by_value, by_log_det = (tape.gradient(r, [point, *variables]) for r in results)
        subject.require(
            by_value[0] is not None, f"gradients: {direction} has none with respect to its input"
        )
        names = ["its input", *(v.name for v in variables)]
        for name, *pair in zip(names, by_value, by_log_det, strict=True):
            pair = [tf.convert_to_tensor(g) for g in pair if g is not None]
            subject.require(
                pair,
                f"gradients: neither {direction} nor its log-det has one with respect to {name}",
            )
            subject.require(
                all(np.isfinite(g).all() for g in pair),
                f"gradients: that of {direction} or its log-det with respect to {name} has values "
                "that are NaN or infinite",
            )


def check_stale_answers(subject: Any) -> None:
    """After weights change, tensors held from before get the answers of the new weights."""
    variables = [v for v in all_variables(subject.bijector) if v.trainable and v.dtype.is_floating]
    if not variables:
        return
    with restored(variables):
        _require_fresh(subject, _held_and_fresh(subject, variables), "eagerly")
    with restored(variables):
        function = tf.function(
            functools.partial(_held_and_fresh, subject, variables), autograph=False
        )
        _require_fresh(subject, function(), "in a tf.function")


def _held_and_fresh(subject, variables):
    """Asks before and after a change of weights, with the same tensors and with new ones."""
    bijector, kwargs = subject.bijector, subject.arguments(None)
    x = tf.identity(subject.x)
    y = bijector.forward(x, **kwargs)
    z = tf.identity(y)  # Like new data: the bijector cannot know that it comes from x.
    before = bijector.inverse(z, **kwargs)

    def ask():
        return {
            "forward": bijector.forward(x, **kwargs),
            "inverse": bijector.inverse(y, **kwargs),
            "inverse of data": bijector.inverse(z, **kwargs),
            "forward_log_det_jacobian": bijector.forward_log_det_jacobian(
                x, subject.event_ndims, **kwargs
            ),
            "inverse_log_det_jacobian": bijector.inverse_log_det_jacobian(
                z, subject.image_ndims, **kwargs
            ),
        }

    held_before = ask()
    for i, variable in enumerate(variables):
        noise = np.random.default_rng(i).normal(0.0, 0.1, variable.shape)
        variable.assign_add(tf.cast(noise, variable.dtype))
    held = ask()
    fresh = subject.all_four(x, y)
    fresh["inverse of data"] = fresh["inverse"]
    # Returned too, so that both stay alive, in the graph as in eager mode.
    return held, fresh, (before, held_before)


def _require_fresh(subject, answers, where):
    held, fresh, _ = answers
    for method, answer in held.items():
        subject.require_close(
            answer,
            fresh[method],
            f"stale answers: {method} of a tensor held since before the weights changed, {where} "
            "(TFP caches by tensors alone; subclasses of tfnvp.bijectors.Bijector do not)",
        )


def check_conditioner_calls(subject: Any) -> None:
    """A value and its log-det together call each member's conditioner once."""
    y = subject.forward(subject.x)
    kwargs = subject.arguments(None)
    b = subject.bijector
    for direction, point, value, log_det, event_ndims in (
        ("forward", subject.x, b.forward, b.forward_log_det_jacobian, subject.event_ndims),
        ("inverse", y, b.inverse, b.inverse_log_det_jacobian, subject.image_ndims),
    ):
        point = tf.identity(point)
        with _counted_calls(b) as counts:
            # Kept, as users keep it: the cache entry is deleted with the value.
            kept = value(point, **kwargs)
            log_det(point, event_ndims, **kwargs)
            del kept
        for layer, members, calls in counts:
            subject.require(
                calls == members,
                f"conditioner calls: {direction} with its log-det called {layer.name} {calls} "
                f"times, expected {members} (once for each coupling that has it)",
            )


def _conditioners(modules):
    found = [getattr(module, "conditioner", None) for module in modules]
    return [c for c in found if isinstance(c, keras.layers.Layer)]


@contextlib.contextmanager
def _counted_calls(bijector):
    """Counts calls of every conditioner: yields a list, filled at the end, of (layer, members, n).

    Wraps the layers' own `call`, the function that computes, and removes the wrappers afterwards.
    """
    held = _conditioners([bijector, *bijector.submodules])
    layers = {id(c): c for c in held}
    # Submodules hold a member once, however often it occurs in a chain.
    members = collections.Counter(map(id, held))
    occurrences = (step.bijector for step in walk(bijector))
    members |= collections.Counter(map(id, _conditioners(occurrences)))
    calls = collections.Counter()
    counts = []

    def counted(layer, call):
        def counting_call(*args, **kwargs):
            calls[id(layer)] += 1
            return call(*args, **kwargs)

        return counting_call

    for layer in layers.values():
        # Without Keras' own setter: the wrapper is not state of the layer.
        object.__setattr__(layer, "call", counted(layer, layer.call))
    try:
        yield counts
    finally:
        for layer in layers.values():
            object.__delattr__(layer, "call")
        counts += [(layer, members[key], calls[key]) for key, layer in layers.items()]
