"""Checks of what a bijector computes: shapes, finite values, round trips, log-dets."""

import functools
import math
from typing import Any

import numpy as np
import tensorflow as tf


def check_shapes(subject: Any) -> None:
    """Events, batches and dtypes come out as promised, with the batch known or not."""
    bijector, x, condition = subject.bijector, subject.x, subject.condition
    y = subject.forward(x)
    for method, shape, expected in (
        ("forward_event_shape", x.shape[1:], y.shape[1:]),
        ("inverse_event_shape", y.shape[1:], x.shape[1:]),
    ):
        static = getattr(bijector, method)(shape)
        dynamic = getattr(bijector, f"{method}_tensor")(shape.as_list())
        for received in (static.as_list(), np.asarray(dynamic).tolist()):
            subject.require(
                received == expected.as_list(),
                f"shapes: {method}({shape}) is {received}, the values have {expected.as_list()}",
            )
    subject.require(
        math.prod(x.shape[1:]) == math.prod(y.shape[1:]),
        f"shapes: events of shape {x.shape[1:]} go to events of another size, {y.shape[1:]}",
    )
    whole = _require_shapes(subject, subject.all_four(x, y), x.shape, y.shape, "a batch")
    pair = [None if t is None else tf.stack([t, t]) for t in (x, y, condition)]
    shapes = pair[0].shape, pair[1].shape
    answers = _require_shapes(subject, subject.all_four(*pair), *shapes, "two batch axes")
    _require_equal(subject, {k: v[1:] for k, v in answers.items()}, whole, "with two batch axes")
    one = [None if t is None else t[0] for t in (x, y, condition)]
    shapes = one[0].shape, one[1].shape
    try:
        answers = subject.all_four(*one)
    except Exception as error:
        raise AssertionError(
            f"{bijector.name}: shapes: a single event of shape {one[0].shape}, without a batch, "
            f"raised {type(error).__name__}: {error}"
        ) from error
    answers = _require_shapes(subject, answers, *shapes, "a single event")
    _require_equal(subject, answers, {k: v[:1] for k, v in whole.items()}, "for a single event")
    _check_unknown_batch(subject, y, whole)


def _check_unknown_batch(subject, y, whole):
    tensors = [t for t in (subject.x, y, subject.condition) if t is not None]
    # A partial, so that TensorFlow does not count the graphs of all bijectors as one function's.
    function = tf.function(functools.partial(subject.all_four), autograph=False)
    specs = [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors]
    concrete = function.get_concrete_function(*specs)
    for method, event in (("forward", y.shape[1:]), ("inverse", subject.x.shape[1:])):
        static = concrete.structured_outputs[method].shape
        subject.require(
            static.rank is not None and static[1:] == event,
            f"shapes: with an unknown batch size, {method} has the static shape {static} in a "
            f"tf.function, expected (None, {', '.join(map(str, event))})",
        )
    _require_equal(subject, concrete(*tensors), whole, "in a tf.function of unknown batch size")


def _require_shapes(subject, answers, x_shape, y_shape, where):
    """Returns the answers, once their shapes and dtypes are found right."""
    batch = x_shape[: x_shape.rank - subject.event_ndims]
    shapes = {"forward": y_shape, "inverse": x_shape}
    for method, answer in answers.items():
        shape = shapes.get(method, batch)
        subject.require(
            _fits(subject, method, answer, shape),
            f"shapes: {method} of {where} has shape {answer.shape}, expected {shape}",
        )
        subject.require(
            answer.dtype == subject.x.dtype,
            f"shapes: {method} of {subject.x.dtype.name} inputs is {answer.dtype.name}",
        )
    return {k: tf.broadcast_to(v, shapes.get(k, batch)) for k, v in answers.items()}


def _fits(subject, method, answer, shape):
    if answer.shape == shape:
        return True
    # TFP lets a log-det that is the same everywhere leave out what broadcasting adds.
    constant = subject.bijector.is_constant_jacobian and method.endswith("jacobian")
    missing = shape.rank - answer.shape.rank
    sizes = zip(answer.shape, shape[missing:], strict=True) if missing >= 0 else [(0, 1)]
    return constant and all(size in (1, expected) for size, expected in sizes)


def _require_equal(subject, answers, expected, where):
    for method, answer in answers.items():
        subject.require_close(answer, expected[method], f"shapes: {method} {where}")


def check_finite(subject: Any) -> None:
    """Values and log-dets of both directions are finite at the given points."""
    for method, answer in subject.all_four(subject.x, subject.forward(subject.x)).items():
        wrong = np.argwhere(~np.isfinite(np.asarray(tf.cast(answer, tf.float64))))
        subject.require(
            len(wrong) == 0,
            f"finite values: {len(wrong)} of {answer.shape.num_elements()} values of {method} are "
            f"NaN or infinite, the first at {tuple(int(i) for i in wrong[:1].ravel())}",
        )


