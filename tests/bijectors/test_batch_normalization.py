import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import tfnvp
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, BatchNormalization, Chain
from tfnvp.conditioners import ResidualCNN
from tfnvp.partitions import Checkerboard


def with_statistics(event_shape, seed=0, **kwargs):
    """A normalization that has seen data."""
    b = BatchNormalization(event_shape, **kwargs)
    generator = np.random.default_rng(seed)
    b.statistics.mean.assign(generator.normal(size=event_shape[-1]))
    b.statistics.variance.assign(generator.uniform(0.3, 3.0, size=event_shape[-1]))
    return b


@pytest.mark.parametrize("event_shape", [(3,), (2, 3, 2)])
def test_evaluation_uses_stored_statistics(event_shape):
    b = with_statistics(event_shape, epsilon=0.01)
    y = np.random.default_rng(1).normal(2.0, 3.0, size=(4, *event_shape))
    mean, variance = b.statistics.mean.numpy(), b.statistics.variance.numpy()
    np.testing.assert_allclose(b.inverse(y), (y - mean) / np.sqrt(variance + 0.01), rtol=1e-6)
    x = b.inverse(y)
    np.testing.assert_allclose(b.forward(tf.identity(x)), y, rtol=1e-9)
    np.testing.assert_array_equal(b.statistics.mean, mean)


def test_training_moves_the_statistics_and_uses_the_new_ones():
    flow = tfnvp.Flow(BatchNormalization(2, momentum=0.75), 2)
    statistics = flow.bijector.statistics
    generator = np.random.default_rng(0)
    mean, variance, earlier = np.zeros(2), np.ones(2), 0.0
    for rows in (10, 1, 7, 10, 3, 10):
        x = generator.normal(3.0, 2.0, size=(rows, 2)).astype("float32")
        earlier = 0.75 * earlier + rows
        rate = rows / earlier
        between = rate * (1 - rate) * (x.mean(axis=0) - mean) ** 2
        mean += rate * (x.mean(axis=0) - mean)
        variance += rate * (x.var(axis=0) - variance) + between
        log_prob = flow(x, training=True)
        np.testing.assert_allclose(statistics.mean, mean, rtol=1e-5)
        np.testing.assert_allclose(statistics.variance, variance, rtol=1e-5)
        normal = tfp.distributions.Normal(mean, np.sqrt(variance))
        np.testing.assert_allclose(log_prob, normal.log_prob(x).numpy().sum(-1), rtol=1e-4)
        # An evaluation right after a step uses the numbers of the step.
        np.testing.assert_allclose(flow.log_prob(x), log_prob, rtol=1e-5)
    assert int(statistics.batches) == 6
    flow(x)
    assert int(statistics.batches) == 6


def test_gradients_are_those_of_statistics_that_follow_the_batch():
    """Batch renormalization: the batch's statistics, times a ratio and plus a distance."""
    b = with_statistics((2,), momentum=0.75, epsilon=1e-12)
    b.statistics.batches.assign(100)
    flow = tfnvp.Flow(b, 2)
    x = tf.constant(np.random.default_rng(0).normal(size=(5, 2)), tf.float32)
    old_mean, old_variance = (
        tf.constant(v.numpy()) for v in (b.statistics.mean, b.statistics.variance)
    )
    batch_mean, batch_variance = tf.nn.moments(x, axes=[0])
    mean = 0.75 * old_mean + 0.25 * batch_mean
    between = 0.75 * 0.25 * (batch_mean - old_mean) ** 2
    deviation = tf.sqrt(0.75 * old_variance + 0.25 * batch_variance + between)
    ratio, distance = tf.sqrt(batch_variance) / deviation, (batch_mean - mean) / deviation
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = flow(x, training=True)
        batch_mean, batch_variance = tf.nn.moments(x, axes=[0])
        z = (x - batch_mean) / tf.sqrt(batch_variance) * ratio + distance
        log_det = tf.math.log(ratio / tf.sqrt(batch_variance))
        expected = tf.reduce_sum(tfp.distributions.Normal(0.0, 1.0).log_prob(z) + log_det, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    gradient = tape.gradient(found, x)
    np.testing.assert_allclose(gradient, tape.gradient(expected, x), rtol=1e-4, atol=1e-5)
    # Shifting all inputs changes nothing, and scaling them only the volume.
    np.testing.assert_allclose(tf.reduce_sum(gradient, axis=0), np.zeros(2), atol=1e-5)
    np.testing.assert_allclose(tf.reduce_sum(gradient * x, axis=0), [-5.0, -5.0], rtol=1e-4)


@pytest.mark.parametrize("batch", [np.zeros((4, 1)), [[0.0], [1e-9]], [[0.0], [1e-30]]])
def test_gradients_of_batches_that_hardly_vary_are_bounded(batch):
    b = with_statistics((1,))
    b.statistics.batches.assign(100)
    flow, x = tfnvp.Flow(b, 1), tf.constant(batch, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(flow(x, training=True))
    assert np.abs(tape.gradient(loss, x)).max() < 10.0


def test_generation_never_uses_the_batch():
    class Decoder(keras.layers.Layer):
        def call(self, z, training=False):
            return b.forward(z)

    b = with_statistics((2,))
    z = tf.constant([[0.0, 0.0], [5.0, 5.0]])
    expected = b.forward(z)
    np.testing.assert_array_equal(Decoder()(tf.identity(z), training=True), expected)
    assert int(b.statistics.batches) == 0


def test_adapt_takes_the_statistics_of_a_sample():
    b = BatchNormalization((2, 2, 3), momentum=0.9)
    x = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 2, 2, 3)).astype("float32")
    b.adapt(x)
    z = b.inverse(x).numpy()
    np.testing.assert_allclose(z.mean(axis=(0, 1, 2)), np.zeros(3), atol=1e-5)
    np.testing.assert_allclose(z.std(axis=(0, 1, 2)), np.ones(3), rtol=1e-4)
    # The next batch then counts as one of many.
    assert int(b.statistics.batches) == 10


