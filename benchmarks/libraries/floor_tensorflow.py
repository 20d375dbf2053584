"""The floor in TensorFlow: the matrix products of the conditioners, chained, and nothing else."""

import math

import tensorflow as tf

KINDS = ("nice", "real_nvp")
PACKAGES = ("tensorflow",)


def train(work, cell):
    """Forward, and in backward the two products of every layer."""
    return _blocks(work, cell, backward=True)


def log_prob(work, cell):
    return _blocks(work, cell, backward=False)


sample = log_prob


def _blocks(work, cell, backward):
    layers = [layer for conditioner in work.conditioners() for layer in conditioner]
    # They keep the size of what passes through.
    weights = [
        tf.Variable(tf.random.normal((layer.inputs, layer.outputs)) / math.sqrt(layer.inputs))
        for layer in layers
    ]
    x = tf.random.normal((cell.batch, layers[0].inputs))
    delta = tf.random.normal((cell.batch, layers[-1].outputs))

    @tf.function
    def step(x, delta):
        inputs = []
        for layer, weight in zip(layers, weights, strict=True):
            inputs.append(x if x.shape[1] == layer.inputs else x[:, : layer.inputs])
            x = tf.matmul(inputs[-1], weight)
        results = [x]
        if backward:
            results = _backward(inputs, delta, weights)
        with tf.control_dependencies(results):
            return tf.constant(0)

    def block():
        for _ in range(cell.steps):
            step(x, delta)

    return block


def _backward(inputs, delta, weights):
    gradients = []
    for i in reversed(range(len(weights))):
        gradients.append(tf.matmul(inputs[i], delta, transpose_a=True))
        if i:
            delta = tf.matmul(delta, weights[i], transpose_b=True)
            missing = weights[i - 1].shape[1] - delta.shape[1]
            if missing:
                delta = tf.pad(delta, ((0, 0), (0, missing)))
    return gradients