def check_round_trip(subject: Any) -> None:
    """`inverse(forward(x)) = x` and `forward(inverse(y)) = y`, without a cache."""
    x = subject.x
    y = subject.forward(x)
    subject.require_close(subject.inverse(y), x, "round trip: inverse(forward(x)) against x")
    again = subject.forward(subject.inverse(y))
    subject.require_close(again, y, "round trip: forward(inverse(y)) against y")


def check_log_dets(subject: Any) -> None:
    """All four log-dets agree with each other and with automatic differentiation in float64."""
    _check_agreement(subject)
    _check_reduction(subject)
    exact = subject.float64()
    x = exact.x
    truth, truth_gradients = _with_gradients(exact, lambda: _autodiff_log_det(exact, x))
    given, gradients = _with_gradients(exact, lambda: exact.forward_log_det(x))
    exact.require_close(given, truth, "log-dets: forward_log_det_jacobian against autodiff")
    for name, gradient_, expected in zip(
        ["the input", *(v.name for v in _unconstrained(exact))],
        gradients,
        truth_gradients,
        strict=True,
    ):
        # Variables are float32 as a rule, and so are their gradients.
        exact.require_close(
            tf.cast(gradient_, subject.x.dtype),
            tf.cast(expected, subject.x.dtype),
            f"log-dets: gradient of forward_log_det_jacobian with respect to {name} against "
            "autodiff",
        )


def _check_agreement(subject):
    x = subject.x
    y = subject.forward(x)
    back = subject.inverse(y)
    reference = subject.forward_log_det(x)
    for what, log_det in (
        ("inverse_log_det_jacobian(forward(x))", -subject.inverse_log_det(y)),
        ("forward_log_det_jacobian(inverse(y))", subject.forward_log_det(back)),
        (
            "inverse_log_det_jacobian(forward(inverse(y)))",
            -subject.inverse_log_det(subject.forward(back)),
        ),
    ):
        subject.require_close(
            log_det, reference, f"log-dets: {what}, up to its sign, against the one at x"
        )
    # With the same tensors the log-det may come from a cache, and must be right.
    held = subject.bijector.forward(x, **subject.arguments(None))
    subject.require_close(
        subject.bijector.forward_log_det_jacobian(
            x, subject.event_ndims, **subject.arguments(None)
        ),
        reference,
        "log-dets: forward_log_det_jacobian(x) after forward(x)",
    )
    subject.require_close(
        -subject.bijector.inverse_log_det_jacobian(
            held, subject.image_ndims, **subject.arguments(None)
        ),
        reference,
        "log-dets: inverse_log_det_jacobian(y) after y = forward(x), up to its sign,",
    )


def _check_reduction(subject):
    x, y = subject.x, subject.forward(subject.x)
    constant = subject.bijector.is_constant_jacobian
    for log_det, point, least in (
        (subject.forward_log_det, x, subject.bijector.forward_min_event_ndims),
        (subject.inverse_log_det, y, subject.bijector.inverse_min_event_ndims),
    ):
        finest = log_det(point, event_ndims=least)
        shape = point.shape[: point.shape.rank - least]
        if constant:
            finest = tf.broadcast_to(finest, shape)
        subject.require(
            finest.shape == shape,
            f"log-dets: with event_ndims={least} the shape is {finest.shape}, expected {shape}",
        )
        for event_ndims in range(least + 1, point.shape.rank):
            summed = tf.reduce_sum(finest, axis=list(range(least - event_ndims, 0)))
            subject.require_close(
                log_det(point, event_ndims=event_ndims),
                summed,
                f"log-dets: with event_ndims={event_ndims} against the sum of event_ndims={least}",
            )


def _autodiff_log_det(subject, x):
    """`log|det dy/dx|` from the Jacobian of the flattened events."""
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


def _unconstrained(subject):
    """Variables of which every entry is free.

    A constraint can be a mask, as in TFP's autoregressive networks: log-dets need not be right
    for weights that the mask excludes.
    """
    trainable = subject.bijector.trainable_variables
    return [v for v in trainable if getattr(v, "constraint", None) is None]


def _with_gradients(subject, log_det):
    """Returns a log-det and its gradients in input and free variables, zeros instead of None."""
    sources = [subject.x, *_unconstrained(subject)]
    with tf.GradientTape() as tape:
        tape.watch(subject.x)
        value = tf.broadcast_to(log_det(), subject.x.shape[:1])
        # Unequal weights, so that the errors of different points do not cancel.
        weighted = tf.tensordot(tf.linspace(tf.cast(1.0, value.dtype), 2.0, len(value)), value, 1)
    return value, tape.gradient(weighted, sources, unconnected_gradients="zero")
