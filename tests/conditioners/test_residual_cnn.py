import numpy as np
import pytest
import tensorflow as tf

from tfnvp.conditioners import ResidualCNN


def test_networks_without_normalization():
    network = ResidualCNN(3, filters=2, blocks=2, batch_norm=False, zero_init=False)
    x = tf.random.normal((2, 3, 5, 1))
    assert network(x).shape == (2, 3, 5, 3)
    assert not np.allclose(network(x), 0.0)
    assert len(network.non_trainable_variables) == 0
    copied = ResidualCNN.from_config(network.get_config())
    copied.build(x.shape)
    copied.set_weights(network.get_weights())
    np.testing.assert_array_equal(copied(x), network(x))


def test_filters_have_norm_one_or_a_learned_one():
    network = ResidualCNN(3, filters=2, blocks=0, zero_init=False)
    x = tf.random.normal((2, 3, 5, 1))
    before = network(x)
    network.stem.direction.assign(7.0 * network.stem.direction)
    network.projection.direction.assign(0.1 * network.projection.direction)
    np.testing.assert_allclose(network(x), before, rtol=1e-4, atol=1e-5)
    network.projection.magnitude.assign(2.0 * network.projection.magnitude)
    np.testing.assert_allclose(network(x), 2.0 * before, rtol=1e-4, atol=1e-5)


def test_the_checkerboard_is_a_channel():
    inputs = []
    network = ResidualCNN(1, filters=2, blocks=0, parity=1, batch_norm=False)
    network(tf.zeros((1, 2, 3, 1)))
    network.stem.call = lambda x: inputs.append(x) or tf.zeros((1, 2, 3, 2))
    network(tf.constant([[[0.0, 1.0, 0.0], [-2.0, 0.0, 3.0]]])[..., None])
    positive, negative, pattern = np.moveaxis(inputs[0].numpy()[0], -1, 0)
    np.testing.assert_array_equal(positive, [[0, 2, 0], [0, 0, 6]])
    np.testing.assert_array_equal(negative, [[0, 0, 0], [4, 0, 0]])
    np.testing.assert_array_equal(pattern, [[0, 1, 0], [1, 0, 1]])


def test_no_images_give_no_rows():
    # oneDNN's convolutions of no images have the number of channels of their inputs.
    network = ResidualCNN(3, filters=4, blocks=1, zero_init=False)
    network.build([(None, 2, 2, 1), (None, 2)])
    specifications = [tf.TensorSpec((None, 2, 2, 1)), tf.TensorSpec((None, 2))]
    function = tf.function(lambda *inputs: network(list(inputs)), specifications)
    for rows in (0, 2):
        x = tf.ones((rows, 2, 2, 1)), tf.ones((rows, 2))
        np.testing.assert_allclose(function(*x), network(list(x)), rtol=1e-5, atol=1e-5)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(tf.ones((0, 2, 2, 1)), tf.ones((0, 2))))
    for gradient in tape.gradient(total, network.trainable_variables):
        assert not np.any(gradient)


@pytest.mark.parametrize("arguments", [{"parity": 2}, {"filters": 0}, {"output_channels": 1.5}])
def test_networks_check_their_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        ResidualCNN(**{"output_channels": 1, **arguments})
    with pytest.raises(ValueError, match="images"):
        ResidualCNN(1, filters=2)(tf.zeros((2, 3)))
