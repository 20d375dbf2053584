"""How couplings divide vectors: by the last axis, or by a mask of any shape."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp.arguments import check_int
from tfnvp.partitions.base import OfLastAxis, Partition
from tfnvp.partitions.gather import permute, reshape_event


class Split(OfLastAxis):
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

    def _sizes(self, event_shape):
        size = self._last_size(event_shape)
        if abs(self.d) >= size:
            raise ValueError(
                f"`d` must be smaller than the event size. Received: d={self.d}, event size {size}"
            )
        return self.d % size, -self.d % size

    def _order(self, first, second):
        return super()._order(*((first, second) if self.d > 0 else (second, first)))

    def get_config(self) -> dict:
        return {"d": self.d, **super().get_config()}


class EvenOdd(OfLastAxis):
    """The variables with even index on the last axis pass, those with odd index move.

    Of an odd number of variables, one more passes than moves.

    >>> import tensorflow as tf
    >>> passed, moved = EvenOdd().split(tf.range(5))
    >>> passed.numpy().tolist(), moved.numpy().tolist()
    ([0, 2, 4], [1, 3])

    Source: Dinh, Krueger and Bengio 2014 (NICE), section 5.1.
    """

    def split(self, x: tf.Tensor) -> tuple:
        count, odd_one_out = divmod(self._last_size(x.shape[-1:]), 2)
        pairs, last = tf.split(x, [2 * count, odd_one_out], axis=-1)
        # Reshape and unstack, because the gradient of a strided slice is far slower.
        evens, odds = tf.unstack(reshape_event(pairs, 1, (count, 2)), axis=-1)
        return self._order(tf.concat([evens, last], axis=-1) if odd_one_out else evens, odds)

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        evens, odds = self._order(passed, moved)
        count = self._last_size(odds.shape[-1:])
        odd_one_out = self._last_size(evens.shape[-1:]) - count
        evens, last = tf.split(evens, [count, odd_one_out], axis=-1)
        pairs = reshape_event(tf.stack([evens, odds], axis=-1), 2, (2 * count,))
        return tf.concat([pairs, last], axis=-1) if odd_one_out else pairs


class RandomHalves(OfLastAxis):
    """A random half of the last axis passes, the other half moves; which is fixed by a seed.

    Variables keep their places: `merge` undoes the order of `split`. Of an odd number of
    variables, one more passes than moves. Couplings with different seeds mix all channels of an
    image, or all features of a token, without a permutation between them.

    Args:
      seed: int from 0 to 2^32 - 1. The halves are the same in each version and on each machine.
      swapped: exchange the roles of the two parts.

    Raises:
      ValueError: if `seed` is out of range; (from `shapes`) for fewer than two variables.

    >>> import tensorflow as tf
    >>> passed, moved = RandomHalves(seed=1).split(tf.range(6))
    >>> passed.numpy().tolist(), moved.numpy().tolist()
    ([1, 2, 4], [0, 3, 5])

    Source: Kolesnikov, Pinto and Tschannen 2024 (Jet), for the channels of patches.
    """

    def __init__(self, seed: int, swapped: bool = False):
        super().__init__(swapped)
        check_int("seed", seed, least=0, most=2**32 - 1)
        self.seed = int(seed)

    def split(self, x: tf.Tensor) -> tuple:
        return super().split(permute(x, self._permutation(x.shape[-1:])))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        x = super().merge(passed, moved)
        return permute(x, np.argsort(self._permutation(x.shape[-1:])))

    def _permutation(self, event_shape):
        size, half = sum(self._sizes(event_shape)), self._sizes(event_shape)[0]
        # NumPy guarantees that this generator's numbers stay the same, but not those of newer ones.
        order = np.random.RandomState(self.seed).permutation(size)
        return np.concatenate([np.sort(order[:half]), np.sort(order[half:])])

    def get_config(self) -> dict:
        return {"seed": self.seed, **super().get_config()}


class MoveAll(OfLastAxis):
    """All variables move and none passes: for couplings that take a condition.

    A coupling of one variable has no other. Its parameters then depend on the condition alone.

    >>> import tensorflow as tf
    >>> passed, moved = MoveAll().split(tf.constant([[1.0]]))
    >>> passed.shape.as_list(), moved.numpy().tolist()
    ([1, 0], [[1.0]])
    """

    def __init__(self):
        super().__init__()

    def _sizes(self, event_shape):
        return 0, self._last_size(event_shape)

    def swap(self) -> "MoveAll":
        """Returns the same partition: the other one would move nothing."""
        return self

    def get_config(self) -> dict:
        return {}


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
                f"`mask` must have true and false entries. Received: all {mask.flat[0]}"
            )
        self.mask = mask
        self.event_ndims = mask.ndim
        flat = mask.ravel() != swapped
        self._order_of_parts = np.concatenate([np.flatnonzero(flat), np.flatnonzero(~flat)])
        passed_size = int(flat.sum())
        self._part_sizes = passed_size, mask.size - passed_size

    def shapes(self, event_shape: Any) -> tuple:
        if tuple(event_shape) != self.mask.shape:
            raise ValueError(
                f"`mask` must fit {event_shape}. Received: mask of shape {self.mask.shape}"
            )
        return tuple((size,) for size in self._part_sizes)

    def split(self, x: tf.Tensor) -> tuple:
        rank = self.mask.ndim
        if not x.shape[-rank:].is_compatible_with(self.mask.shape):
            raise ValueError(f"`x` must end in {self.mask.shape}. Received shape: {x.shape}")
        flat = reshape_event(x, rank, [self.mask.size])
        return tuple(tf.split(permute(flat, self._order_of_parts), self._part_sizes, axis=-1))

    def merge(self, passed: tf.Tensor, moved: tf.Tensor) -> tf.Tensor:
        parts = tf.concat([passed, moved], axis=-1)
        return reshape_event(permute(parts, np.argsort(self._order_of_parts)), 1, self.mask.shape)

    def get_config(self) -> dict:
        return {"mask": self.mask.tolist(), **super().get_config()}
