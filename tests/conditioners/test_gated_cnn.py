import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import perturb
from tfnvp.conditioners import GatedConvNet


def test_number_of_parameters():
    network = GatedConvNet(8, filters=32, blocks=3)
    network.build((None, 14, 14, 4))
    stem, last = 9 * 4 * 32 + 32, 9 * 64 * 8 + 8
    block = (9 * 64 * 32 + 32) + (64 * 64 + 64) + 2 * 32
    assert network.count_params() == stem + 3 * block + last == 73_864


def test_it_is_the_formula():
    """One pixel, where only the middle of a kernel counts."""
    network = GatedConvNet(3, filters=5, blocks=1)
    x = np.random.default_rng(0).normal(size=(4, 1, 1, 5))
    network(x)
    perturb(network, 1.0)

    def celu(h):
        elu = np.where(h > 0, h, np.expm1(h)), np.where(h < 0, -h, np.expm1(-h))
        return np.concatenate(elu, axis=-1)

    def conv(layer, h):
        kernel = layer.kernel.numpy()
        middle = kernel.shape[0] // 2
        return h @ kernel[middle, middle] + layer.bias.numpy()

    block = network.residuals[0]
    h = conv(network.stem, x[:, 0, 0])
    inner = conv(block.second, celu(conv(block.first, celu(h))))
    h = h + inner[:, :5] / (1 + np.exp(-inner[:, 5:]))
    h = (h - h.mean(axis=-1, keepdims=True)) / np.sqrt(h.var(axis=-1, keepdims=True) + 1e-5)
    h = h * block.norm.gamma.numpy() + block.norm.beta.numpy()
    expected = conv(network.projection, celu(h))
    np.testing.assert_allclose(network(x)[:, 0, 0], expected, rtol=1e-4, atol=1e-4)


def test_the_checkerboard_is_a_channel():
    without = GatedConvNet(1, filters=2, blocks=0, zero_init=False)
    network = GatedConvNet(1, filters=2, blocks=0, zero_init=False, parity=1)
    x = tf.zeros((1, 4, 4, 1))
    pattern = tf.constant((np.add.outer(range(4), range(4)) % 2)[None, :, :, None], tf.float32)
    expected = without(tf.concat([x, pattern], axis=-1))
    network(x)
    network.set_weights(without.get_weights())
    np.testing.assert_allclose(network(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [{"parity": 2}, {"filters": 0}, {"blocks": -1}, {"output_channels": 1.5}, {"dropout": 1}],
)
def test_networks_check_their_arguments(arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`.* Received"):
        GatedConvNet(**{"output_channels": 1, **arguments})
    with pytest.raises(ValueError, match="a GatedConvNet needs images"):
        GatedConvNet(1, filters=2)(tf.zeros((2, 3)))


def test_a_condition_of_the_same_pixels_is_seen_at_its_pixel():
    network = GatedConvNet(1, filters=4, blocks=1, zero_init=False)
    image, condition = tf.ones([1, 9, 1, 1]), tf.zeros([1, 9, 1, 2])
    before = network([image, condition])
    assert network.stem.kernel.shape[2] == 3
    change = network([image, condition + tf.one_hot([0], 9)[..., None, None]]) - before
    # Three filters of 3 x 3 see three pixels further.
    seen = np.abs(change)[0, :, 0, 0] > 0
    assert seen[0]
    assert not seen[4:].any()
