"""The layer that standardises conditions."""

import numpy as np
import pytest

import tfnvp
from tfnvp.bijectors import AffineCoupling, Chain
from tfnvp.conditioners import MLP, GradientCheckpointing, StandardizedCondition
from tfnvp.partitions import Split

RNG = np.random.default_rng(0)


def called_with(rows, network=None):
    """A layer that has its weights."""
    layer = StandardizedCondition(network or MLP(1))
    layer([np.ones((len(rows), 1)), rows])
    return layer


def test_flags_stay_and_constants_are_only_shifted():
    rows = np.array([[0, 7, 1, -1], [1, 7, 1, 3]], "float32")
    layer = called_with(rows)
    assert not layer.is_initialized
    np.testing.assert_array_equal(layer.standardize(rows), rows)
    layer.adapt(rows)
    assert layer.is_initialized
    np.testing.assert_allclose(layer.standardize(rows), [[0, 0, 1, -1], [1, 0, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(layer.standardize(rows + 1)[0], [1, 1, 2, -0.5], atol=1e-6)


def test_whether_it_is_initialized_is_saved_with_the_weights():
    rows = np.array([[1960.0], [2000.0]])
    layer, other = called_with(rows), called_with(rows)
    layer.adapt(rows)
    other.set_weights(layer.get_weights())
    assert other.is_initialized
    with pytest.warns(DeprecationWarning, match="`is_initialized`"):
        assert other.started


def test_images_as_conditions_have_figures_for_each_channel():
    rows = RNG.normal(size=(50, 4, 4, 2)) * [1.0, 30.0] + [5.0, 0.0]
    layer = called_with(rows)
    layer.adapt(rows)
    got = layer.standardize(rows).numpy()
    np.testing.assert_allclose(got.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(got.std(axis=(0, 1, 2)), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_bfloat16", "float32"), ("float64", "float64")]
)
def test_half_precision_comes_after_the_standardising(policy, dtype):
    years = np.array([[2024.0], [2025.0]])
    layer = called_with(years, GradientCheckpointing(MLP(1, zero_init=False, dtype=policy)))
    layer.adapt(years)
    assert layer.standardize(years).dtype == dtype
    np.testing.assert_array_equal(layer.standardize(years), [[-1], [1]])
    first, second = layer([np.ones((2, 1)), years]).numpy().astype("float32")
    assert abs(first - second) > 1e-2


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_conditions_that_float32_would_flatten_are_refused(dtype):
    seconds = (1_700_000_000 + 1000 * RNG.normal(size=(50, 1))).astype(dtype)
    with pytest.raises(ValueError, match=r"`condition`: variable 0 varies by .*float32"):
        called_with(seconds).adapt(seconds)


@pytest.mark.parametrize("wrong", [np.ones((4, 3)), np.ones((0, 2)), [[np.nan, 1.0]], 1.0])
def test_wrong_conditions_are_refused(wrong):
    with pytest.raises(ValueError, match="has no weights yet"):
        StandardizedCondition(MLP(1)).adapt(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"finite numbers of shape \[batch, ..., 2\]"):
        called_with(np.ones((1, 2))).adapt(wrong)


def test_wrong_use_is_named():
    with pytest.raises(TypeError, match="`layer` must be a Keras 3 layer or model"):
        StandardizedCondition(np.exp)
    with pytest.raises(ValueError, match="needs variables and a condition"):
        AffineCoupling(StandardizedCondition(MLP(4)), Split(1), 3)
    with pytest.raises(ValueError, match="standardises its condition already"):
        StandardizedCondition(GradientCheckpointing(StandardizedCondition(MLP(1))))
    coupling = AffineCoupling(MLP(4), Split(1), 3, condition_shape=1)
    with pytest.raises(
        ValueError, match=r"`condition_shape` must be that of affine_coupling, \(1,"
    ):
        tfnvp.Flow(Chain([coupling]), 3, condition_shape=2)
