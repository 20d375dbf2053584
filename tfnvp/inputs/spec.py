"""`DataSpec`: what a flow accepts as data, checked in one place."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfnvp import advice
from tfnvp.inputs import conversion, rules
from tfnvp.inputs.columns import advise_on_variables, column_namer, spread_sample
from tfnvp.inputs.conditions import WHERE, ConditionSpec, check_presence, repeated
from tfnvp.inputs.support import DataSide, all_of_row, like_rows
from tfnvp.precision import LARGEST, check_precision
from tfnvp.quantization import check_levels, dequantize


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """Describes the data and conditions that a flow accepts; every check of them is a method.

    Args:
      event_shape: shape of one data point.
      levels: number of grey levels of quantized data, or None.
      whole_numbers: whether whole grey levels are accepted, and dequantized with fresh noise.
      support: smallest and largest value of data, or None for all that float32 holds.
      name: what messages call the data.
      data_side: `DataSide`, the bijectors that data must be in the support of, or None.
      conditions: `ConditionSpec`, or None for flows without conditions.

    >>> DataSpec((2,)).find_fault(np.array([[0.5, float("nan")]]))
    '`x` must be finite. Received: 1 values that are not, the first is x[0, 1]: nan'
    """

    event_shape: tuple[int, ...]
    levels: int | None = None
    whole_numbers: bool = False
    support: tuple[float, float] | None = None
    name: str = "x"
    data_side: DataSide | None = None
    conditions: ConditionSpec | None = None

    def named(self, name: str) -> "DataSpec":
        """Returns the same specification for data that messages call `name`."""
        return dataclasses.replace(self, name=name)

    # --- Calls of a flow ----------------------------------------------------------------------

    def prepare(self, x: Any, condition: Any = None, embed: Callable | None = None) -> tuple:
        """Returns data and conditions as float32 tensors with one row each.

        Args:
          x: `[batch, *event_shape]`: array, table, list or tensor, also in graphs.
          condition: `[batch, *condition_shape]`, or one for all, `[*condition_shape]` or
            `[1, *condition_shape]`; a dictionary or tuple of such arrays where the flow takes
            several; None for flows without.
          embed: function of the checked conditions, whose result is returned instead of them.
            Where one condition is for all rows, it gets that one.

        Raises:
          ValueError: for other shapes, types, or conditions that are not finite.
        """
        x = rules.with_shape(self.to_floats(x), self.event_shape, self.name)
        if condition is None:
            check_presence(None, self.conditions)
            return x, None
        condition = self.prepare_condition(condition, x.shape[0])
        condition = condition if embed is None else embed(condition)
        return x, tf.nest.map_structure(lambda part: repeated(part, x), condition)

    def prepare_condition(self, condition: Any, rows: int | None = None) -> Any:
        """Returns checked conditions as tensors, `[1, ...]` where one is for all rows."""
        check_presence(condition, self.conditions)
        if condition is None:
            raise ValueError("`condition` must be given, to a flow that takes one. Received: None")
        return self.conditions.prepare(condition, rows, self.name)

    def conditions_of(self, chosen: Any, rows: int, condition: Any = None) -> Any:
        """Returns the conditions of some of `rows` data points, or the one that is for all.

        Args:
          chosen: slice, bool array `[rows]`, or indices.
          rows: int.
          condition: as for `prepare`.
        """
        if condition is None or self.conditions is None:  # A flow without condition refuses it.
            return condition
        return self.conditions.take(condition, chosen, rows)

    def rows_of_each(self, x: Any, condition: tf.Tensor) -> tuple:
        """Returns data `[C, n, *event_shape]` of `C` conditions as rows of float32, and `n`."""
        x = conversion.to_array(x, self.name)
        count = condition.shape[0]
        if not tf.TensorShape(x.shape).is_compatible_with([count, None, *self.event_shape]):
            event = "".join(f", {size}" for size in self.event_shape)
            raise ValueError(
                f"`{self.name}` must have the shape [{count}, n{event}] with `per_condition=True` "
                f"and {count} conditions. Received shape: {x.shape}"
            )
        return self.to_floats(tf.reshape(x, (-1, *self.event_shape))), tf.shape(x)[1]

    def to_floats(self, x: Any, seed: Any = None) -> tf.Tensor:
        """Returns data as float32; whole grey levels, where accepted, get the noise of a seed."""
        x = conversion.to_numbers(x, self.name)
        if rules.check_dtype(x.dtype, self.name, self.whole_numbers):
            return dequantize(x, self.levels, seed)
        return tf.cast(x, tf.float32)

    # --- Batches of Keras' methods, in graphs ---------------------------------------------------

    def unpack(self, x: Any, condition: Any = None) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns what `prepare` does, of a Keras input: an array, or a dictionary with both."""
        if isinstance(x, dict):
            x, condition = rules.split_dictionary(x, condition, self.name)
        rules.refuse_parts(x, len(self.event_shape), self.name)
        return self.prepare(x, condition)

    def unpack_batch(self, data: Any) -> tuple:
        """Moves Keras' "targets" to where a conditional flow expects its condition.

        Returns:
          `(inputs, None, sample_weight)`.
        """
        if not isinstance(data, tuple):
            return (data,)
        x, y, sample_weight = (*data, None, None)[:3]
        # In eager mode Keras hands on arrays.
        if y is None or (hasattr(y, "shape") and tf.TensorShape(y.shape)[-1:] == (0,)):
            return x, None, sample_weight
        if isinstance(x, dict):
            rules.refuse_twice(self.name)
        if self.conditions is None:
            rules.check_unused(tf.nest.flatten(y)[0].shape)
        return {"x": x, "condition": y}, None, sample_weight

    def mask_unsupported_rows(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Masks rows that are not finite or outside of the support, where the density is 0 or NaN.

        Args:
          x: `[batch, *event_shape]`.

        Returns:
          `(x, inside)`: data with harmless numbers in these rows, so that gradients of the others
          are right, and bool `[batch]`.
        """
        good = tf.math.is_finite(x)
        if self.support:
            good &= (x >= self.support[0]) & (x <= self.support[1])
        harmless = 0.5  # It lies inside of every support that is an interval.
        if self.data_side:
            good &= self.data_side.accepts(x)
            harmless = self.data_side.inner_point()
        inside = all_of_row(good)
        return tf.where(like_rows(inside, x), x, harmless), inside

    def mask_unusable_rows(self, x: tf.Tensor, condition: tf.Tensor | None) -> tuple:
        """Masks rows that cannot be trained on: unsupported ones, or too large for float32.

        Args:
          x: `[batch, *event_shape]`.
          condition: of `unpack`, or None.

        Returns:
          `(x, condition, usable)`: both with harmless numbers in unusable rows, and bool `[batch]`.
        """
        usable = all_of_row(tf.abs(x) <= LARGEST)  # False for NaN.
        if condition is not None:
            usable &= self.conditions.usable_rows(condition)
        nan = tf.constant(float("nan"), x.dtype)
        x, inside = self.mask_unsupported_rows(tf.where(like_rows(usable, x), x, nan))
        if condition is not None:
            condition = self.conditions.masked(condition, inside)
        return x, condition, inside

    # --- Data of Keras' methods, before the first batch ----------------------------------------

    def check(
        self, x: Any, condition: Any = None, sample_weight: Any = None, training: bool = False
    ) -> tuple:
        """Checks data as Keras' methods take it, before anything is changed.

        Args:
          x: array, table, list of numbers, dictionary, `tf.data.Dataset` or other data of Keras.
          condition: the same for conditions, or None.
          sample_weight: `[batch]`, or None.
          training: whether rows must be finite and inside of the support.

        Returns:
          `(x, condition, sample_weight)`, tables and lists as arrays.

        Raises:
          ValueError: for data that the flow cannot use, as far as it can be seen beforehand.
        """
        if x is None:
            raise ValueError(f"`{self.name}` is missing: an array, a tf.data.Dataset or the like")
        if isinstance(x, tf.data.Dataset):
            if int(x.cardinality()) == 0:
                raise ValueError(f"`{self.name}` must not be empty. Received: {x}")
            self.check_dataset(x.element_spec)
            return x, condition, sample_weight
        variable = column_namer(names) if (names := conversion.column_names(x)) else None
        rows, conditions = x, condition
        if isinstance(x, dict):
            rows, conditions = rules.split_dictionary(x, condition, self.name)
        rules.refuse_parts(rows, len(self.event_shape), self.name)
        if conversion.is_stream(rows):
            return conversion.with_arrays(x), condition, sample_weight
        rows = np.asarray(conversion.to_array(rows, self.name))
        self._check_rows(rows, training, variable)
        if conditions is None:
            check_presence(None, self.conditions, WHERE)
        elif self.conditions is None:  # It may stand for no condition, see `unpack_batch`.
            conditions = np.asarray(conversion.to_array(conditions, "condition"))
            rules.check_count(len(conditions), len(rows), f"`{self.name}`", one_for_all=False)
        else:
            conditions = self.conditions.check(conditions, len(rows), self.name, training)
        if sample_weight is not None:
            sample_weight = np.asarray(conversion.to_array(sample_weight, "sample_weight"))
            rules.check_weights(sample_weight, len(rows))
        if not isinstance(x, dict):
            return rows, conditions, sample_weight
        parts = {"x": rows, "condition": conditions}
        in_x = "condition" in x
        return {key: parts[key] for key in x}, None if in_x else conditions, sample_weight

    def check_dataset(self, element_spec: Any) -> None:
        """Raises `ValueError` for a data set whose elements the flow cannot use."""
        parts = element_spec if isinstance(element_spec, (tuple, list)) else [element_spec]
        first, *others = parts
        if isinstance(first, dict):
            first, _ = rules.split_dictionary(first, None, self.name)
        conversion.kind_of(first, self.name)
        if not isinstance(first, tf.TensorSpec):
            return
        rules.check_dtype(first.dtype, self.name, self.whole_numbers)
        if tuple(first.shape.dims or ()) == self.event_shape:
            shape = f"Received: tensors of shape {first.shape}"
            raise ValueError(f"`{self.name}` must come in batches: `dataset.batch(rows)`. {shape}")
        rules.check_batch_shape(first.shape, self.event_shape, self.name)
        if not others and not isinstance(parts[0], dict):
            check_presence(None, self.conditions, WHERE)
        if self.conditions is None and isinstance(next(iter(others), None), tf.TensorSpec):
            rules.check_unused(others[0].shape)

    def _check_rows(self, rows: np.ndarray, training: bool, variable: Any) -> None:
        rules.check_dtype(rows.dtype, self.name, self.whole_numbers)
        rules.check_batch_shape(rows.shape, self.event_shape, self.name)
        if len(rows) == 0:
            raise ValueError(f"`{self.name}` must not be empty. Received shape: {rows.shape}")
        is_checked = training or rows.dtype.kind in "iub"
        if is_checked and (fault := self.find_fault(rows, variable=variable)):
            raise ValueError(fault)
        if training and self.name == "x":
            # The check needs many rows: a few may be close to each other.
            name = variable or column_namer(None)
            check_precision(spread_sample(rows), name, f"`{self.name}`")

    # --- What is wrong with a batch -------------------------------------------------------------

    def find_fault(
        self, x: Any, condition: Any = None, sample_weight: Any = None, variable: Any = None
    ) -> str | None:
        """Describes the first value of a batch that the flow cannot train on, or returns None.

        Args:
          x: `[batch, *event_shape]`, array or tensor with a value.
          condition: `[batch, *condition_shape]`, or None.
          sample_weight: `[batch]`, or None.
          variable: function from the index of a variable to what messages call it.
        """
        x = np.asarray(x)
        if x.dtype.kind in "iub":
            try:
                return check_levels(x, self.levels, self.name)
            except ValueError as error:
                return str(error)
        fault = self.find_unsupported(x, variable)
        free = self.data_side.unbounded(x) if self.data_side else x
        fault = fault or (None if self.support else rules.extreme(free, self.name, variable))
        if condition is not None:
            fault = fault or self.conditions.find_unusable(condition)
        return fault or rules.unusable_weights(sample_weight)

    def find_unsupported(self, x: np.ndarray, variable: Any = None) -> str | None:
        """Describes a value that is not finite or outside of the support, or returns None."""
        how = self.support, self.whole_numbers, variable
        fault, side = rules.out_of_range(x, self.name, *how), self.data_side
        if fault is None and side:
            fault = side.find_outside(x, self.name, variable, with_cures=True)
        return fault

    # --- Advice ---------------------------------------------------------------------------------

    def advise_on_training_rows(self, x: np.ndarray, names: list[str] | None = None) -> None:
        """Warns of training rows `[n, *event_shape]` that have no density."""
        if x.dtype.kind != "f":
            advice.warn_of_few_levels(x, self.levels)
            return
        advice.warn_of_levels(x, self.levels, self.name)
        if self.levels is None:
            advise_on_variables(x, self.name, names)

    def advise_on_rows(self, x: Any, names: list[str] | None = None) -> None:
        """Warns of rows that are scored outside of the support, or without dequantization noise."""
        if self.support is None and self.levels is None and not self.data_side:
            return
        x = np.asarray(x)
        fault = None
        if self.support is not None:
            values = x[np.isfinite(x)]
            fault = rules.out_of_range(values, self.name, self.support, self.whole_numbers)
        elif self.data_side:
            fault = self.data_side.find_outside(x, self.name, column_namer(names))
        if fault:
            advice.warn_of_unsupported_rows(fault)
        elif self.levels is not None and x.dtype.kind == "f":
            advice.warn_of_levels(x, self.levels, self.name)
