"""How couplings divide vectors: by the last axis, or by a mask of any shape."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.partitions.base import Partition
from tfnvp.partitions.gather import permute, reshape_event


def _last_axis_size(partition, x):
    size = tf.TensorShape(x.shape)[-1]
    if size is None:
        raise ValueError(
            f"{partition} needs the size of the last axis to be known. Received shape: {x.shape}"
        )
    return size


def _vector_shapes(partition, event_shape, passed_size):
    event_shape = tuple(event_shape)
    if not event_shape:
        raise ValueError(f"{partition} needs an event of rank 1 or more. Received: scalar events")
    size = event_shape[-1]
    if not 0 < passed_size < size:
        raise ValueError(
            f"{partition} must leave at least one variable on each side of the split. "
            f"Received: event_shape={event_shape}"
        )
    first, second = event_shape[:-1] + (passed_size,), event_shape[:-1] + (size - passed_size,)
    return (second, first) if partition.swapped else (first, second)


class Split(Partition):
    """The first `d` variables of the last axis pass, the others move.

    With a negative `d` the last `|d|` variables pass (as in `tfb.RealNVP(num_masked=d)`).

    Args:
      d: int, not 0, with `|d|` smaller than the last axis.
      swapped: exchange the roles of the two parts.

    Raises:
      TypeError: if `d` is not an integer.
      ValueError: if `d` is 0, or (from `shapes`) if `|d|` is not below the last axis.

    >>> import tensorflow as tf
    >>> passed, moved = Split(1).split(tf.constant([[1.0, 2.0, 3.0]]))
    >>> moved.numpy().tolist()
    [[2.0, 3.0]]

    Source: Dinh, Krueger and Bengio 2014 (NICE), equation 4.
    """

    def __init__(self, d: int, swapped: bool = False):
        super().__init__(swapped)
        if isinstance(d, bool) or not isinstance(d, (int, np.integer)):
            raise TypeError(f"`d` must be an integer. Received: {d!r}")
        if d == 0:
            raise ValueError("`d` must not be 0: at least one variable has to pass. Received: 0")
        self.d = int(d)

    def _cut(self, size):
        if abs(self.d) >= size:
            raise ValueError(
                f"`d` must be smaller than the event size. Received: d={self.d}, event size {size}"
            )
        return self.d if self.d > 0 else size + self.d

    def shapes(self, event_shape: Any) -> tuple:
        if not event_shape:
            raise ValueError(f"{self} needs an event of rank 1 or more. Received: scalar events")
        cut = self._cut(event_shape[-1])
        passed_size = cut if self.d > 0 else event_shape[-1] - cut
        return _vector_shapes(self, event_shape, passed_size)

    def split(self, x: tf.Tensor) -> tuple:
        size = _last_axis_size(self, x)
        cut = self._cut(size)
        head, tail = tf.split(x, [cut, size - cut], axis=-1)
        return self._order(*((head, tail) if self.d > 0 else (tail, head)))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        first, second = self._order(passed, moved)
        return tf.concat([first, second] if self.d > 0 else [second, first], axis=-1)

    def get_config(self) -> dict:
        return {"d": self.d, **super().get_config()}


class EvenOdd(Partition):
    """The variables with even index on the last axis pass, those with odd index move.

    Of an odd number of variables, one more passes than moves.

    >>> import tensorflow as tf
    >>> passed, moved = EvenOdd().split(tf.range(5))
    >>> passed.numpy().tolist(), moved.numpy().tolist()
    ([0, 2, 4], [1, 3])

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 5.1.
    """

    def shapes(self, event_shape: Any) -> tuple:
        return _vector_shapes(self, event_shape, (tuple(event_shape)[-1:] or (0,))[0] + 1 >> 1)

    def split(self, x: tf.Tensor) -> tuple:
        size = _last_axis_size(self, x)
        odd_one_out = size % 2
        pairs, last = tf.split(x, [size - odd_one_out, odd_one_out], axis=-1)
        # Reshape and unstack, because the gradient of a strided slice is far slower.
        pairs = tf.reshape(pairs, tf.concat([tf.shape(x)[:-1], [size // 2, 2]], axis=0))
        pairs.set_shape(x.shape[:-1] + [size // 2, 2])
        evens, odds = tf.unstack(pairs, axis=-1)
        return self._order(tf.concat([evens, last], axis=-1) if odd_one_out else evens, odds)

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        evens, odds = self._order(passed, moved)
        pairs_count = _last_axis_size(self, odds)
        odd_one_out = _last_axis_size(self, evens) - pairs_count
        evens, last = tf.split(evens, [pairs_count, odd_one_out], axis=-1)
        pairs = tf.stack([evens, odds], axis=-1)
        pairs = tf.reshape(pairs, tf.concat([tf.shape(odds)[:-1], [2 * pairs_count]], axis=0))
        pairs.set_shape(odds.shape[:-1] + [2 * pairs_count])
        return tf.concat([pairs, last], axis=-1) if odd_one_out else pairs


class Mask(Partition):
    """The variables where `mask` is true pass, the others move; both parts are flat.

    Args:
      mask: boolean array with the shape of the event, any rank, neither all true nor all
        false.
      swapped: exchange the roles of the two parts.

    Raises:
      TypeError: if `mask` is not boolean.
      ValueError: if `mask` is empty, or is all true or all false.

    >>> import tensorflow as tf
    >>> mask = Mask([[True, False], [False, True]])
    >>> passed, moved = mask.split(tf.constant([[1.0, 2.0], [3.0, 4.0]]))
    >>> passed.numpy().tolist(), moved.numpy().tolist()
    ([1.0, 4.0], [2.0, 3.0])

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP), equation 9.
    """

    def __init__(self, mask: Any, swapped: bool = False):
        super().__init__(swapped)
        mask = np.asarray(mask)
        if mask.size == 0 or mask.ndim == 0:
            raise ValueError(f"`mask` must not be empty. Received an array of shape {mask.shape}")
        if mask.dtype != bool:
            raise TypeError(f"`mask` must be boolean. Received dtype: {mask.dtype}")
        if mask.all() or not mask.any():
            raise ValueError(
                "`mask` must have true entries (variables that pass) and false ones (variables "
                f"that move). Received a mask that is all {bool(mask.flat[0])}"
            )
        self.mask = mask
        self.event_ndims = mask.ndim
        flat = mask.ravel() != swapped
        self._order_of_parts = np.concatenate([np.flatnonzero(flat), np.flatnonzero(~flat)])
        self._passed_size = int(flat.sum())

    def shapes(self, event_shape: Any) -> tuple:
        if tuple(event_shape) != self.mask.shape:
            raise ValueError(
                "`mask` must have the shape of the event. "
                f"Received: mask of shape {self.mask.shape}, event_shape={tuple(event_shape)}"
            )
        return (self._passed_size,), (self.mask.size - self._passed_size,)

    def split(self, x: tf.Tensor) -> tuple:
        rank = self.mask.ndim
        if not x.shape[-rank:].is_compatible_with(self.mask.shape):
            raise ValueError(f"`x` must end in {self.mask.shape}. Received shape: {x.shape}")
        flat = reshape_event(x, rank, [self.mask.size])
        sizes = [self._passed_size, self.mask.size - self._passed_size]
        return tuple(tf.split(permute(flat, self._order_of_parts), sizes, axis=-1))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        parts = tf.concat([passed, moved], axis=-1)
        return reshape_event(permute(parts, np.argsort(self._order_of_parts)), 1, self.mask.shape)

    def get_config(self) -> dict:
        return {"mask": self.mask.tolist(), **super().get_config()}
