import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.bijector_builders import outputs_of
from tests.conftest import perturb
from tfnvp.bijectors import AffineCoupling, SplineCoupling
from tfnvp.conditioners import ResidualCNN
from tfnvp.flows.serialization import deserialize, serialize
from tfnvp.partitions import Channels, Checkerboard, PackedCheckerboard, RandomHalves, Stripes

OF_PAIRS = [Stripes("horizontal"), Stripes("vertical"), PackedCheckerboard()]
OF_ANY_SIZE = [Checkerboard(), Channels(), RandomHalves(1)]
PARTITIONS = [p for one in [*OF_ANY_SIZE, *OF_PAIRS] for p in (one, one.swap())]
SHAPES = [(2, 2, 2), (3, 3, 2), (4, 3, 3), (1, 2, 2), (5, 4, 5)]


def image(shape, batch=()):
    return np.arange(1, 1 + np.prod((*batch, *shape)), dtype="float32").reshape((*batch, *shape))


def coupling(kind, partition, shape, **kwargs):
    channels = outputs_of(kind, partition, shape)[-1]
    parity = getattr(partition, "parity", None)
    network = ResidualCNN(channels, filters=3, blocks=1, parity=parity, dtype="float64")
    return perturb(kind(network, partition, shape, **kwargs), deviation=0.2)


def test_checkerboard_is_the_figure_of_the_paper():
    # Figure 3, left, of the paper: 1 where the sum of the coordinates is odd.
    figure = np.array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]], bool)
    x = image((4, 4, 2))
    passed, moved = Checkerboard().split(tf.constant(x))
    np.testing.assert_array_equal(passed, np.where(figure[:, :, None], x, 0))
    np.testing.assert_array_equal(moved, x[~figure])
    passed, moved = Checkerboard().swap().split(tf.constant(x))
    np.testing.assert_array_equal(passed, np.where(figure[:, :, None], 0, x))
    np.testing.assert_array_equal(moved, x[figure])


def test_checkerboard_of_odd_size():
    x = image((3, 5, 1))
    pattern = np.array([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1], [0, 1, 0, 1, 0]], bool)
    passed, moved = Checkerboard().split(tf.constant(x))
    np.testing.assert_array_equal(passed[..., 0], np.where(pattern, x[..., 0], 0))
    np.testing.assert_array_equal(moved, x[~pattern])
    assert Checkerboard().shapes((3, 5, 1)) == ((3, 5, 1), (8, 1))
    assert Checkerboard().swap().shapes((3, 5, 1)) == ((3, 5, 1), (7, 1))


def test_channels_are_the_figure_of_the_paper():
    x = image((2, 2, 4))
    passed, moved = Channels().split(tf.constant(x))
    np.testing.assert_array_equal(passed, x[..., :2])
    np.testing.assert_array_equal(moved, x[..., 2:])
    passed, moved = Channels().swap().split(tf.constant(x))
    np.testing.assert_array_equal(passed, x[..., 2:])
    np.testing.assert_array_equal(moved, x[..., :2])


