"""Compiled programs: many steps in one, and batches divided over the cores."""

import functools
import itertools
import os
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

# Starting a program costs as much as several steps of a small flow, but little compared with one
# step of a large flow, whose stacked batches would take memory. XLA compiles a program for each
# number of steps, which takes 100 MiB: there are few, and calls with fewer batches are filled up.
_MOST_STEPS = 64
_FEW_STEPS = 8
_MOST_NUMBERS = 2**14

# Sizes of batches that XLA compiles.
_MOST_SIZES = 4

# XLA itself spreads a product of more multiplications over the cores.
_MOST_PRODUCTS = 2**24

_BATCH_HOOKS = (
    "on_batch_begin",
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
)


def run_many(step: Callable, result: Callable, steps: Callable) -> Callable:
    """Returns a Keras train or test function that runs several batches in one XLA program.

    Weights and optimizer state are loop variables of the program, neither copied nor looked up
    between steps: on CPUs this halves the time of flows with small networks. XLA compiles each size
    of batches anew: it gets the first one, and a few others once they come twice in a row. The
    rest, such as the smaller last batch of an epoch, run without it.

    Args:
      step: Keras' `train_step` or `test_step`.
      result: function that returns the logs, called after the last step.
      steps: function that returns the most batches of one call.

    Returns:
      A function from an iterator over batches to the logs after the last of them; it raises
      `StopIteration` where there is no batch left.
    """

    def loop(batches, count):
        def body(i):
            step(tf.nest.map_structure(lambda stack: None if stack is None else stack[i], batches))
            return (i + 1,)

        tf.while_loop(lambda i: i < count, body, (tf.constant(0),))
        return result()

    # TensorFlow counts the programs made of one function's code, and warns of many: a partial has
    # no code.
    loop = tf.function(
        functools.partial(loop), jit_compile=True, reduce_retracing=True, autograph=False
    )

    def one(batch):
        step(batch)
        return result()

    one = tf.function(functools.partial(one), reduce_retracing=True, autograph=False)
    sizes, last = set(), None

    def function(iterator):
        nonlocal last
        most = steps()
        batches = [_without_missing(batch) for batch in itertools.islice(iterator, most)]
        if not batches:
            raise StopIteration
        for rows, group in itertools.groupby(batches, key=_rows):
            group = list(group)
            if not sizes or (len(sizes) < _MOST_SIZES and (rows == last or len(group) > 1)):
                sizes.add(rows)
            last = rows
            if rows in sizes:
                logs = loop(_stack(group, most), tf.constant(len(group)))
            else:
                for batch in group:
                    logs = one(batch)
        return logs

    return function


def run_each(step: Callable) -> Callable:
    """Returns a Keras predict function that runs any number of batches, one after the other.

    XLA would compile each size of batches anew.

    Args:
      step: Keras' `predict_step`.
    """
    one = tf.function(functools.partial(step), reduce_retracing=True, autograph=False)
    return lambda batches: tf.concat([one(_without_missing(batch)) for batch in batches], axis=0)


def _without_missing(batch):
    """Returns a batch with None for missing parts, for which Keras has empty optionals."""
    return tf.nest.map_structure(lambda leaf: leaf if hasattr(leaf, "shape") else None, batch)


def _rows(batch):
    return next(leaf.shape[0] for leaf in tf.nest.flatten(batch) if hasattr(leaf, "shape"))


def _stack(batches, steps):
    """Stacks batches; filled up to `steps`, so that any number of them has the same shape."""
    batches = batches + batches[-1:] * (steps - len(batches))

    def stack(*leaves):
        return None if leaves[0] is None else tf.stack(leaves)

    return tf.nest.map_structure(stack, *batches)


def choose_steps(
    event_size: int, batches: int | None, callbacks: Iterable, *step_limits: int | None
) -> int:
    """Returns how many steps to run at once: 1 if a callback follows single batches.

    Args:
      event_size: int, variables of one data point: the more, the fewer steps.
      batches: int, how many batches an epoch has, or None where that is not known.
      callbacks: iterable of `keras.callbacks.Callback`.
      *step_limits: `steps_per_epoch` and `validation_steps`, which the number must divide, as
        Keras does not stop within a call; None where there are none.
    """
    if any(_follows_batches(callback) for callback in callbacks):
        return 1
    limits = [limit for limit in step_limits if limit]
    most = min(_MOST_STEPS, max(1, _MOST_NUMBERS // event_size))
    if batches and batches <= _FEW_STEPS:
        most = 1 if batches == 1 else min(most, _FEW_STEPS)
    return max(n for n in range(1, most + 1) if all(limit % n == 0 for limit in limits))


def _follows_batches(callback):
    """Whether a callback looks at single batches; some of Keras' do so only by an argument."""
    every = getattr(callback, "save_freq", getattr(callback, "update_freq", None))
    if every is not None:
        return every != "epoch"
    # It only shows logs, so that some of them are enough.
    if getattr(callback, "async_safe", False):
        return False
    # It checks the running mean of the loss, in which a NaN of any batch stays.
    if isinstance(callback, keras.callbacks.TerminateOnNaN):
        return False
    # Overridden in the class, or on the object.
    return any(
        getattr(getattr(callback, hook), "__func__", None)
        is not getattr(keras.callbacks.Callback, hook)
        for hook in _BATCH_HOOKS
    )


def halves_are_faster(x: tf.Tensor, weights: list) -> bool:
    """Whether a program of XLA is faster with the halves of a batch than with the whole.

    Args:
      x: the batch, whose rows must not depend on each other.
      weights: the variables that it is multiplied by.
    """
    rows = x.shape[0]
    if not rows or rows % 2 or not weights or tf.config.list_physical_devices("GPU"):
        return False
    largest = max(weight.shape.num_elements() for weight in weights)
    return rows * largest <= _MOST_PRODUCTS and (os.cpu_count() or 1) > 1


def on_halves(function: Callable, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
    """Returns `function(x, condition)`, computed on the halves of both: work for two cores."""
    first, second = tf.split(x, 2)
    conditions = (None, None) if condition is None else tf.split(condition, 2)
    return tf.concat([function(first, conditions[0]), function(second, conditions[1])], axis=0)
