"""Checks of what a bijector computes: shapes, finite values, round trips, log-dets."""

import dataclasses
import functools
import math
import re
from typing import Any

import numpy as np
import tensorflow as tf


def check_shapes(subject: Any) -> None:
    """Events, batches and dtypes come out as promised, with the batch known or not."""
    x, y, condition = subject.x, subject.forward(subject.x), subject.condition
    for method, shape, expected in (
        ("forward_event_shape", x.shape[1:], y.shape[1:]),
        ("inverse_event_shape", y.shape[1:], x.shape[1:]),
    ):
        static = getattr(subject.bijector, method)(shape)
        dynamic = getattr(subject.bijector, f"{method}_tensor")(shape.as_list())
        for found in (static.as_list(), np.asarray(dynamic).tolist()):
            subject.require_equal(found, expected.as_list(), f"shapes: {method}({shape})")
    sizes = [math.prod(t.shape[1:]) for t in (y, x)]
    subject.require_equal(*sizes, "shapes: the number of values in an event of forward(x)")
    whole = _require_shapes(subject, subject.all_four(x, y), x, y, "a batch")
    pair = [None if t is None else tf.stack([t, t]) for t in (x, y, condition)]
    answers = _require_shapes(subject, subject.all_four(*pair), *pair[:2], "two batch axes")
    _require_equal(subject, {k: v[1:] for k, v in answers.items()}, whole, "with two batch axes")
    one = [None if t is None else t[0] for t in (x, y, condition)]
    try:
        answers = subject.all_four(*one)
    except Exception as error:
        raise AssertionError(
            f"{subject.bijector.name}: shapes: a single event of shape {one[0].shape}, without a "
            f"batch, raised {type(error).__name__}: {error}"
        ) from error
    answers = _require_shapes(subject, answers, *one[:2], "a single event")
    _require_equal(subject, answers, {k: v[:1] for k, v in whole.items()}, "for a single event")
    none = [None if t is None else t[:0] for t in (x, y, condition)]
    _require_shapes(subject, subject.all_four(*none), *none[:2], "no rows")
    _check_unknown_batch(subject, y, whole)
    _check_unknown_rank(subject, whole)


def _check_unknown_batch(subject, y, whole):
    tensors = [t for t in (subject.x, y, subject.condition) if t is not None]
    # A partial, so that TensorFlow does not count the graphs of all bijectors as one function's.
    function = tf.function(functools.partial(subject.all_four), autograph=False)
    specs = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors]
    concrete = function.get_concrete_function(*specs)
    for method, event in (("forward", y.shape[1:]), ("inverse", subject.x.shape[1:])):
        static = concrete.structured_outputs[method].shape[1:]
        what = f"shapes: in a tf.function of unknown batch size, the static event of {method}"
        subject.require_equal(static, event, what)
    _require_equal(subject, concrete(*tensors), whole, "in a tf.function of unknown batch size")


def _check_unknown_rank(subject, whole):
    for method in ("forward_event_shape", "inverse_event_shape"):
        found = getattr(subject.bijector, method)(tf.TensorShape(None))
        subject.require_equal(found.rank, None, f"shapes: rank of {method} of an unknown rank")
    tensors = [t for t in (subject.x, subject.condition) if t is not None]

    def evaluate(x, condition=None):
        given = dataclasses.replace(subject, condition=condition)
        return {m: given.ask_anew(m, x) for m in ("forward", "forward_log_det_jacobian")}

    specs = [tf.TensorSpec(None, t.dtype) for t in tensors]
    try:
        answers = tf.function(evaluate, input_signature=specs, autograph=False)(*tensors)
    except ValueError as error:
        names_it = re.search("rank|unknown", str(error))
        subject.require(names_it, f"shapes: an unknown rank raised: {error}")
    else:
        _require_equal(subject, answers, whole, "in a tf.function of unknown rank")


def _require_shapes(subject, answers, x, y, where):
    """Returns the answers, once their shapes and dtypes are found right."""
    shapes = dict.fromkeys(answers, x.shape[: x.shape.rank + 1 - subject.x.shape.rank])
    shapes |= {"forward": y.shape, "inverse": x.shape}
    for method, answer in answers.items():
        expected = shapes[method]
        # TFP lets a log-det that is the same everywhere leave out what broadcasting adds.
        constant = subject.bijector.is_constant_jacobian and method.endswith("jacobian")
        subject.require(
            answer.shape == expected or (constant and _broadcasts(answer.shape, expected)),
            f"shapes: {method} of {where} has shape {answer.shape}, expected {expected}",
        )
        what = f"shapes: {method} of {x.dtype.name} inputs"
        subject.require_equal(answer.dtype.name, x.dtype.name, what)
    return {method: tf.broadcast_to(v, shapes[method]) for method, v in answers.items()}


def _broadcasts(shape, whole):
    try:
        return tf.broadcast_static_shape(shape, whole) == whole
    except ValueError:
        return False


def _require_equal(subject, answers, expected, where):
    for method, answer in answers.items():
        subject.require_close(answer, expected[method], f"shapes: {method} {where}")