def normalized_flow():
    """Couplings with normalizations between them and inside of their networks."""
    shape, members = (2, 2, 1), []
    for i in range(4):
        partition = Checkerboard(i % 2 == 1)
        network = ResidualCNN(2, filters=4, blocks=1, parity=partition.parity)
        members += [AffineCoupling(network, partition, shape), BatchNormalization(shape)]
    return tfnvp.Flow(Chain(members), shape)


@pytest.mark.slow
def test_training_and_evaluation_agree():
    # Skewed, correlated data in small batches: with the statistics of each batch in training and
    # running ones in evaluation, the two differ by several nats here.
    generator = np.random.default_rng(0)
    x = generator.gamma(1.0, size=(320, 2, 2, 1)).cumsum(axis=1).astype("float32")
    flow = normalized_flow()
    flow.compile(keras.optimizers.Adam(1e-2))
    flow.fit(x[:256], epochs=12, batch_size=8, verbose=0)
    history = flow.fit(x[:256], epochs=1, batch_size=8, verbose=0)
    train = history.history["loss"][0]
    assert flow.evaluate(x[:256], verbose=0) == pytest.approx(train, abs=0.25)
    assert flow.evaluate(x[256:], verbose=0) == pytest.approx(train, abs=0.8)
    assert train < -np.mean(tfp.distributions.Normal(x.mean(), x.std()).log_prob(x)) * 4
    assert np.isfinite(flow.sample(100, seed=0)).all()


def test_a_last_batch_of_one_row_hardly_moves_the_statistics():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(65, 2)).astype("float32")
    x[-1] = 9.0
    bijector = BatchNormalization(2)
    flow = tfnvp.Flow(bijector, 2)
    nats = []
    for batch in (*np.split(x[:64], 4), x[64:]):
        flow(batch, training=True)
        nats.append(flow.log_prob(x[:64]).numpy().mean())
    assert abs(nats[-1] - nats[-2]) < 0.03


def test_the_size_of_batches_does_not_matter():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(64, 2)).astype("float32")
    for rows in (1, 4, 64):
        bijector = BatchNormalization(2, momentum=1 - 1e-6)  # Which forgets nothing here.
        flow = tfnvp.Flow(bijector, 2)
        for batch in np.split(x, 64 // rows):
            flow(batch, training=True)
        np.testing.assert_allclose(bijector.statistics.mean, x.mean(axis=0), rtol=1e-3)
        np.testing.assert_allclose(bijector.statistics.variance, x.var(axis=0), rtol=1e-3)


def test_statistics_of_files_without_rows_count_as_batches_of_the_next_size():
    statistics = BatchNormalization(2).statistics
    statistics.load_own_variables({"0": [1.0, 2.0], "1": [4.0, 4.0], "2": 100})
    x = tf.constant([[3.0, 0.0], [5.0, 4.0]])
    mean, variance = statistics(x, training=True)
    np.testing.assert_allclose(mean, [1.3, 2.0], rtol=1e-6)
    np.testing.assert_allclose(variance, [3.7 + 0.09 * 9.0, 4.0], rtol=1e-6)


def test_statistics_are_saved(tmp_path):
    flow = perturb(tfnvp.Flow(with_statistics((2,), momentum=0.5), 2))
    x = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    flow(x, training=True)
    flow.save(tmp_path / "flow.keras")
    restored = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_array_equal(restored.log_prob(x), flow.log_prob(x))
    assert restored.bijector.statistics.momentum == 0.5
    assert int(restored.bijector.statistics.batches) == 1


def test_statistics_are_float32_inside_of_a_bfloat16_network():
    network = ResidualCNN(2, filters=3, blocks=1, parity=1, dtype="mixed_bfloat16")
    outputs = network(tf.random.normal((4, 4, 4, 1)), training=True)
    assert outputs.dtype == tf.bfloat16
    statistics = network.first_norms[0].statistics
    assert statistics.mean.dtype == "float32"
    # Not rounded to eight bits on the way.
    values = np.concatenate([statistics.mean, statistics.variance])
    assert (tf.cast(values, tf.bfloat16).numpy().astype("float32") != values).any()


@pytest.mark.parametrize("arguments", [{"momentum": 1.0}, {"momentum": -0.1}, {"epsilon": -1.0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=rf"{next(iter(arguments))}.*Received"):
        BatchNormalization(2, **arguments)
