"""What a training would take: parameters, memory and time, from a few real steps."""

import math
import time

import keras
import tensorflow as tf

from tfnvp.runs import train_recipe as training
from tfnvp.data import training_dataset

# Steps that are timed at most, and seconds that they should take at most.
_STEPS = 16
_SECONDS = 10.0


def dry_run(recipe, splits, seed=0):
    """Measures a few training steps of a recipe on its data, and writes nothing.

    The memory of activations is that of all results of the forward pass of a batch: what the
    backward pass may need. The real peak is less where TensorFlow frees some early, and more by
    what it keeps as workspace.

    Args:
      recipe: `tfnvp.recipes.Recipe`.
      splits: `tfnvp.data.Splits`.
      seed: int.

    Returns:
      Dictionary of plain numbers: counts, bytes and seconds. `seconds_at_most` is for all epochs;
      training stops earlier when validation no longer improves.
    """
    keras.utils.set_random_seed(seed)
    flow = training.make_flow(recipe, splits)
    training.compile_flow(flow, recipe, len(splits.train))
    batches = training_dataset(splits.train, splits.levels, recipe.batch_size, seed, splits.flip)
    first = _epoch_seconds(flow, batches.take(1))
    steps = math.ceil(len(splits.train) / recipe.batch_size)
    timed = min(steps, _STEPS, max(1, int(_SECONDS / _epoch_seconds(flow, batches.take(1)))))
    # Once more to compile for whatever sizes of batches there are.
    warm_up = _epoch_seconds(flow, batches.take(timed))
    step = _epoch_seconds(flow, batches.take(timed)) / timed
    validation = training.validation_dataset(splits)
    flow.evaluate(validation, verbose=0)
    start = time.perf_counter()
    flow.evaluate(validation, verbose=0)
    evaluation = time.perf_counter() - start

    compiling = first + warm_up - (1 + timed) * step
    weights = sum(_bytes(v) for v in flow.variables)
    return {
        "parameters": flow.count_params(),
        "bytes_weights": weights,
        "bytes_gradients": sum(_bytes(v) for v in flow.trainable_variables),
        "bytes_optimizer": sum(_bytes(v) for v in flow.optimizer.variables),
        "bytes_activations": _activation_bytes(flow, min(recipe.batch_size, len(splits.train))),
        "batch_size": recipe.batch_size,
        "steps_per_epoch": steps,
        "epochs": recipe.epochs,
        "seconds_to_compile": compiling,
        "seconds_per_step": step,
        "seconds_per_epoch": steps * step + evaluation,
        "seconds_at_most": compiling + recipe.epochs * (steps * step + evaluation),
    }


def _epoch_seconds(flow, batches):
    """Times one epoch, without a callback for single batches: many steps may run in one program."""
    times = []

    def note(*_):
        times.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_epoch_begin=note, on_epoch_end=note)
    flow.fit(batches, callbacks=[clock], verbose=0)
    return times[1] - times[0]


def _bytes(variable):
    return math.prod(variable.shape) * tf.as_dtype(variable.dtype).size


def _activation_bytes(flow, batch_size):
    """Bytes of all floating-point results in the graph of one forward pass, but the weights."""
    spec = tf.TensorSpec((batch_size, *flow.event_shape), tf.float32)
    graph = tf.function(lambda x: flow(x, training=True)).get_concrete_function(spec).graph
    operations = [op for op in graph.get_operations() if op.type != "ReadVariableOp"]
    tensors = [t for op in operations for t in op.outputs]
    return sum(
        t.shape.num_elements() * t.dtype.size
        for t in tensors
        if t.dtype.is_floating and t.shape.is_fully_defined() and t.shape.rank
    )
