"""A bijector under test, the points of the test, and comparisons that name what failed."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.bijectors.compose import condition_kwargs

#: Largest error allowed, relative and absolute, of values and log-dets computed in a dtype.
#: In float64 it is what float32 conditioners leave: exact within one coupling, not across many.
TOLERANCES = {tf.float64: 1e-6, tf.float32: 1e-4, tf.bfloat16: 5e-2, tf.float16: 5e-3}

#: The public methods for the log-dets of a direction, by the method for its values.
LOG_DETS = {"forward": "forward_log_det_jacobian", "inverse": "inverse_log_det_jacobian"}


@dataclasses.dataclass
class Subject:
    """A bijector at points `x`, perhaps with a condition, and the tolerances of the test."""

    bijector: Any
    x: tf.Tensor
    condition: Any = None
    atol: Any = None
    rtol: Any = None

    def float64(self) -> "Subject":
        """Returns the same bijector at the same points in float64, unless it works in one dtype."""
        condition = None if self.condition is None else tf.cast(self.condition, tf.float64)
        exact = dataclasses.replace(self, x=tf.cast(self.x, tf.float64), condition=condition)
        try:
            exact.forward(exact.x)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):
            return self
        return exact

    def ask(self, method: str, x: tf.Tensor, event_ndims: int | None = None) -> tf.Tensor:
        """Returns what a public method answers for this very tensor, perhaps from a cache."""
        kwargs = condition_kwargs(self.bijector, self.condition)
        if method in LOG_DETS:
            return getattr(self.bijector, method)(x, **kwargs)
        if event_ndims is None:
            event_ndims = self.x.shape.rank - 1
            if method == LOG_DETS["inverse"]:
                event_ndims = self.bijector.forward_event_ndims(event_ndims)
        return getattr(self.bijector, method)(x, event_ndims, **kwargs)

    def ask_anew(self, method: str, x: tf.Tensor, event_ndims: int | None = None) -> tf.Tensor:
        """Returns what a public method computes: a new tensor is in no cache."""
        return self.ask(method, tf.identity(x), event_ndims)

    def forward(self, x: tf.Tensor) -> tf.Tensor:
        return self.ask_anew("forward", x)

    def inverse(self, y: tf.Tensor) -> tf.Tensor:
        return self.ask_anew("inverse", y)

    def all_four(self, x: tf.Tensor, y: tf.Tensor, condition: Any = None) -> dict:
        """Returns what each public method computes, by its name."""
        subject = self if condition is None else dataclasses.replace(self, condition=condition)
        methods = (*LOG_DETS, *LOG_DETS.values())
        return {m: subject.ask_anew(m, x if m.startswith("forward") else y) for m in methods}

    def directions(self) -> list:
        """Returns, for both directions, the methods for values and log-dets, and their input."""
        y = self.forward(self.x)
        return [(*pair, x) for pair, x in zip(LOG_DETS.items(), (self.x, y), strict=True)]

    def require(self, condition: Any, message: str) -> None:
        """Raises `AssertionError` with the bijector's name and `message` unless `condition`."""
        if not condition:
            raise AssertionError(f"{self.bijector.name}: {message}")

    def require_equal(self, actual: Any, expected: Any, what: str) -> None:
        """Raises `AssertionError` with both values unless they are equal."""
        self.require(actual == expected, f"{what} is {actual}, expected {expected}")

    def require_close(self, actual: Any, expected: Any, what: str) -> None:
        """Raises `AssertionError` with the largest difference unless two tensors agree."""
        default = TOLERANCES[actual.dtype]
        atol, rtol = (default if given is None else given for given in (self.atol, self.rtol))
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