def check_finite(subject: Any) -> None:
    """Values and log-dets of both directions are finite at the given points."""
    for method, answer in subject.all_four(subject.x, subject.forward(subject.x)).items():
        wrong = np.argwhere(~np.isfinite(np.asarray(tf.cast(answer, tf.float64)))).tolist()
        subject.require(
            not wrong,
            f"finite values: {len(wrong)} of {answer.shape.num_elements()} values of {method} are "
            f"NaN or infinite, the first at {wrong[:1]}",
        )


def check_round_trip(subject: Any) -> None:
    """`inverse(forward(x)) = x` and `forward(inverse(y)) = y`, without a cache."""
    y = subject.forward(subject.x)
    x = subject.inverse(y)
    subject.require_close(x, subject.x, "round trip: inverse(forward(x)) against x")
    subject.require_close(subject.forward(x), y, "round trip: forward(inverse(y)) against y")


def check_log_dets(subject: Any) -> None:
    """All four log-dets agree with each other and with automatic differentiation in float64."""
    _check_agreement(subject)
    _check_reduction(subject)
    exact = subject.float64()
    free = _unconstrained(exact.bijector)
    truth, truth_gradients = _with_gradients(exact.x, free, lambda: _autodiff_log_det(exact))
    given, gradients = _with_gradients(
        exact.x, free, lambda: exact.ask_anew("forward_log_det_jacobian", exact.x)
    )
    exact.require_close(given, truth, "log-dets: forward_log_det_jacobian against autodiff")
    names = ["the input", *(v.name for v in free)]
    for name, *pair in zip(names, gradients, truth_gradients, strict=True):
        # Variables are float32 as a rule, and so are their gradients.
        pair = (tf.cast(gradient, subject.x.dtype) for gradient in pair)
        what = f"log-dets: gradient of forward_log_det_jacobian by {name} against autodiff"
        exact.require_close(*pair, what)


def _check_agreement(subject):
    forward, inverse = "forward_log_det_jacobian", "inverse_log_det_jacobian"
    x = subject.x
    y = subject.forward(x)
    back = subject.inverse(y)
    reference = subject.ask_anew(forward, x)
    # With the same tensors the log-det may come from a cache, and must be right.
    held = subject.ask("forward", x)
    again, again_inverse = subject.ask(forward, x), -subject.ask(inverse, held)
    for what, log_det in (
        (f"{inverse}(forward(x))", -subject.ask_anew(inverse, y)),
        (f"{forward}(inverse(y))", subject.ask_anew(forward, back)),
        (f"{inverse}(forward(inverse(y)))", -subject.ask_anew(inverse, subject.forward(back))),
        (f"{forward}(x) after forward(x)", again),
        (f"{inverse}(y) after y = forward(x)", again_inverse),
    ):
        what = f"log-dets: {what}, up to its sign, against the one at x"
        subject.require_close(log_det, reference, what)


def _check_reduction(subject):
    for direction, method, x in subject.directions():
        least = getattr(subject.bijector, f"{direction}_min_event_ndims")
        finest = subject.ask_anew(method, x, least)
        shape = x.shape[: x.shape.rank - least]
        if subject.bijector.is_constant_jacobian:
            finest = tf.broadcast_to(finest, shape)
        subject.require_equal(finest.shape, shape, f"log-dets: shape with event_ndims={least}")
        for event_ndims in range(least + 1, x.shape.rank):
            summed = tf.reduce_sum(finest, axis=list(range(least - event_ndims, 0)))
            what = f"log-dets: event_ndims={event_ndims} against the sum of event_ndims={least}"
            subject.require_close(subject.ask_anew(method, x, event_ndims), summed, what)


def _autodiff_log_det(subject):
    """`log|det dy/dx|` from the Jacobian of the flattened events."""
    x = subject.x
    size = math.prod(x.shape[1:])
    flat = tf.reshape(x, (-1, size))
    # For few variables a loop is faster than the program that TensorFlow makes of one.
    vectorized = size > 16
    with tf.GradientTape(persistent=not vectorized) as tape:
        tape.watch(flat)
        y = tf.reshape(subject.forward(tf.reshape(flat, x.shape)), (-1, size))
    jacobian = tape.batch_jacobian(y, flat, experimental_use_pfor=vectorized)
    # In float32 a product of many scales leaves the range of numbers; its logarithm does not.
    return tf.linalg.slogdet(jacobian).log_abs_determinant


def _unconstrained(bijector):
    """Variables of which every entry is free.

    A constraint can be a mask, as in TFP's autoregressive networks: log-dets need not be right
    for weights that the mask excludes.
    """
    return [v for v in bijector.trainable_variables if getattr(v, "constraint", None) is None]


def _with_gradients(x, variables, log_det):
    """Returns a log-det and its gradients in input and variables, zeros instead of None."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = tf.broadcast_to(log_det(), x.shape[:1])
        # Unequal weights, so that the errors of different points do not cancel.
        weighted = tf.tensordot(tf.linspace(tf.cast(1.0, value.dtype), 2.0, len(value)), value, 1)
    return value, tape.gradient(weighted, [x, *variables], unconnected_gradients="zero")
