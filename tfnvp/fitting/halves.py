"""Two halves of a batch side by side, which gives XLA work for a second core."""

import os

import tensorflow as tf

# XLA spreads a product of more multiplications over the cores by itself.
_MOST_PRODUCTS = 2**24


def worthwhile(x, weights):
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


def apply(function, x, condition):
    """Returns `function(x, condition)`, computed on the halves of both."""
    first, second = tf.split(x, 2)
    conditions = (None, None) if condition is None else tf.split(condition, 2)
    return tf.concat([function(first, conditions[0]), function(second, conditions[1])], axis=0)
