import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tests.conftest import perturb
from tfnvp.bijectors import (
    ActNorm,
    AffineCoupling,
    BatchNormalization,
    Chain,
    MultiScale,
    Squeeze,
)
from tfnvp.conditioners import MLP, ResidualCNN
from tfnvp.partitions import Channels

tfb = tfp.bijectors
SIDE_BY_SIDE = [[[1.0, 10.0], [2.0, 20.0]], [[3.0, 30.0], [4.0, 40.0]]]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        # A block [[1, 2], [3, 4]] in one colour, ten times as much in the other.
        ("channel_major", [1, 2, 3, 4, 10, 20, 30, 40]),
        ("position_major", [1, 10, 2, 20, 3, 30, 4, 40]),
        ("ordered", [1, 10, 4, 40, 2, 20, 3, 30]),
    ],
)
def test_the_order_of_channels(order, expected):
    squeezed = Squeeze(order=order).forward(tf.constant([SIDE_BY_SIDE]))
    assert squeezed.shape == (1, 1, 1, 8)
    np.testing.assert_array_equal(squeezed[0, 0, 0], expected)


def test_squeeze_is_the_figure_of_the_paper():
    # Figure 3, right: each 2 x 2 block becomes the four channels of one pixel.
    image = [[1, 2, 5, 6], [3, 4, 7, 8], [9, 10, 13, 14], [11, 12, 15, 16]]
    squeezed = Squeeze().forward(tf.constant(image, tf.float32)[:, :, None])
    np.testing.assert_array_equal(
        squeezed, [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 12], [13, 14, 15, 16]]]
    )


def test_position_major_is_space_to_depth():
    x = tf.random.normal((2, 6, 9, 2))
    squeezed = Squeeze(3, "position_major").forward(x)
    np.testing.assert_array_equal(squeezed, tf.nn.space_to_depth(x, 3))


def test_ordered_halves_are_checkerboards():
    i = np.add.outer(np.arange(4), np.arange(4))[:, :, None].astype("float32")
    squeezed = Squeeze(order="ordered").forward(i).numpy()
    assert (squeezed[..., :2] % 2 == 0).all()
    assert (squeezed[..., 2:] % 2 == 1).all()


@pytest.mark.parametrize("order", ["channel_major", "position_major", "ordered"])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_squeeze_is_undone_and_keeps_volume(order, batch):
    squeeze = Squeeze(order=order)
    x = tf.random.normal((*batch, 4, 6, 3))
    y = squeeze.forward(x)
    assert y.shape == squeeze.forward_event_shape(x.shape) == (*batch, 2, 3, 12)
    np.testing.assert_array_equal(squeeze.inverse(tf.identity(y)), x)
    np.testing.assert_array_equal(squeeze.forward_log_det_jacobian(x), np.zeros(batch))
    np.testing.assert_array_equal(squeeze.inverse_log_det_jacobian(y), np.zeros(batch))
    assert squeeze.inverse_event_shape(y.shape) == x.shape
    np.testing.assert_array_equal(squeeze.forward_event_shape_tensor(tf.shape(x)), y.shape)
    np.testing.assert_array_equal(squeeze.inverse_event_shape_tensor(tf.shape(y)), x.shape)


def test_squeeze_of_unknown_batches_in_a_chain():
    chain = tfb.Chain([tfb.Invert(Squeeze()), tfb.Scale(2.0), Squeeze()])

    @tf.function(input_signature=[tf.TensorSpec((None, 2, 2, 1))])
    def forward(x):
        return chain.forward(x), chain.forward_log_det_jacobian(x, 3)

    y, log_det = forward(tf.ones((3, 2, 2, 1)))
    np.testing.assert_array_equal(y, 2 * np.ones((3, 2, 2, 1)))
    np.testing.assert_allclose(log_det, 3 * [4 * np.log(2)], rtol=1e-6)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"divisible by 2.*\(3, 4, 1\)"):
        Squeeze().forward(tf.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match=r"divisible by 4.*\(2, 2, 6\)"):
        Squeeze().inverse(tf.zeros((2, 2, 6)))
    with pytest.raises(ValueError, match="divisible by 2"):
        Squeeze().forward_event_shape((3, 4, 1))
    with pytest.raises(ValueError, match="divisible by 2"):
        MultiScale(tfb.Identity()).forward_event_shape((4, 3, 1))


@pytest.mark.parametrize(
    "arguments",
    [{"factor": 1}, {"factor": 2.0}, {"order": "up"}, {"factor": 3, "order": "ordered"}],
)
def test_squeeze_checks_its_arguments(arguments):
    with pytest.raises(ValueError, match="Received"):
        Squeeze(**arguments)


def nested(condition_shape=None, network=ResidualCNN):
    """Three scales of an 8 x 8 image: two `MultiScale`s, one in the other."""

    def coupling(shape):
        cnn = network(shape[-1], filters=2, blocks=0, dtype="float64")
        return AffineCoupling(cnn, Channels(), shape, condition_shape=condition_shape)

    innermost = Chain([coupling((2, 2, 4)), ActNorm((2, 2, 4), data_init=False)])
    middle = Chain(
        [BatchNormalization((4, 4, 2), epsilon=0.1), coupling((4, 4, 2)), MultiScale(innermost)],
        name="middle",
    )
    return perturb(MultiScale(middle), deviation=0.3)


def test_multi_scale_moves_one_half_only():
    b = nested()
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    y = b.forward(x).numpy()
    odd = np.add.outer(np.arange(8), np.arange(8)) % 2 == 1
    np.testing.assert_array_equal(y[:, odd], x[:, odd])
    assert (y[:, ~odd] != x[:, ~odd]).any(axis=(0, 2)).all()
    np.testing.assert_allclose(b.inverse(tf.constant(y)), x, rtol=1e-9, atol=1e-9)


def test_a_constant_log_det_has_the_shape_of_the_batch():
    b = MultiScale(tfb.Scale(2.0))
    log_det = b.forward_log_det_jacobian(tf.zeros((3, 5, 4, 2, 1)))
    np.testing.assert_allclose(log_det, np.full((3, 5), 4 * np.log(2)), rtol=1e-6)


def test_conditions_reach_inner_bijectors():
    b = nested(condition_shape=3)
    assert b.takes_condition
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    c = np.random.default_rng(1).normal(size=(2, 3))
    y = b.forward(x, condition=c)
    np.testing.assert_allclose(b.inverse(tf.identity(y), condition=c), x, atol=1e-9)
    assert not np.allclose(y, b.forward(x, condition=c + 1))
    chain = Chain([b, tfb.Scale(tf.constant(1.0, tf.float64))])
    np.testing.assert_allclose(chain.forward(x, condition=c), y)
    with pytest.raises(ValueError, match="takes no condition"):
        nested().forward(x, condition=c)


class CountingCNN(ResidualCNN):
    calls = 0

    def call(self, inputs):
        type(self).calls += 1
        return super().call(inputs)


def test_each_conditioner_is_called_once():
    distribution = tfp.distributions.TransformedDistribution(
        tfp.distributions.Sample(
            tfp.distributions.Normal(tf.zeros((), tf.float64), 1.0), (8, 8, 1)
        ),
        nested(network=CountingCNN),
    )
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 8, 1)))
    CountingCNN.calls = 0
    distribution.log_prob(x)
    assert CountingCNN.calls == 2
    y = distribution.sample(2)
    assert CountingCNN.calls == 4
    distribution.log_prob(y)
    assert CountingCNN.calls == 4


def test_multi_scale_takes_only_a_bijector():
    with pytest.raises(TypeError, match="inner"):
        MultiScale(MLP(2))
