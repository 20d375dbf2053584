"""Location and scale of variables, and what float32 cannot hold of them."""

import numpy as np
import pytest

from tfnvp.precision import check_precision, location_and_scale

NORMAL = np.random.default_rng(0).normal(size=10_000)


def test_robust_figures_of_a_normal_are_mean_and_deviation():
    location, scale = location_and_scale(1e-9 * NORMAL[:, None] + 5e-9, robust=True)
    np.testing.assert_allclose(location, 5e-9, rtol=0.01)
    np.testing.assert_allclose(scale, 1e-9, rtol=0.03)


@pytest.mark.parametrize("share", [0.3, 0.15, 0.03, 1e-3])
def test_robust_scales_are_above_zero_where_most_values_are_equal(share):
    x = np.where(np.arange(len(NORMAL)) < share * len(NORMAL), NORMAL, 0.0)[:, None]
    (location,), (scale,) = location_and_scale(x, robust=True)
    assert location == 0.0
    assert 0.01 < scale < 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("column", "cure"),
    [(1.7e9 + 1e3 * NORMAL, "subtract its mean"), (1e-38 * NORMAL, "multiply it by a constant")],
)
def test_a_column_that_float32_cannot_hold_is_named(column, cure, dtype):
    rows = np.stack([NORMAL, column], axis=1).astype(dtype)
    with pytest.raises(ValueError, match=f"t.csv: column 1 varies by .*: {cure} first"):
        check_precision(rows, "column {0[0]}".format, "t.csv")


def test_small_and_large_units_are_held():
    for unit in (1e-30, 1e-12, 1e12):
        check_precision(unit * (NORMAL[:, None] + 5), "column {0[0]}".format, "t.csv")
