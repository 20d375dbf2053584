"""Where the time of a step, a `log_prob` and a `sample` goes, beside the matrix products."""

import dataclasses
import statistics
import time

import tensorflow as tf

from benchmarks.libraries import floor_tensorflow
from benchmarks.libraries.tfnvp import make_flow

# So few rows take almost no time: the rest is the start of a program.
_FEW = 16


def evaluation_parts(work, cell):
    """Functions whose times add up, about, to that of one `log_prob` or `sample`."""
    flow = make_flow(work)
    rows = tf.constant(work.rows(cell.batch))
    method = flow.log_prob if cell.task == "log_prob" else flow.decode
    program = tf.function(lambda x: method(x, None), jit_compile=True)
    few = rows[:_FEW]
    parts = {
        "products": floor_tensorflow.products(work, _once(cell), False, jit_compile=True),
        "our program": lambda: program(rows).numpy(),
        f"our program, {_FEW} rows": lambda: program(few).numpy(),
    }
    if cell.task == "log_prob":
        return {"call": lambda: flow.log_prob(rows).numpy(), **parts}
    seed, draw = tf.constant([1, 2]), tf.function(flow.sample_latents)
    return {
        "call": lambda: flow.sample(cell.batch).numpy(),
        **parts,
        "noise": lambda: draw(tf.constant(cell.batch), seed).numpy(),
        f"noise, {_FEW} rows": lambda: draw(tf.constant(_FEW), seed).numpy(),
    }


def training_parts(work, cell):
    """One step without the optimizer, and the optimizer alone, compiled by XLA."""
    flow = make_flow(work)
    flow.compile("adam")
    rows = tf.constant(work.rows(cell.batch))
    flow.optimizer.build(flow.trainable_variables)
    # Variables, so that XLA does not know their values.
    gradients = [tf.Variable(tf.random.normal(v.shape) * 1e-6) for v in flow.trainable_variables]

    @tf.function(jit_compile=True)
    def gradients_only():
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(flow(rows, training=True))
        found = tape.gradient(loss, [v.value for v in flow.trainable_variables])
        return tf.add_n([tf.reduce_sum(gradient) for gradient in found])

    @tf.function(jit_compile=True)
    def optimizer():
        flow.optimizer.apply([tf.convert_to_tensor(g) for g in gradients], flow.trainable_variables)

    return {
        "products": floor_tensorflow.train(work, _once(cell)),
        "gradients": lambda: gradients_only().numpy(),
        "optimizer": lambda: (optimizer(), flow.optimizer.iterations.numpy()),
    }


def _once(cell):
    """The cell in blocks of one step."""
    return dataclasses.replace(cell, steps=1)


def measure(work, cell, rounds):
    """Returns median and minimum of each part in milliseconds, measured by turns."""
    parts = (training_parts if cell.task == "train" else evaluation_parts)(work, cell)
    times = {name: [] for name in parts}
    for turn in range(rounds + 2):
        for name, run in parts.items():
            start = time.perf_counter()
            run()
            if turn >= 2:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: (statistics.median(values), min(values)) for name, values in times.items()}


def markdown(results):
    """A line for each cell and part."""
    lines = ["| cell | part | ms (min) |", "| --- | --- | --- |"]
    for cell, parts in results.items():
        for name, (median, least) in parts.items():
            lines.append(f"| {cell} | {name} | {median:.3g} ({least:.3g}) |")
    return "\n".join(lines)
