"""The rules that data of any flow must satisfy: types, shapes, sizes of numbers."""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from tfnvp.inputs.columns import largest_distances
from tfnvp.precision import LARGEST

# Names a variable by its index, such as `(2,)`.
Namer = Callable[[tuple], str]

# Ranges of nearly all values of a column, beyond which a value is refused.
_TOO_FAR = 1e6

_LABELS = (
    "give labels as one-hot vectors, which `keras.utils.to_categorical` makes from numbers from "
    "0 on, and `pandas.get_dummies` from texts, or to a `condition_network` with an `Embedding`"
)

# What to do about data of other types, by the kinds of NumPy: objects, dates and durations.
_DATES = (
    ": leave dates and durations out, or make them days by `(dates - dates.min()) / "
    "pandas.Timedelta(days=1)`"
)
_OBJECTS = (
    ": choose the columns that do, and convert them by `.astype('float32')`; texts and categories "
    "become numbers by `pandas.get_dummies`, labels of an `Embedding` by `pandas.factorize`"
)
CURES = {"O": _OBJECTS, "M": _DATES, "m": _DATES, "U": _OBJECTS, "T": _OBJECTS}


def check_dtype(dtype: Any, name: str, whole_numbers: bool) -> bool:
    """Returns whether a type is of whole numbers; raises `ValueError` for unusable types."""
    cure = CURES.get(getattr(dtype, "kind", ""), "")
    tensor_type = tf.string if cure else tf.as_dtype(dtype)
    is_whole = tensor_type.is_integer or tensor_type.is_bool
    if not is_whole and not tensor_type.is_floating:
        raise ValueError(f"`{name}` must hold real numbers{cure}. Received dtype: {dtype.name}")
    if is_whole and not whole_numbers:
        raise ValueError(
            f"`{name}` holds integers, which have no density: dequantize them first, for example "
            f"by `tfnvp.data.dequantize(x, levels)`. Received dtype: {dtype.name}"
        )
    return is_whole


def check_batch_shape(shape: Any, event_shape: tuple, name: str) -> None:
    """Raises `ValueError` unless a shape is `[batch, *event_shape]`, as far as it is known."""
    shape = tf.TensorShape(shape)
    if shape.is_compatible_with([None, *event_shape]):
        return
    hint = f"; {_LABELS}"
    if shape.rank in (0, 1) and event_shape == (1,):
        hint = "; one number for each row is `condition[:, None]`, one for all `[number]`" + hint
    expected = ", ".join(["batch", *map(str, event_shape)])
    received = f"Received shape: {shape}" + hint * name.startswith("condition")
    raise ValueError(f"`{name}` must have the shape [{expected}]. {received}")


def check_count(conditions: int, rows: int | None, name: str, one_for_all: bool = True) -> None:
    """Raises `ValueError` unless there is one condition for each row, or one for all of them."""
    if conditions == rows or (one_for_all and conditions == 1):
        return
    raise ValueError(
        f"`condition` must have one row for each of {name}{', or be one for all' * one_for_all}. "
        f"Received: {conditions} conditions for {rows} rows"
    )


def with_shape(x: tf.Tensor, event_shape: tuple, name: str) -> tf.Tensor:
    """Returns `x`, of shape `[batch, *event_shape]`; a runtime checks what is not known."""
    check_batch_shape(x.shape, event_shape, name)
    known = x.shape.rank is not None and x.shape[1:].is_fully_defined()
    return x if known else tf.ensure_shape(x, (None, *event_shape))


def check_condition_dtype(dtype: Any, name: str, labels: bool) -> None:
    """Raises `ValueError` unless a type is of numbers, and of whole ones where they are labels."""
    if not check_dtype(dtype, name, whole_numbers=True) and labels:
        raise ValueError(
            f"`{name}` holds labels, which the condition network takes as whole numbers: give them "
            f"as `{name}.astype('int32')`. Received dtype: {dtype.name}"
        )


def unknown_label(labels: np.ndarray, name: str, categories: int | None) -> str | None:
    """Describes a label that an embedding does not have, or returns None."""
    if categories is None or not labels.size or (0 <= labels.min() <= labels.max() < categories):
        return None
    return (
        f"`{name}` must hold labels from 0 to {categories - 1}, which the condition network's "
        f"`Embedding({categories}, ...)` has. Received: labels from {labels.min()} to "
        f"{labels.max()}"
    )


def check_weights(sample_weight: Any, rows: int) -> None:
    """Raises `ValueError` unless there is one finite weight of 0 or more for each row."""
    if np.shape(sample_weight) != (rows,):
        shape = f"({rows},). Received: {np.shape(sample_weight)}"
        raise ValueError(f"`sample_weight` must be one weight for each row, of shape {shape}")
    check_dtype(sample_weight.dtype, "sample_weight", whole_numbers=True)
    if fault := unusable_weights(sample_weight):
        raise ValueError(fault)
    check_some_weight(np.any(sample_weight), rows)


def check_some_weight(some: bool, rows: int) -> None:
    """Raises `ValueError` where all weights are 0."""
    if not some:
        raise ValueError(f"`sample_weight` must not be 0 for all rows. Received: {rows} zeros")


def unusable_weights(sample_weight: Any) -> str | None:
    """Describes weights that are not finite, or negative, or returns None."""
    weights = np.ravel([] if sample_weight is None else sample_weight)
    bad = weights[~((weights >= 0) & (weights < np.inf))]
    if not len(bad):
        return None
    return (
        f"`sample_weight` must be finite and 0 or more. Received: {len(bad)} others, the first is "
        f"{bad[0]}"
    )


