"""Estimates parameters, memory and time of a training from a few real steps."""

import math
import time

import keras
import tensorflow as tf

from tfnvp import _internals
from tfnvp.arguments import is_number
from tfnvp.data import training_dataset
from tfnvp.data.splits import Splits
from tfnvp.flows import Flow
from tfnvp.recipes import Recipe
from tfnvp.runs.build import compile_flow, make_flow, validation_dataset

# Largest number of timed steps, and of seconds that they should take.
_STEPS = 16
_SECONDS = 10.0


def dry_run(recipe: Recipe, splits: Splits, seed: int = 0) -> dict[str, int | float]:
    """Measures a few training steps of a recipe on its data, and writes nothing.

    The memory of activations is that of the results of the forward pass of a batch that the
    backward pass reads. The real peak is higher by the workspace of both.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      seed: int.

    Returns:
      Dictionary of numbers: counts, bytes and seconds. `seconds_at_most` is for all epochs;
      training stops earlier when the validation loss no longer improves.
    """
    flow, seconds = measure(recipe, splits, seed)
    return {
        "parameters": flow.count_params(),
        "bytes_weights": _bytes(flow.variables),
        "bytes_gradients": _bytes(flow.trainable_variables),
        "bytes_optimizer": _bytes(flow.optimizer.variables),
        "bytes_activations": _activation_bytes(flow, min(recipe.batch_size, len(splits.train))),
        "batch_size": recipe.batch_size,
        "steps_per_epoch": math.ceil(len(splits.train) / recipe.batch_size),
        "epochs": recipe.epochs,
        **seconds,
        "seconds_at_most": seconds["seconds_to_compile"]
        + recipe.epochs * seconds["seconds_per_epoch"],
    }


def within_minutes(recipe: Recipe, splits: Splits, minutes: float, seed: int = 0) -> Recipe:
    """Returns the recipe with as many whole epochs as end within some minutes on this machine.

    Warm-up and cosine follow the number of epochs. A few steps are measured first, as by `dry_run`.
    There is at least one epoch, however long it takes.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      minutes: float, above 0, of the training with its compilation.
      seed: int.

    Raises:
      ValueError: if `minutes` is not above 0.
    """
    if not (is_number(minutes) and 0 < minutes < math.inf):
        raise ValueError(f"`minutes` must be a number above 0. Received: {minutes!r}")
    _, seconds = measure(recipe, splits, seed)
    left = 60 * minutes - seconds["seconds_to_compile"]
    return recipe.replace(epochs=max(1, int(left / seconds["seconds_per_epoch"])))


def measure(recipe: Recipe, splits: Splits, seed: int = 0) -> tuple[Flow, dict[str, float]]:
    """Returns the recipe's flow after a few steps, and the seconds of its training.

    They are those to compile, of one training step, and of one epoch with its validation.
    """
    keras.utils.set_random_seed(seed)
    flow = make_flow(recipe, splits)
    compile_flow(flow, recipe, len(splits.train))
    batches = training_dataset(splits.train, splits.levels, recipe.batch_size, seed, splits.flip)
    validation = validation_dataset(splits)
    steps = math.ceil(len(splits.train) / recipe.batch_size)
    compiling, step = _seconds_of_batches(flow.fit, batches, steps)
    compiling_too, batch = _seconds_of_batches(flow.evaluate, validation, len(validation))
    return flow, {
        "seconds_to_compile": compiling + compiling_too,
        "seconds_per_step": step,
        "seconds_per_epoch": steps * step + len(validation) * batch,
    }


def _seconds_of_batches(run, batches, most):
    """Returns the seconds of compiling, and those of one batch, of a function of batches."""

    def seconds(count):
        times = []

        def record(*_):
            times.append(time.perf_counter())

        # No callback watches single batches: many steps can run in one program.
        clock = keras.callbacks.LambdaCallback(
            on_epoch_begin=record, on_epoch_end=record, on_test_begin=record, on_test_end=record
        )
        run(batches.take(count), callbacks=[clock], verbose=0)
        return times[1] - times[0]

    first = seconds(1)
    timed = min(most, _STEPS, max(1, int(_SECONDS / seconds(1))))
    # The first of two runs compiles for every size of batch.
    again = seconds(timed)
    each = seconds(timed) / timed
    return first + again - (1 + timed) * each, each


def _bytes(variables):
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


def _activation_bytes(flow, batch_size):
    """Bytes of the floats of one forward pass that its gradients read, except the weights."""
    forward = []

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            log_prob = flow(x, training=True)
        forward.extend(log_prob.graph.get_operations())
        return tape.gradient(log_prob, flow.trainable_variables)

    spec = tf.TensorSpec((batch_size, *flow.event_shape), tf.float32)
    graph = gradients.get_concrete_function(spec).graph
    backward = graph.get_operations()[len(forward) :]
    kept = _internals.results_kept(graph, forward, backward)
    return sum(times * t.shape.num_elements() * t.dtype.size for t, times in kept)
