import numpy as np
import pytest
import tensorflow as tf

from tfnvp.bijectors import AdditiveCoupling
from tfnvp.conditioners import MLP
from tfnvp.partitions import EvenOdd, Mask, MoveAll, RandomHalves, Split

PARTITIONS = {
    "split": (Split(2), (5,), [0, 1]),
    "split_last": (Split(-2), (5,), [3, 4]),
    "split_of_rows": (Split(1), (2, 3), [0, 3]),
    "even_odd": (EvenOdd(), (6,), [0, 2, 4]),
    "even_odd_of_five": (EvenOdd(), (5,), [0, 2, 4]),
    "even_odd_of_two": (EvenOdd(), (2,), [0]),
    # Files hold only the seed: these numbers never change.
    "random_halves": (RandomHalves(1), (6,), [1, 2, 4]),
    "random_halves_of_five": (RandomHalves(4_000_000_000), (5,), [0, 1, 3]),
    "random_halves_of_rows": (RandomHalves(2), (2, 4), [2, 3, 6, 7]),
    "mask": (Mask([True, False, False, True]), (4,), [0, 3]),
    "mask_of_rows": (Mask([[True, False], [False, False]]), (2, 2), [0]),
}


@pytest.fixture(params=PARTITIONS, ids=str)
def case(request):
    return PARTITIONS[request.param]


@pytest.mark.parametrize("batch_shape", [(), (3,), (2, 3)])
def test_parts_are_the_ones_named_and_merge_to_the_whole(case, batch_shape):
    partition, event_shape, passing = case
    size = int(np.prod(event_shape))
    x = np.random.default_rng(0).permutation(int(np.prod(batch_shape)) * size).astype("float32")
    x = x.reshape((*batch_shape, *event_shape))
    flat = x.reshape((*batch_shape, size))
    moving = [i for i in range(size) if i not in passing]

    for swapped, expected in (
        (partition, (passing, moving)),
        (partition.swap(), (moving, passing)),
    ):
        parts = swapped.split(tf.constant(x))
        shapes = swapped.shapes(event_shape)
        for part, indices, shape in zip(parts, expected, shapes, strict=True):
            assert tuple(part.shape) == (*batch_shape, *shape)
            np.testing.assert_array_equal(
                part.numpy().reshape((*batch_shape, -1)), flat[..., indices]
            )
        np.testing.assert_array_equal(swapped.merge(*parts), x)


def test_swapping_twice_gives_an_equal_partition(case):
    partition = case[0]
    assert partition.swap() != partition
    assert partition.swap().swap() == partition
    assert hash(partition.swap().swap()) == hash(partition)
    assert type(partition)(**partition.get_config()) == partition


def test_gradients_pass_through_split_and_merge(case):
    partition, event_shape, _ = case
    x = tf.random.normal((3, *event_shape))
    with tf.GradientTape() as tape:
        tape.watch(x)
        passed, moved = partition.split(x)
        y = tf.reduce_sum(partition.merge(2.0 * passed, 3.0 * moved) * tf.sin(x))
    passed, moved = partition.split(x)
    weights = partition.merge(2.0 * tf.ones_like(passed), 3.0 * tf.ones_like(moved))
    expected = weights * (tf.sin(x) + x * tf.cos(x))
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-5, atol=1e-6)


def test_static_shapes_survive_an_unknown_batch(case):
    partition, event_shape, _ = case

    @tf.function(input_signature=[tf.TensorSpec((None, *event_shape))])
    def there_and_back(x):
        passed, moved = partition.split(x)
        assert tuple(moved.shape[1:]) == partition.shapes(event_shape)[1]
        y = partition.merge(passed, moved)
        assert tuple(y.shape[1:]) == event_shape
        return y

    x = np.random.default_rng(0).normal(size=(4, *event_shape)).astype("float32")
    np.testing.assert_array_equal(there_and_back(x), x)


def test_all_variables_move():
    x = tf.random.normal((3, 2, 4))
    passed, moved = MoveAll().split(x)
    assert [tuple(part.shape) for part in (passed, moved)] == [(3, 2, 0), (3, 2, 4)]
    assert MoveAll().shapes((2, 4)) == ((2, 0), (2, 4))
    np.testing.assert_array_equal(MoveAll().merge(passed, moved), x)
    assert MoveAll().swap() == MoveAll(**MoveAll().get_config())
    # Without a condition, its parameters would depend on nothing.
    with pytest.raises(ValueError, match=r"must let variables pass, unless .* `condition_shape`"):
        AdditiveCoupling(MLP(4, (8,)), MoveAll(), 4)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Split(0), ValueError, "`d` must not be 0"),
        (lambda: Split(1.5), TypeError, "`d` must be an integer. Received: 1.5"),
        (lambda: Split(True), TypeError, "`d` must be an integer"),
        (lambda: Split(4).shapes((4,)), ValueError, "d=4, event size 4"),
        (lambda: Split(-4).shapes((4,)), ValueError, "d=-4, event size 4"),
        (lambda: Split(9).split(tf.zeros([2, 4])), ValueError, "smaller than the event size"),
        (lambda: Split(1).shapes(()), ValueError, "rank 1 or more"),
        (lambda: Split(1, swapped=1), TypeError, "`swapped` must be a bool"),
        (lambda: EvenOdd().shapes((1,)), ValueError, "at least one variable on each side"),
        (lambda: EvenOdd().shapes(()), ValueError, "rank 1 or more"),
        (lambda: RandomHalves(-1), ValueError, "`seed` must be an int of 0 or more"),
        (lambda: RandomHalves(0).shapes((1,)), ValueError, "at least one variable on each side"),
        (lambda: Mask([]), ValueError, "must not be empty"),
        (lambda: Mask([1, 0]), TypeError, "must be boolean"),
        (lambda: Mask([True, True]), ValueError, "all True"),
        (lambda: Mask([False, False]), ValueError, "all False"),
        (lambda: Mask([True, False]).shapes((3,)), ValueError, r"mask of shape \(2,\)"),
        (lambda: Mask([True, False]).split(tf.zeros([3])), ValueError, "must end in"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
