"""Checks of what TensorFlow and TFP expect of any bijector: tapes, equality, copies, dtypes."""

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.value_and_log_det import ValueAndLogDet
from tfnvp.testing.subject import LOG_DETS, TOLERANCES, restored
from tfnvp.testing.weights import all_variables


def check_tapes(subject: Any) -> None:
    """Gradients are right on every tape, whatever was computed before with the same tensors.

    TFP's own classes return one result for all tapes: they are not checked.
    """
    if not isinstance(subject.bijector, ValueAndLogDet):
        return
    # Not the result of `forward`: its inverse would be known.
    y = subject.forward(subject.x)
    for method in (*LOG_DETS, *LOG_DETS.values()):
        x = tf.identity(subject.x if method.startswith("forward") else y)
        expected, _ = _gradients(subject, method, tf.identity(x))
        kept, found = [subject.ask(method, x)], {}
        for where in ("a tape", "a second tape"):
            found[where], used = _gradients(subject, method, x)
            kept.append(used)
        with tf.GradientTape() as outer:
            outer.watch(x)
            kept.append(subject.ask(method, x))
            found["a tape inside of another"], (_, result) = _gradients(subject, method, x)
        found["a tape around another"] = _gradient(outer, result, subject, x)
        for where, gradients in found.items():
            for ours, right in zip(gradients, expected, strict=True):
                subject.require_close(ours, right, f"tapes: gradient of {method} on {where}")
    _check_forward_mode(subject)


def _gradients(subject, method, x):
    """Returns gradients on a new tape, and what has to stay alive: the tape and the result."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        result = subject.ask(method, x)
    return _gradient(tape, result, subject, x), (tape, result)


def _gradient(tape, result, subject, x):
    sources = [x, *subject.bijector.trainable_variables]
    return tape.gradient(result, sources, unconnected_gradients="zero")


def _check_forward_mode(subject):
    x = subject.x
    kept = {method: subject.ask(method, x) for method in ("forward", LOG_DETS["forward"])}
    for method in kept:
        jvps = []
        for source in (x, tf.identity(x)):
            with tf.autodiff.ForwardAccumulator(source, tf.ones_like(source)) as accumulator:
                result = subject.ask(method, source)
            jvps.append(accumulator.jvp(result, unconnected_gradients="zero"))
        what = f"tapes: derivative of {method} by a ForwardAccumulator, after use"
        subject.require_close(*jvps, what)


def check_equality(subject: Any) -> None:
    """A bijector equals its shallow copy, not one of other variables; its hash never changes."""
    bijector = subject.bijector
    subject.forward(subject.x)
    before, twin = hash(bijector), _copied(bijector, copy.copy) or bijector
    same = bijector == bijector and bijector == twin and hash(twin) == before
    subject.require(same, "equality: a shallow copy is not equal, or has another hash")
    hashes = set()
    with tf.GradientTape():
        subject.ask("forward", subject.x)
        hashes.add(hash(bijector))
    variables = [v for v in all_variables(bijector) if v.dtype.is_floating]
    with restored(variables):
        for variable in variables:
            variable.assign_add(tf.ones_like(variable))
        hashes.add(hash(bijector))
    what = "equality: the hash changes on a tape or with a variable"
    subject.require(hashes == {before}, what)
    other = _copied(bijector, copy.deepcopy) if variables else None
    if other is not None:
        subject.require(bijector != other, "equality: it equals one with other variables")


def _copied(bijector, make):
    """Returns a copy, or None for one that is not ours and cannot be copied, as TFP's `Invert`."""
    try:
        return make(bijector)
    except Exception:
        if isinstance(bijector, ValueAndLogDet):
            raise
        return None


def check_copies(subject: Any) -> None:
    """After use, `pickle` and `copy.deepcopy` give bijectors of equal values and own variables."""
    bijector = subject.bijector
    _use_everywhere(subject)
    expected = subject.forward(subject.x)
    for how, make in (
        ("pickle", lambda b: pickle.loads(pickle.dumps(b))),
        ("copy.deepcopy", copy.deepcopy),
    ):
        try:
            other = _copied(bijector, make)
        except Exception as error:
            subject.require(False, f"copies: {how} raised {type(error).__name__}: {error}")
        if other is None:
            continue
        copied = dataclasses.replace(subject, bijector=other)
        what = f"copies: forward of a copy by {how}"
        subject.require_close(copied.forward(subject.x), expected, what)
        variables, copies = all_variables(bijector), all_variables(copied.bijector)
        subject.require_equal(len(copies), len(variables), f"copies: variables of one by {how}")
        shared = {id(v) for v in copies} & {id(v) for v in variables}
        subject.require(not shared, f"copies: one by {how} shares variables with the original")
        _check_own_variables(copied, [v for v in copies if v.trainable], how)


def _use_everywhere(subject):
    """Evaluates on a tape and in a graph: what is cached there cannot be copied."""
    with tf.GradientTape() as tape:
        tape.watch(subject.x)
        subject.all_four(subject.x, subject.ask("forward", subject.x))
    tf.function(lambda: subject.ask("forward", subject.x), autograph=False)()


def _check_own_variables(copied, variables, how):
    """The values of a copy follow its own variables."""
    if not variables:
        return
    before = [copied.ask_anew(m, copied.x) for m in ("forward", LOG_DETS["forward"])]
    with restored(variables):
        for i, variable in enumerate(variables):
            noise = np.random.default_rng(i).normal(0.0, 0.1, variable.shape)
            variable.assign_add(tf.cast(noise, variable.dtype))
        after = [copied.ask_anew(m, copied.x) for m in ("forward", LOG_DETS["forward"])]
    moved = any(np.any(a != b) for a, b in zip(before, after, strict=True))
    copied.require(moved, f"copies: one by {how} does not follow its own variables")


def check_half_precision(subject: Any) -> None:
    """float16 and bfloat16 come out as they went in and near float32, or are refused by name.

    TFP's own `Chain` answers in float32: its classes are not checked.
    """
    if not isinstance(subject.bijector, ValueAndLogDet):
        return
    for dtype in (tf.float16, tf.bfloat16):
        half, single = (_cast(_cast(subject, dtype), t) for t in (dtype, tf.float32))
        try:
            y = half.forward(half.x)
            answers = half.all_four(half.x, y)
        except (TypeError, ValueError) as error:
            what = f"half precision: {dtype.name} is refused without its name: {error}"
            subject.require(dtype.name in str(error), what)
            continue
        expected = single.all_four(single.x, tf.cast(y, tf.float32))
        for method, answer in answers.items():
            what = f"half precision: {method} of {dtype.name}"
            subject.require_equal(answer.dtype.name, dtype.name, f"{what}: its dtype")
            atol = rtol = 2 * TOLERANCES[dtype]
            near = dataclasses.replace(subject, atol=atol, rtol=rtol)
            near.require_close(answer, tf.cast(expected[method], dtype), what)


def _cast(subject, dtype):
    condition = None if subject.condition is None else tf.cast(subject.condition, dtype)
    return dataclasses.replace(subject, x=tf.cast(subject.x, dtype), condition=condition)
