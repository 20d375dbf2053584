"""The floor in TensorFlow: the products of the conditioners, chained, and nothing else."""

import math

import tensorflow as tf

KINDS = ("nice", "real_nvp", "neural_spline", "image_real_nvp")
PACKAGES = ("tensorflow",)


def train(work, cell):
    """Forward, and in backward the two products of every layer."""
    if work.kind == "image_real_nvp":
        return _convolutions(work, cell)
    return products(work, cell, backward=True)


def log_prob(work, cell):
    return products(work, cell, backward=False)


sample = log_prob


def products(work, cell, backward, jit_compile=None):
    """The products of one block, as a plain graph or by XLA."""
    layers = [layer for conditioner in work.conditioners() for layer in conditioner]
    # They keep the size of what passes through.
    weights = [
        tf.Variable(tf.random.normal((layer.inputs, layer.outputs)) / math.sqrt(layer.inputs))
        for layer in layers
    ]
    x = tf.random.normal((cell.batch, layers[0].inputs))
    delta = tf.random.normal((cell.batch, layers[-1].outputs))

    @tf.function(jit_compile=jit_compile)
    def step(x, delta):
        inputs = []
        for layer, weight in zip(layers, weights, strict=True):
            inputs.append(x if x.shape[1] == layer.inputs else x[:, : layer.inputs])
            x = tf.matmul(inputs[-1], weight)
        # What is not returned would not be computed.
        return [x, *(_gradients(inputs, delta, weights) if backward else [])]

    def block():
        for _ in range(cell.steps):
            step(x, delta)

    return block


def _gradients(inputs, delta, weights):
    gradients = []
    for i in reversed(range(len(weights))):
        gradients.append(tf.matmul(inputs[i], delta, transpose_a=True))
        if i:
            delta = tf.matmul(delta, weights[i], transpose_b=True)
            missing = weights[i - 1].shape[1] - delta.shape[1]
            if missing:
                delta = tf.pad(delta, ((0, 0), (0, missing)))
    return gradients


def _convolutions(work, cell):
    networks = []
    for conditioner in work.conditioners():
        filters = [
            tf.Variable(
                tf.random.normal((layer.size, layer.size, layer.inputs, layer.outputs))
                / math.sqrt(layer.inputs * layer.size**2)
            )
            for layer in conditioner
        ]
        shapes = [
            (cell.batch, *conditioner[0].pixels, n)
            for n in (conditioner[0].inputs, conditioner[-1].outputs)
        ]
        networks.append((*(tf.random.normal(shape) for shape in shapes), filters))

    @tf.function
    def step(networks):
        results = []
        for i, (x, delta, filters) in enumerate(networks):
            # One network after the other, as in a flow.
            with tf.control_dependencies(results[-1:]), tf.GradientTape() as tape:
                y = x = tf.identity(x)
                tape.watch(x)
                for kernel in filters:
                    y = tf.nn.conv2d(y, kernel, 1, "SAME")
                # The gradient for the data itself is not needed.
                wanted = [*filters, x] if i else filters
                results += tape.gradient(y, wanted, delta)
        # What is not returned would not be computed.
        return results

    def block():
        for _ in range(cell.steps):
            step(networks)

    return block