def not_finite(values: np.ndarray, name: str, variable: Namer | None = None) -> str | None:
    """Describes the first value that is NaN or infinite, or returns None."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return None
    bad = np.argwhere(~np.isfinite(values))
    first = f"{_place(name, tuple(bad[0]), variable)}: {values[tuple(bad[0])]}"
    return (
        f"`{name}` must be finite. Received: {len(bad)} values that are not, the first is {first}"
    )


def _place(name, index, variable):
    """Returns what messages call a value of rows."""
    of_column = f" of {variable(index[1:])}" if variable else ""
    return f"{name}[{', '.join(map(str, index))}]{of_column}"


def out_of_range(
    values: np.ndarray,
    name: str,
    support: tuple | None = None,
    whole_numbers: bool = False,
    variable: Namer | None = None,
) -> str | None:
    """Describes values that are not finite, or not in the support of a flow, or returns None.

    Without a support, squares of the values must not overflow float32. `whole_numbers` says
    whether the flow takes grey levels, too; `variable` names columns by their indices.
    """
    if values.dtype.kind != "f" or not values.size:
        return None
    low, high = values.min(), values.max()  # NaN if any value is.
    smallest, largest = support or (-LARGEST, LARGEST)
    if low >= smallest and high <= largest:
        return None
    fault = not_finite(values, name, variable)
    if fault is None and support is None:
        index = np.unravel_index(np.abs(values).argmax(), values.shape)
        fault = (
            f"`{name}` reaches {max(-low, high):.3g}, whose square overflows float32: scale it "
            f"first. Received: {values[index]:.3g} in {_place(name, index, variable)}"
        )
    if fault is None:
        levels = "; grey levels go in as whole numbers" * whole_numbers
        fault = (
            f"`{name}` must hold floats in [0, 1], which the flow's logit accepts{levels}. "
            f"Received: values from {low:.4g} to {high:.4g}"
        )
    return fault


def extreme(values: np.ndarray, name: str, variable: Namer | None = None) -> str | None:
    """Describes a value that is too far from the rest of its column to train on, or returns None.

    Its gradient would be larger than all others by so much that optimizers hardly move afterwards.
    """
    if values.dtype.kind != "f" or not values.size:
        return None
    columns = values.reshape(len(values), -1)
    far, median, ranges = largest_distances(columns)
    worst = far.argmax()
    if far[worst] < _TOO_FAR:
        return None
    row = np.abs(columns[:, worst] - median[worst]).argmax()
    place = _place(name, (row, *np.unravel_index(worst, values.shape[1:])), variable)
    return (
        f"`{name}` must not have values that are a million times further from the median than "
        f"nearly all others. Received: {place} = {columns[row, worst]:.3g}, where 98 % of "
        f"the column spans {ranges[worst]:.3g}: leave the row out, or take logarithms"
    )


def split_dictionary(x: dict, condition: Any, name: str) -> tuple:
    """Returns data and condition of a dictionary of inputs."""
    unknown = set(x) - {"x", "condition"}
    if "x" not in x or unknown:
        raise ValueError(
            f'`{name}` must be an array, or a dictionary with the keys "x" and "condition"; '
            "columns become an array by `numpy.column_stack(list(columns.values()))`. Received: a "
            f"dictionary with the keys {', '.join(map(repr, list(x)[:8]))}"
        )
    if condition is not None and "condition" in x:
        refuse_twice(name)
    return x["x"], x.get("condition", condition)


def check_unused(shape: Any) -> None:
    """Raises `ValueError` for a second part of batches of a flow without condition.

    Args:
      shape: shape of the second part; with a last axis of 0 it stands for no part.
    """
    shape = tf.TensorShape(shape)
    if shape.rank and shape[-1] == 0:
        return
    raise ValueError(
        "the flow has no condition_shape, and does not use the second element of the data. "
        "Call `fit(x)`, with `validation_data=x` alone, map a data set to its first "
        "element, or make the flow conditional. Weights are the third element: "
        "`dataset.map(lambda x, weights: (x, None, weights))`. Received: a second element of "
        f"shape {shape}"
    )


def refuse_twice(name: str) -> NoReturn:
    """Raises `ValueError` for a condition beside a dictionary of data and condition."""
    raise ValueError(f"the condition is given twice, in `{name}` and beside it")


def refuse_parts(x: Any, event_rank: int, name: str) -> None:
    """Raises `ValueError` for a tuple or list of data and conditions."""
    if isinstance(x, (list, tuple)) and any(np.ndim(part) > event_rank for part in x):
        raise ValueError(
            f'`{name}` must be one array; with conditions, a dictionary {{"x": ..., '
            f'"condition": ...}}. Received: a {type(x).__name__} of {len(x)} arrays'
        )


def refuse_labels(condition: Any, rows: int | None, condition_shape: tuple) -> None:
    """Raises `ValueError` for one label per row, which could be mistaken for one condition."""
    if tf.is_tensor(condition) or np.shape(condition) != condition_shape or rows == 1:
        return
    labels = np.asarray(condition)
    if labels.shape == (rows,) and labels.dtype.kind in "iu" and labels.sum() != 1:
        raise ValueError(
            f"`condition` holds {rows} whole numbers, one for each row: {_LABELS}, and one "
            f"condition for all rows as floats. Received: {labels}"
        )
