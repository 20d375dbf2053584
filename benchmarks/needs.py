"""What training image flows needs: operations, memory traffic, hours."""

import math

import numpy as np
import tensorflow as tf

from benchmarks.recipe_times import DATA
from tfnvp import _internals, recipes
from tfnvp.data.splits import Splits
from tfnvp.runs.build import make_flow

#: Rates of arithmetic, in TFLOP/s, for the hours of a training.
RATES = (0.2, 5, 20, 100)

_FLOAT = 4
# Adam reads weights, gradients and two moments, and writes all but the gradients.
_ADAM_PASSES = 7


def need(recipe):
    """Returns weights, operations and bytes of a step, and steps of an epoch, of a recipe."""
    images, shape = DATA[recipe.dataset]
    rows = np.zeros((1, *shape), "uint8")
    flow = make_flow(recipe, Splits(recipe.dataset, rows, rows, rows, 256))
    spec = tf.TensorSpec((recipe.batch_size, *flow.event_shape), tf.float32)
    graph = tf.function(lambda x: flow(x, training=True)).get_concrete_function(spec).graph
    operations = numbers = 0
    for result, times in _internals.results_in(graph):
        found = _multiplications(result.op)
        if found:
            operations += 2 * times * found
            numbers += times * sum(t.shape.num_elements() for t in (*result.op.inputs, result))
    # Each product is one forward and two backward.
    return {
        "weights": flow.count_params(),
        "operations": 3 * operations,
        "bytes": _FLOAT * (3 * numbers + _ADAM_PASSES * flow.count_params()),
        "steps": -(-images // recipe.batch_size),
    }


def _multiplications(op):
    """Returns the multiplications of a convolution or a product of matrices, 0 of others."""
    results = op.outputs[0].shape.num_elements()
    if op.type == "Conv2D":
        return results * math.prod(op.inputs[1].shape[:3])
    if op.type in ("MatMul", "BatchMatMulV2"):
        transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        return results * op.inputs[0].shape[-2 if transposed else -1]
    if op.type == "Einsum":
        terms = op.get_attr("equation").decode().partition("->")[0].split(",")
        sizes = {
            letter: size
            for term, tensor in zip(terms, op.inputs, strict=True)
            for letter, size in zip(term, tensor.shape, strict=True)
        }
        return math.prod(sizes.values())
    return 0


def markdown(names=None):
    """Table of what recipes with convolutions or patches need; default: all of them."""
    rates = " | ".join(f"h at {rate:g}" for rate in RATES)
    lines = [
        f"| recipe | weights, M | batch | TFLOP a step | GB a step | epochs | steps | {rates} |",
        "|---" * (7 + len(RATES)) + "|",
    ]
    chosen = [recipes.get(name) for name in names or ()] or [
        recipe
        for recipe in recipes.RECIPES.values()
        if recipe.model in ("image_real_nvp", "jet") and recipe.dataset in DATA
    ]
    for recipe in chosen:
        found = need(recipe)
        tera = found["operations"] / 1e12
        steps = recipe.epochs * found["steps"]
        hours = [tera * steps / rate / 3600 for rate in RATES]
        cells = [
            f"`{recipe.name}`",
            f"{found['weights'] / 1e6:.1f}",
            f"{recipe.batch_size}",
            f"{tera:.3g}",
            f"{found['bytes'] / 1e9:.1f}",
            f"{recipe.epochs}",
            f"{steps:,}",
            *(f"{number:.2g}" if number < 10 else f"{number:.0f}" for number in hours),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
