"""What every partition of an event's variables can do."""

import abc
from typing import Any

import tensorflow as tf


class Partition(abc.ABC):
    """A division of an event's variables into those that pass and those that move.

    Subclasses implement `shapes`, `split` and `merge`. Partitions compare by value, so
    two equal ones are interchangeable, and `get_config` rebuilds an equal one.
    """

    #: Rank of the events that the partition divides, at the least.
    event_ndims = 1

    def __init__(self, swapped: bool = False):
        if not isinstance(swapped, bool):
            raise TypeError(f"`swapped` must be a bool. Received: {swapped!r}")
        self.swapped = swapped

    @abc.abstractmethod
    def shapes(self, event_shape: Any) -> tuple:
        """Returns the shapes `(passed, moved)`; raises `ValueError` where none exist."""

    @abc.abstractmethod
    def split(self, x: tf.Tensor) -> tuple:
        """Cuts `[..., *event_shape]` into `(passed, moved)`."""

    @abc.abstractmethod
    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        """Puts `(passed, moved)` together again: the inverse of `split`."""

    def parameters_shape(self, event_shape: Any) -> tuple:
        """Returns the shape of the positions at which a conditioner gives parameters."""
        return self.shapes(event_shape)[1]

    def select_moved(self, parameters: Any) -> tf.Tensor:
        """Takes the parameters of the moved variables from those at `parameters_shape`."""
        return parameters

    def swap(self) -> "Partition":
        """Returns the partition with the roles of the two parts exchanged."""
        return type(self)(**{**self.get_config(), "swapped": not self.swapped})

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {"swapped": self.swapped}

    def _order(self, first, second):
        return (second, first) if self.swapped else (first, second)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), repr(self)))

    def __repr__(self):
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class OfLastAxis(Partition):
    """A division of the last axis: into halves, the first of which passes, where not overridden."""

    def _sizes(self, event_shape):
        """Returns how many variables of the last axis the first and the second part have."""
        size = self._last_size(event_shape)
        if size < 2:
            raise ValueError(
                f"{self} must leave at least one variable on each side. Received: {event_shape}"
            )
        return size - size // 2, size // 2

    def _last_size(self, event_shape):
        size = event_shape[-1] if len(event_shape) else None
        if size is None:
            raise ValueError(
                f"{self} needs events of rank 1 or more, of known size. Received: {event_shape}"
            )
        return size

    def shapes(self, event_shape: Any) -> tuple:
        sizes = self._sizes(event_shape)
        return self._order(*((*event_shape[:-1], size) for size in sizes))

    def split(self, x: tf.Tensor) -> tuple:
        sizes = self._sizes(x.shape[-self.event_ndims :])
        return self._order(*tf.split(x, sizes, axis=-1))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        return tf.concat(self._order(passed, moved), axis=-1)