def test_stripes_are_every_second_row_or_column():
    x = image((2, 4, 4, 3))
    for partition, first, second in [
        (Stripes("horizontal"), x[:, ::2], x[:, 1::2]),
        (Stripes("vertical"), x[:, :, ::2], x[:, :, 1::2]),
    ]:
        for found, expected in zip(partition.split(tf.constant(x)), (first, second), strict=True):
            np.testing.assert_array_equal(found, expected)
        for found, expected in zip(
            partition.swap().split(tf.constant(x)), (second, first), strict=True
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_packed_checkerboard_has_the_pixels_of_a_checkerboard_row_by_row(swapped):
    x = tf.constant(image((3, 4, 2)))
    passed, moved = PackedCheckerboard(swapped).split(x)
    np.testing.assert_array_equal(tf.reshape(moved, (6, 2)), Checkerboard(swapped).split(x)[1])
    np.testing.assert_array_equal(tf.reshape(passed, (6, 2)), Checkerboard(not swapped).split(x)[1])


@pytest.mark.parametrize("shape", [(3, 4, 1), (4, 3, 1), (4, 4), (None, 4, 1)])
def test_pairs_of_pixels_want_images_of_even_size(shape):
    fitting = {(3, 4, 1): [1, 2], (4, 3, 1): [0]}.get(shape, [])
    for i, partition in enumerate(OF_PAIRS):
        if i in fitting:
            assert np.prod(partition.shapes(shape)[0]) == 6
            continue
        with pytest.raises(ValueError, match=rf"{type(partition).__name__}.*Received"):
            partition.shapes(shape)


def test_a_direction_is_horizontal_or_vertical():
    with pytest.raises(ValueError, match=r"`direction` must be .* Received: 'rows'"):
        Stripes("rows")


def test_of_odd_channels_one_more_passes():
    assert Channels().shapes((2, 2, 5)) == ((2, 2, 3), (2, 2, 2))
    assert Channels().swap().shapes((2, 2, 5)) == ((2, 2, 2), (2, 2, 3))


@pytest.mark.parametrize(
    ("partition", "shape"),
    [
        *((p, shape) for p in [*OF_ANY_SIZE, *(p.swap() for p in OF_ANY_SIZE)] for shape in SHAPES),
        *((p, (2, 4, 3)) for p in OF_PAIRS),
    ],
    ids=repr,
)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_merge_undoes_split(partition, shape, batch):
    x = tf.constant(image(shape, batch))
    passed, moved = partition.split(x)
    passed_shape, moved_shape = partition.shapes(shape)
    assert tuple(passed.shape) == (*batch, *passed_shape)
    assert tuple(moved.shape) == (*batch, *moved_shape)
    np.testing.assert_array_equal(partition.merge(passed, moved), x)
    # A passed part that was not masked does not leak into the moved one.
    if isinstance(partition, Checkerboard):
        np.testing.assert_array_equal(partition.merge(x, moved), x)


@pytest.mark.parametrize("partition", PARTITIONS, ids=repr)
def test_split_and_merge_have_exact_gradients_on_unknown_batches(partition):
    x = tf.constant(image((2, 4, 3), (2,)))

    @tf.function(input_signature=[tf.TensorSpec((None, 2, 4, 3))])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            passed, moved = partition.split(x)
            y = partition.merge(2.0 * passed, 3.0 * moved)
            value = tf.reduce_sum(y * x)
        return tape.gradient(value, x), y

    found, y = gradient(x)
    factor = partition.merge(*(k * p for k, p in zip((2.0, 3.0), partition.split(x), strict=True)))
    np.testing.assert_allclose(y, factor)
    np.testing.assert_allclose(found, 2 * y)


@pytest.mark.parametrize("partition", PARTITIONS, ids=repr)
def test_partitions_are_saved(partition):
    assert deserialize(serialize(partition)) == partition
    assert partition.swap().swap() == partition
    assert partition.swap() != partition


@pytest.mark.parametrize("shape", [(4,), (1, 1, 3), (2, 3, 4, 5), (None, 4, 1)])
def test_checkerboard_wants_images_of_two_pixels(shape):
    with pytest.raises(ValueError, match=r"Checkerboard.*Received"):
        Checkerboard().shapes(shape)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 1)])
def test_channels_wants_two_of_them(shape):
    with pytest.raises(ValueError, match=r"Channels.*Received"):
        Channels().shapes(shape)


@pytest.mark.parametrize("kind", [AffineCoupling, SplineCoupling])
@pytest.mark.parametrize("partition", PARTITIONS, ids=repr)
def test_couplings_on_images_move_one_part_and_invert(partition, kind):
    """Their log-dets against automatic differentiation: `tests/bijectors`."""
    b = coupling(kind, partition, (4, 2, 3))
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 2, 3)))
    y, log_det = b.forward_and_log_det(x)
    assert not np.allclose(x, y)
    np.testing.assert_array_equal(partition.split(x)[0], partition.split(y)[0])
    back, inverse_log_det = b.inverse_and_log_det(y)
    np.testing.assert_allclose(back, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-9)


def test_a_checkerboard_coupling_is_the_formula_of_the_paper():
    class Parameters(keras.layers.Layer):
        def call(self, image):
            return keras.ops.concatenate([image + 1.0, 0.1 * image + 0.2], axis=-1)

    partition, x = Checkerboard(), image((2, 2, 1), (1,))
    b = AffineCoupling(Parameters(), partition, (2, 2, 1), scale="exp")
    # Passed are 2 and 3; the network sees zeros at the moved pixels: shift 1, log-scale 0.2.
    expected = [[np.exp(0.2) + 1, 2.0], [3.0, 4 * np.exp(0.2) + 1]]
    np.testing.assert_allclose(b.forward(x)[0, :, :, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(b.forward_log_det_jacobian(x), [0.4], rtol=1e-6)


@pytest.mark.parametrize("kind", [AffineCoupling, SplineCoupling])
@pytest.mark.parametrize("partition", [Checkerboard(), Channels()], ids=repr)
def test_several_batch_axes_and_conditions(partition, kind):
    shape = (2, 3, 2)
    b = coupling(kind, partition, shape, condition_shape=(4,))
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, *shape)))
    condition = tf.constant(np.random.default_rng(1).normal(size=(3, 4)))
    y = b.forward(x, condition=condition)
    assert y.shape == x.shape
    for i in range(3):
        one = b.forward(x[1, i], condition=condition[i])
        np.testing.assert_allclose(one, y[1, i], rtol=1e-9)
    assert not np.allclose(y, b.forward(x, condition=condition + 1.0))
    log_det = b.forward_log_det_jacobian(x, condition=condition)
    assert log_det.shape == (2, 3)


def test_a_conditioner_of_the_wrong_size_is_refused():
    network = ResidualCNN(3, filters=2, blocks=0)
    with pytest.raises(ValueError, match=r"conditioner.*Received.*3"):
        AffineCoupling(network, Checkerboard(), (2, 2, 1))
