"""Batches without rows, for networks that cannot take them."""

import tensorflow as tf


def at_least_one_row(function, x, condition):
    """Returns `function(x, condition)`; where there are no rows, of one that is cut off again.

    oneDNN's convolution of no rows has another number of channels than it should.
    """
    if x.shape[0]:
        return function(x, condition)
    rows = tf.shape(x)[0]
    missing = tf.cast(tf.equal(rows, 0), tf.int32)

    def pad(tensor):
        return tf.pad(tensor, [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1))

    results = function(pad(x), None if condition is None else pad(condition))
    return tf.nest.map_structure(lambda result: result[:rows], results)
