"""TensorFlow Probability by hand: `tfb.RealNVP` with Keras layers, in `tf.function` or XLA."""

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from benchmarks.libraries.fastest import fastest

KINDS = ("nice", "real_nvp")
PACKAGES = ("tensorflow-probability", "tensorflow", "keras")

tfb, tfd = tfp.bijectors, tfp.distributions


def make_distribution(work):
    """Returns the distribution and its variables, which TFP does not find in Keras layers."""
    bijectors, variables = [], []
    for conditioner in work.conditioners():
        passed = conditioner[0].inputs
        moved = work.dimensions - passed
        hidden = [keras.layers.Dense(layer.outputs, "relu") for layer in conditioner[:-1]]
        last = keras.layers.Dense(conditioner[-1].outputs, kernel_initializer="zeros")
        network = keras.Sequential([*hidden, last])
        network.build((None, passed))
        variables += network.trainable_variables
        bijectors.append(tfb.RealNVP(passed, shift_and_log_scale_fn=_parameters(work, network)))
        # What moved comes first next.
        bijectors.append(tfb.Permute([*range(moved, work.dimensions), *range(moved)]))
    if work.kind == "nice":
        log_scale = keras.Variable(tf.zeros(work.dimensions))
        variables.append(log_scale)
        bijectors.append(tfb.Scale(log_scale=log_scale.value))
    base = tfd.Sample(tfd.Normal(0.0, 1.0), [work.dimensions])
    return tfd.TransformedDistribution(base, tfb.Chain(bijectors)), variables


def _parameters(work, network):
    def parameters(x, output_units, **condition):
        outputs = network(x)
        if work.kind == "nice":
            return outputs, None
        shift, log_scale = tf.split(outputs, 2, axis=-1)
        return shift, tf.tanh(log_scale)

    return parameters


def train(work, cell):
    step = _step(*make_distribution(work))
    batches = list(tf.constant(work.batches(cell)))

    def blocks(step):
        def block():
            for x in batches:
                loss = step(x)
            loss.numpy()

        return block

    return _compiled(step, blocks)


def _step(distribution, variables):
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    def step(x):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(distribution.log_prob(x))
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
        return loss

    return step


def trained(work, parts, seed):
    keras.utils.set_random_seed(seed)
    distribution, variables = make_distribution(work)
    step = tf.function(_step(distribution, variables))
    evaluate = tf.function(distribution.log_prob)
    for part in parts:
        for x in tf.constant(part):
            step(x)
        yield lambda rows: evaluate(rows).numpy()


def log_prob(work, cell):
    distribution, _ = make_distribution(work)
    x = tf.constant(work.rows(cell.batch))
    return _evaluation(cell, distribution.log_prob, x)


def sample(work, cell):
    distribution, _ = make_distribution(work)
    return _evaluation(cell, lambda: distribution.sample(cell.batch))


def _evaluation(cell, function, *arguments):
    def blocks(function):
        def block():
            for _ in range(cell.steps):
                function(*arguments).numpy()

        return block

    return _compiled(function, blocks)


def _compiled(function, blocks):
    return fastest(
        {
            "XLA": blocks(tf.function(function, jit_compile=True)),
            "tf.function": blocks(tf.function(function)),
        }
    )
