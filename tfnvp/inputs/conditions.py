"""The rules of conditions: one array for each data point or one for all, or several such arrays."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfnvp.conditioners.parts import name_of, packed, parts_of
from tfnvp.inputs import rules
from tfnvp.inputs.conversion import to_array
from tfnvp.inputs.support import all_of_row, like_rows
from tfnvp.precision import LARGEST

#: Where a condition goes in Keras' methods.
WHERE = (
    ". In `fit` and `evaluate` it is the second argument, or the second part of each batch; "
    'for `predict` it goes with the data, {"x": x, "condition": condition}'
)


class ConditionInput(NamedTuple):
    """One array of a condition.

    Attributes:
      key: its name or number among several arrays; None for the only one.
      shape: shape of one condition.
      dtype: "float32", or a type of whole numbers, which are labels.
      categories: the number of labels, from 0 on, or None where that is not known.
    """

    key: Any
    shape: tuple[int, ...]
    dtype: str = "float32"
    categories: int | None = None

    @property
    def name(self) -> str:
        """What messages call the array."""
        return name_of("condition", self.key)

    @property
    def takes_labels(self) -> bool:
        """Whether the array holds whole numbers, which must stay what they are."""
        return self.dtype != "float32"

    def has_rows(self, ndim: int) -> bool:
        """Whether an array of so many axes has a batch axis; a vector of labels has."""
        return ndim > len(self.shape) or (self._takes_vectors and ndim == 1)

    @property
    def _takes_vectors(self):
        return self.takes_labels and self.shape == (1,)

    def to_rows(self, condition: Any, rows: int | None) -> tf.Tensor:
        """Returns a checked tensor with a batch axis, of one row where it is for all rows."""
        if not self.takes_labels:
            rules.refuse_labels(condition, rows, self.shape)
        condition = to_array(condition, self.name)
        rules.check_condition_dtype(condition.dtype, self.name, self.takes_labels)
        condition = tf.cast(condition, self.dtype)
        if self._takes_vectors and condition.shape.rank in (None, 0, 1):
            condition = tf.reshape(condition, (-1, 1))
        elif condition.shape.rank == len(self.shape) and condition.shape.is_compatible_with(
            self.shape
        ):
            condition = condition[tf.newaxis]
        condition = rules.with_shape(condition, self.shape, self.name)
        if tf.executing_eagerly() and (fault := self.find_fault(condition.numpy())):
            raise ValueError(fault)
        return condition

    def check(self, condition: Any, rows: int, name: str, finite: bool) -> np.ndarray:
        """Returns the conditions of `rows` data points, called `name`, as an array."""
        condition = np.asarray(to_array(condition, self.name))
        if condition.ndim:
            rules.check_count(len(condition), rows, f"`{name}`", one_for_all=False)
        if self._takes_vectors and condition.ndim == 1:
            condition = condition[:, np.newaxis]
        rules.check_batch_shape(condition.shape, self.shape, self.name)
        rules.check_condition_dtype(condition.dtype, self.name, self.takes_labels)
        if (finite or self.takes_labels) and (fault := self.find_fault(condition)):
            raise ValueError(fault)
        return condition

    def find_fault(self, values: np.ndarray) -> str | None:
        """Describes the first value that no network can use, or returns None."""
        if self.takes_labels:
            return rules.unknown_label(values, self.name, self.categories)
        return rules.not_finite(values, self.name)

    def take(self, condition: Any, chosen: Any, rows: int) -> Any:
        """Returns the conditions of some of the rows, or the one that is for all."""
        if not self.has_rows(np.ndim(condition)) or len(condition) == 1:
            return condition
        rules.check_count(len(condition), rows, "`x`")
        if isinstance(chosen, slice):
            return condition[chosen]
        return np.asarray(to_array(condition, self.name))[chosen]


@dataclasses.dataclass(frozen=True)
class ConditionSpec:
    """The conditions that a flow accepts, one array or several.

    Args:
      inputs: the arrays. Several are given as a dictionary by their keys, or as a tuple in this
        order.

    >>> inputs = ConditionInput("angle", (2,)), ConditionInput("label", (1,), "int32")
    >>> spec = ConditionSpec(inputs)
    >>> {key: part.shape.as_list() for key, part in spec.prepare(([[0.5, 0.5]], 3), None).items()}
    {'angle': [1, 2], 'label': [1, 1]}
    """

    inputs: tuple[ConditionInput, ...]

    @classmethod
    def of_shape(cls, shape: Any) -> "ConditionSpec":
        """Returns the specification of floats of a shape, or of a structure of shapes."""
        return cls(tuple(ConditionInput(key, tuple(s)) for key, s in parts_of(shape).items()))

    @property
    def shape(self) -> Any:
        """The shape of one condition, or of each array by its key."""
        return packed({part.key: part.shape for part in self.inputs})

    def parts(self, condition: Any) -> list:
        """Returns pairs of `ConditionInput` and array.

        Raises:
          ValueError: for a dictionary or tuple of other parts.
        """
        if len(self.inputs) == 1 and self.inputs[0].key is None:
            return [(self.inputs[0], condition)]
        keys, given = [part.key for part in self.inputs], condition
        if isinstance(condition, (tuple, list)) and len(condition) == len(keys):
            given = dict(zip(keys, condition, strict=True))
        if not isinstance(given, dict) or set(given) != set(keys):
            received = list(given) if isinstance(given, dict) else f"a {type(condition).__name__}"
            raise ValueError(
                f"`condition` must be a dictionary with the keys {', '.join(map(repr, keys))}, or "
                f"a tuple of {len(keys)} arrays in this order. Received: {received}"
            )
        return [(part, given[part.key]) for part in self.inputs]

    def map(self, function: Callable, condition: Any) -> Any:
        """Returns the condition with `function(input, array)` for each of its arrays."""
        return packed({part.key: function(part, array) for part, array in self.parts(condition)})

    def floats(self, condition: Any) -> list:
        """Returns the pairs of `parts` whose arrays hold no labels."""
        return [(part, array) for part, array in self.parts(condition) if not part.takes_labels]

    def prepare(self, condition: Any, rows: int | None, name: str = "x") -> Any:
        """Returns checked tensors, all with one row for each data point, or all with one row.

        Args:
          condition: as for `flow.log_prob`.
          rows: the number of data points, or None where it is not known.
          name: what messages call the data.
        """
        parts = {part.key: part.to_rows(array, rows) for part, array in self.parts(condition)}
        counts = [tensor.shape[0] for tensor in parts.values()]
        for count in counts:
            if None not in (count, rows):
                rules.check_count(count, rows, f"`{name}`")
        alike = len(counts) == 1 or (len(set(counts)) == 1 and None not in counts)
        return packed(parts if alike else _of_equal_rows(parts))

    def check(self, condition: Any, rows: int, name: str, finite: bool) -> Any:
        """Returns arrays with one row for each of `rows` data points, as Keras' methods take them.

        Raises:
          ValueError: for other arrays; if `finite`, also where a number is not finite.
        """
        return self.map(lambda part, array: part.check(array, rows, name, finite), condition)

    def take(self, condition: Any, chosen: Any, rows: int) -> Any:
        """Returns the conditions of some of the rows: `chosen` is a slice, or bool `[rows]`."""
        return self.map(lambda part, array: part.take(array, chosen, rows), condition)

    def find_unusable(self, condition: Any) -> str | None:
        """Describes a value that the flow cannot train on, or returns None."""
        for part, array in self.parts(condition):
            array = np.asarray(array)
            if fault := part.find_fault(array) or rules.out_of_range(array, part.name):
                return fault
        return None

    def usable_rows(self, condition: Any, largest: float = LARGEST) -> tf.Tensor:
        """Whether no number of a row is NaN or above `largest`, and its labels are known: bool."""
        good = tf.constant(True)
        for part, array in self.parts(condition):
            if not part.takes_labels:
                good &= all_of_row(tf.abs(array) <= largest)  # False for NaN.
            elif part.categories is not None:
                good &= all_of_row((array >= 0) & (array < part.categories))
        return good

    def masked(self, condition: Any, good: tf.Tensor) -> Any:
        """Returns the condition with harmless numbers in the rows that are not good."""

        def harmless(part, array):
            value = tf.cast(0.0 if part.takes_labels else 0.5, array.dtype)
            return tf.where(like_rows(good, array), array, value)

        return self.map(harmless, condition)


def check_presence(condition: Any, conditions: ConditionSpec | None, where: str = "") -> None:
    """Raises `ValueError` unless there is a condition exactly where the flow takes one."""
    if condition is None and conditions is not None:
        missing = f"the flow has condition_shape={conditions.shape}{where}"
        raise ValueError(f"`condition` is missing: {missing}")
    if condition is not None and conditions is None:
        kind = type(condition).__name__
        shape = kind if isinstance(condition, dict) else f"an array of shape {np.shape(condition)}"
        raise ValueError(
            "`condition` is given, and the flow has no condition_shape. Received: "
            f"condition={shape}"
        )


def repeated(condition: Any, x: tf.Tensor) -> Any:
    """Returns one condition for all rows of `x` as often as it has rows, others as they are."""
    if condition.shape[0] != 1 or x.shape[0] == 1:
        return condition
    return tf.repeat(condition, tf.shape(x)[0], axis=0)


def _of_equal_rows(parts):
    """Repeats arrays of one row beside others that have more."""
    first, *others = (tf.shape(array)[0] for array in parts.values())
    for count in others:
        first = tf.where(first == 1, count, first)
    return {k: tf.broadcast_to(v, [first, *v.shape[1:]]) for k, v in parts.items()}
