"""Warnings: each piece of advice on arrays, and that it points to the user's own line."""

import threading
import warnings

import numpy as np
import pytest

import tfnvp
from tfnvp import advice

NORMAL = np.random.default_rng(0).normal(size=(64, 3))


def test_what_one_thread_knows_is_warned_of_in_others(recwarn):
    with advice.unsupported_rows_known():
        advice.warn_of_unsupported_rows("row 1")
        assert not recwarn.list
        thread = threading.Thread(target=advice.warn_of_unsupported_rows, args=("row 1",))
        thread.start()
        thread.join()
    assert len(recwarn.list) == 1


@pytest.mark.parametrize("unit", [1e5, 1e12])
def test_units_make_no_grey_levels(unit, recwarn):
    advice.warn_of_levels((unit * (NORMAL + 5)).astype("float32"))
    assert not recwarn.list


def test_conditions_far_from_one_get_a_warning(recwarn):
    for fine in (5 * NORMAL + 5, np.array([[5.0, -30.0, 0.0]]), NORMAL[:4] * 10):
        advice.warn_of_condition_scale(fine, is_standardized=False, name="condition")
    assert not recwarn.list
    far = NORMAL * [1.0, 1000.0, 1.0]
    with pytest.warns(UserWarning, match="variable 1 has the mean.*standardize_condition=True"):
        advice.warn_of_condition_scale(far, is_standardized=False, name="condition")
    with pytest.warns(UserWarning, match=r"once `fit` or `flow.adapt\(x, condition\)`"):
        advice.warn_of_condition_scale(far, is_standardized=True, name="condition")


def test_conditions_outside_of_the_training_range_get_a_warning(recwarn):
    seen = np.array([0.0, 7.0]), np.array([10.0, 7.0])
    advice.warn_of_condition_range(np.array([[19.0, 7.0], [-9.0, 7.0]]), seen, "condition")
    assert not recwarn.list
    for far, message in (
        ([21.0, 7.0], "variable 0 is 21 "),
        ([5.0, 8.0], "variable 1 is 8 .* 7 t"),
    ):
        with pytest.warns(UserWarning, match=f"outside of the training range: {message}"):
            advice.warn_of_condition_range(np.array([far]), seen, "condition")


def test_labels_get_a_warning(recwarn):
    codes = np.arange(64)[:, None] % 3
    for fine in (codes.astype("float32"), codes % 2):
        advice.warn_of_labels(fine, "condition")
    assert not recwarn.list
    with pytest.warns(UserWarning, match="one-hot"):
        advice.warn_of_labels(codes, "condition")


def test_impossible_bits_per_dimension_get_a_warning(recwarn):
    advice.warn_of_negative_bits({"bits_per_dim": 0.1, "loss": -3.0}, 256)
    assert not recwarn.list
    with pytest.warns(UserWarning, match=r"val_bits_per_dim = -0\.200 is impossible"):
        advice.warn_of_negative_bits({"bits_per_dim": 0.1, "val_bits_per_dim": -0.2}, 256)


def test_a_warning_points_to_the_line_that_called_tfnvp():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,), condition_shape=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        flow.log_prob([[0.0, 0.0]], [1000.0])
    assert [warning.filename for warning in caught] == [__file__]
