"""A bijector under test, the points of the test, and comparisons that name what failed."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.compose import condition_kwargs

#: Largest error allowed, relative and absolute, of values and log-dets computed in a dtype.
#: In float64 it is what float32 conditioners leave: exact within one coupling, not across many.
TOLERANCES = {tf.float64: 1e-6, tf.float32: 1e-4, tf.bfloat16: 5e-2, tf.float16: 5e-3}


class Subject:
    """A bijector at points `x`, each evaluation of which is computed anew.

    Its functions hide TFP's cache: every call passes a new tensor to the bijector.
    """

    def __init__(self, bijector: Any, x: tf.Tensor, condition: Any, atol: Any, rtol: Any):
        self.bijector = bijector
        self.x = tf.convert_to_tensor(x)
        self.condition = None if condition is None else tf.convert_to_tensor(condition)
        self.atol, self.rtol = atol, rtol
        self.event_ndims = self.x.shape.rank - 1
        self.image_ndims = bijector.forward_event_ndims(self.event_ndims)

    def at(self, x: tf.Tensor, condition: Any) -> "Subject":
        """Returns the same bijector at other points."""
        return Subject(self.bijector, x, condition, self.atol, self.rtol)

    def float64(self) -> "Subject":
        """Returns the same bijector at the same points in float64, unless it works in one dtype."""
        condition = None if self.condition is None else tf.cast(self.condition, tf.float64)
        exact = self.at(tf.cast(self.x, tf.float64), condition)
        try:
            exact.forward(exact.x)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):
            return self
        return exact

    def arguments(self, condition: Any) -> dict:
        """Returns the keyword arguments by which a condition reaches the methods."""
        return condition_kwargs(self.bijector, self.condition if condition is None else condition)

    def forward(self, x: tf.Tensor, condition: Any = None) -> tf.Tensor:
        return self.bijector.forward(tf.identity(x), **self.arguments(condition))

    def inverse(self, y: tf.Tensor, condition: Any = None) -> tf.Tensor:
        return self.bijector.inverse(tf.identity(y), **self.arguments(condition))

    def forward_log_det(
        self, x: tf.Tensor, condition: Any = None, event_ndims: Any = None
    ) -> tf.Tensor:
        event_ndims = self.event_ndims if event_ndims is None else event_ndims
        return self.bijector.forward_log_det_jacobian(
            tf.identity(x), event_ndims, **self.arguments(condition)
        )

    def inverse_log_det(
        self, y: tf.Tensor, condition: Any = None, event_ndims: Any = None
    ) -> tf.Tensor:
        event_ndims = self.image_ndims if event_ndims is None else event_ndims
        return self.bijector.inverse_log_det_jacobian(
            tf.identity(y), event_ndims, **self.arguments(condition)
        )

    def all_four(self, x: tf.Tensor, y: tf.Tensor, condition: Any = None) -> dict:
        """Returns what each public method answers, by its name."""
        return {
            "forward": self.forward(x, condition),
            "inverse": self.inverse(y, condition),
            "forward_log_det_jacobian": self.forward_log_det(x, condition),
            "inverse_log_det_jacobian": self.inverse_log_det(y, condition),
        }

    def tolerances(self, dtype: Any) -> tuple:
        """Returns `(atol, rtol)` for values computed in `dtype`."""
        default = TOLERANCES[dtype]
        return (
            default if self.atol is None else self.atol,
            default if self.rtol is None else self.rtol,
        )

    def require(self, condition: Any, message: str) -> None:
        """Raises `AssertionError` with the bijector's name and `message` unless `condition`."""
        if not condition:
            raise AssertionError(f"{self.bijector.name}: {message}")

    def require_close(self, actual: Any, expected: Any, what: str) -> None:
        """Raises `AssertionError` with the largest difference unless two tensors agree."""
        atol, rtol = self.tolerances(actual.dtype)
        # NumPy's `isclose` takes no bfloat16.
        actual, expected = (np.asarray(tf.cast(a, tf.float64)) for a in (actual, expected))
        # NaN agrees with NaN: whether values are finite, where they must be, is another check.
        close = np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=True)
        if close.all():
            return
        actual, expected = np.broadcast_arrays(actual, expected)
        error = np.where(close, 0.0, np.nan_to_num(np.abs(actual - expected), nan=np.inf))
        worst = np.unravel_index(np.argmax(error), error.shape)
        self.require(
            False,
            f"{what}: {np.sum(~close)} of {close.size} values differ, the most at "
            f"{tuple(int(i) for i in worst)}: {actual[worst]:.9g} against {expected[worst]:.9g} "
            f"(difference {error[worst]:.3g}, allowed {atol:g} + {rtol:g} * |value|)",
        )


@contextlib.contextmanager
def restored(variables: Any) -> Iterator:
    """Restores the values of variables after the block, also after an error."""
    variables = list(variables)
    values = [tf.identity(v) for v in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
