"""Every warning that tfnvp gives: one function for each piece of advice.

Callers pass plain NumPy arrays, at most a sample of the data, and names. A warning points to
the line of the user's program that called tfnvp.
"""

import inspect
import pathlib
import warnings
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# Rows that are checked for grey levels without noise: the first ones are enough.
_ROWS_FOR_LEVELS = 64
_LEVELS = 256

# Columns that one warning names; images have thousands.
_NAMED = 8

# Means and standard deviations of a network's inputs above which a warning is given.
_FAR = 10.0

_PACKAGE = str(pathlib.Path(__file__).parent)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Gives a warning at the first line outside of tfnvp and Keras that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and _is_internal(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(file: str) -> bool:
    return file.startswith(_PACKAGE) or "/keras/" in file or "/tensorflow/" in file


def _listed(texts: Iterable[str]) -> str:
    first, more = (texts := list(texts))[:_NAMED], len(texts) - _NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


# --- columns of tables --------------------------------------------------------------------------


def warn_of_columns(columns: Mapping[str, np.ndarray]) -> None:
    """Warns of columns without a density: constant, repeated, whole numbers, mostly one value.

    Args:
      columns: mapping of names to arrays of numbers, which may have gaps.
    """
    finite = {name: column[np.isfinite(column)] for name, column in columns.items()}
    constant = [name for name, column in finite.items() if len(column) and np.ptp(column) == 0]
    if constant:
        named = _listed(map(repr, constant))
        warn(f"constant columns: {named}; leave them out: they have no density")
    seen, repeated = {}, []
    for name, column in columns.items():
        first = seen.setdefault(zlib.crc32(np.ascontiguousarray(column)), name)
        same = first != name and np.array_equal(column, columns[first], equal_nan=True)
        if same and name not in constant:
            repeated.append(f"{name!r} repeats {first!r}")
    if repeated:
        warn(f"column {_listed(repeated)}: together they have no density; leave one of each out")
    no_bound = "no density, and their likelihood no bound"
    whole = [n for n, column in finite.items() if n not in constant and _is_whole(column)]
    if whole:
        warn(f"only whole numbers in {_listed(map(repr, whole))}: they have {no_bound}")
    mostly = [n for n, column in finite.items() if n not in constant + whole and _is_atom(column)]
    if mostly:
        named = _listed(map(repr, mostly))
        warn(f"more than half of the values are the same in {named}: they have {no_bound}")


def _is_atom(column: np.ndarray) -> bool:
    """Whether one value makes more than half of a column, which is then its median."""
    middle = len(column) // 2
    return len(column) > 0 and (column == np.partition(column, middle)[middle]).mean() > 0.5


def _is_whole(column: np.ndarray) -> bool:
    # Large numbers are all whole, as floats. Smaller ones have 4 binary digits after the point.
    if column.dtype.kind == "f":
        column = column[np.abs(column) < 2.0 ** (np.finfo(column.dtype).nmant - 4)]
    return len(column) > 0 and not (column % 1).any()


# --- grey levels --------------------------------------------------------------------------------


def warn_of_levels(x: np.ndarray, levels: int | None = None, name: str = "x") -> None:
    """Warns of floats that are grey levels without the noise that gives them a density.

    Args:
      x: float array of data.
      levels: number of grey levels of the flow, or None; whole numbers are then left to
        `warn_of_columns`.
      name: what the warning calls the data.
    """
    x, count = x[:_ROWS_FOR_LEVELS], levels or _LEVELS
    # A single value proves nothing, nor do numbers so large that floats are multiples of a level.
    if not x.size or not np.ptp(x) or np.spacing(np.abs(x).max()) * count > 0.1:
        return
    steps = next((steps for steps in (count - 1, count) if _are_multiples(x, steps)), None)
    if steps is None or (levels is None and _are_multiples(x, 1)):
        return
    multiples = f"multiples of 1/{steps}"
    if steps == 1:
        multiples = "0 and 1" if x.min() >= 0 and x.max() <= 1 else "whole numbers"
    warn(
        f"`{name}` holds only {multiples}: grey levels have no density, and their likelihood can "
        f"grow without bound. `tfnvp.data.dequantize(pixels, {count})` makes whole levels real"
    )


def warn_of_few_levels(x: np.ndarray, levels: int | None) -> None:
    """Warns of data of only the grey levels 0 and 1, where the flow has more levels."""
    if levels is not None and levels > 2 and x.size and x.max() == 1:
        warn(f"`x` holds only 0 and 1 of {levels} grey levels: images of two values need levels=2")


def warn_of_bools(levels: int) -> None:
    """Warns of bools that count as the two darkest of many grey levels."""
    warn(f"`pixels` are bools, which are nearly black among {levels} levels: give levels=2")


def warn_of_negative_bits(logs: Mapping[str, float], levels: int) -> None:
    """Warns of bits per dimension below 0, which dequantized data cannot have."""
    for name in ("bits_per_dim", "val_bits_per_dim"):
        if logs.get(name, 0.0) < 0:
            warn(
                f"{name} = {logs[name]:.3f} is impossible: the data has no noise, or fewer than "
                f"{levels} levels. `tfnvp.data.dequantize(pixels, levels)` adds the noise"
            )


def _are_multiples(x: np.ndarray, steps: int) -> bool:
    # One row is nearly always enough, and every call of a flow with levels runs this.
    scaled = (rows * steps for rows in (x[:1], x))
    return all((np.abs(whole - np.rint(whole)) <= 1e-3).all() for whole in scaled)


# --- data and conditions of a flow --------------------------------------------------------------


def warn_of_unsupported_rows(fault: str) -> None:
    """Warns of rows with density 0, since they lie outside of the flow's support."""
    warn(f"{fault}. The log-density of such rows is -inf, and their latents are NaN")


def warn_of_labels(condition: np.ndarray) -> None:
    """Warns of integer conditions with values above 1, which may be labels."""
    if condition.dtype.kind in "iu" and condition.max(initial=0) > 1:
        warn(
            "`condition` holds whole numbers. Give labels as one-hot vectors, by "
            "`keras.utils.to_categorical`; amounts as floats, by `condition.astype('float32')`"
        )


def warn_of_condition_scale(condition: np.ndarray, is_standardized: bool) -> None:
    """Warns of conditions far from 1, from which networks learn slowly or not at all."""
    if not (rows := len(condition)):
        return
    values = condition.reshape(rows, -1).astype("float64")
    with np.errstate(invalid="ignore"):
        center, spread = values.mean(axis=0), values.std(axis=0)
    # Means and deviations of few rows may be larger by chance.
    limit = _FAR * (1 + 3 / rows**0.5)
    far = np.flatnonzero(np.maximum(np.abs(center), spread) > limit)
    cure = "The flow standardises them once `fit` or `flow.adapt(x, condition)` has seen some"
    if not is_standardized:
        cure = (
            "Make the flow with `standardize_condition=True`, or its couplings with "
            "`tfnvp.conditioners.StandardizedCondition` around their networks"
        )
    if len(far):
        warn(
            "`condition` holds values far from 1, from which networks learn slowly: variable "
            f"{far[0]} has the mean {center[far[0]]:.4g}, deviation {spread[far[0]]:.4g}. {cure}"
        )


def warn_of_condition_range(condition: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Warns of conditions outside of the training range by more than the width of that range.

    Args:
      condition: `[n, ..., channels]`.
      low: `[channels]`, the smallest values in training.
      high: `[channels]`, the largest.
    """
    values = condition.reshape(-1, len(low))
    width = high - low
    far = (values < low - width) | (values > high + width)
    if far.any():
        row, i = np.argwhere(far)[0]
        warn(
            f"`condition` is far outside of the training range: variable {i} is "
            f"{values[row, i]:.8g} ({far[:, i].sum()} such values), and was from {low[i]:.8g} to "
            f"{high[i]:.8g}. Give conditions in the units of training; the flow standardises them"
        )


def warn_of_constant_condition(low: np.ndarray, high: np.ndarray, rows: int) -> None:
    """Warns of entries of a condition that are the same in all rows that initialise a flow."""
    if len(constant := np.flatnonzero(low == high)):
        others = f" (and {len(constant) - 1} more)" * (len(constant) > 1)
        warn(
            f"`condition` is constant: variable {constant[0]}{others} is {low[constant[0]]:.8g} in "
            f"all {rows} rows that initialise the flow: leave it out, or shuffle a sorted data set"
        )


def warn_of_merged_values(name: str, before: int, after: int, cure: str) -> None:
    """Warns of a variable whose distinct values become equal where the flow standardises them."""
    warn(
        f"{name} loses its differences in float32: {before} distinct values become {after} once "
        "the flow has standardised them, since a few extreme ones set its scale. Leave these out, "
        f"take logarithms, or make the flow with `{cure}`"
    )


def warn_of_adapting_a_trained_flow() -> None:
    """Warns of `adapt` after training, which changes what the networks were trained for."""
    warn("`adapt` of a trained flow changes what its networks were trained for: train it again")


def warn_of_extreme_rows(count: int, rows: int) -> None:
    """Warns of rows that normalisations, scalings and whitenings are not initialised from."""
    warn(
        f"{count} of the {rows} rows that initialise the flow have values more than a thousand "
        "times further from the median than nearly all others, and are left out of the "
        "initialisation: check them, or take logarithms"
    )


def warn_of_round_trip(worst: float) -> None:
    """Warns if `decode(encode(x))` is far from `x`, by `worst` standard deviations."""
    if worst > 1e-2:
        warn(
            "the flow does not invert in float32: decode(encode(x)) is off by up to "
            f"{worst:.2g} standard deviations. Its densities are inexact there, too: lower the "
            "learning rate, or use fewer couplings"
        )


# --- training -----------------------------------------------------------------------------------


def warn_of_roll_back(what: str, cause: str, factor: float, count: int, most: int) -> None:
    """Warns that training went back to earlier weights, with a lower learning rate."""
    back = f"Back to the weights of the beginning of the epoch, learning rate times {factor}"
    warn(f"{what}. {cause}. {back} ({count} of at most {most} times)", RuntimeWarning)


def warn_of_renamed(old: str, new: str) -> None:
    """Warns of an old name that the next minor version removes."""
    warn(f"`{old}` is now called `{new}`", DeprecationWarning)


# --- files of data ------------------------------------------------------------------------------


def warn_of_skipped(count: int, total: int, what: str, first: Any = None) -> None:
    """Warns of data points that a reader left out."""
    first = "" if first is None else f", the first is {first}"
    warn(f"{count} of {total} {what} are left out because they are damaged{first}")


def warn_of_missing_header(file: Any, names: Iterable[str]) -> None:
    """Warns of a `.csv` whose first line holds numbers instead of names."""
    warn(f"{file} seems to have no header: its first row names the columns: {', '.join(names)}")


def warn_of_grey_images(grey: int, total: int, folder: Any) -> None:
    """Warns of grey images among colour images."""
    warn(f"{grey} of {total} images in {folder} are grey, and become colour images")


def warn_of_black_and_white(folder: Any, levels: int) -> None:
    """Warns of black and white images that are read as images of many grey levels."""
    warn(f"the images in {folder} are only black and white, among {levels} levels: give `levels=2`")


def warn_of_lost_records(folder: Any, lost: Mapping[str, int]) -> None:
    """Warns of broken records that are left out."""
    each = ", ".join(f"{rows} in {file}" for file, rows in lost.items())
    warn(f"{folder}: {sum(lost.values())} broken records left out: {each}")


def warn_of_weights(file: Any, name: str) -> None:
    """Warns of a loaded flow with weights that are NaN or infinite."""
    warn(f"{file} holds NaN or infinite weights, first in {name}: its results are not numbers")


# --- export, evaluation ---------------------------------------------------------------------------


def warn_of_other_shapes(version: Any, changed: Mapping[str, tuple]) -> None:
    """Warns where a `version` has data of other shapes: pairs of before and now, by name."""
    listed = "; ".join(f"{name} {before}, now {now}" for name, (before, now) in changed.items())
    warn(
        f"{version} has other shapes: {listed}. Clients get the new version at once; export "
        "another model to a folder of its own"
    )


def warn_of_unusable_likelihood(log_probs: np.ndarray, bad: np.ndarray) -> None:
    """Warns where log-densities are not finite, and with them their mean."""
    warn(
        f"{len(bad)} of {len(log_probs)} rows have the log-density {log_probs[bad[0]]}, the first "
        f"is row {bad[0] + 1}: their mean is not finite either"
    )


def warn_of_training_rows(share: float, source: Any) -> None:
    """Warns of rows that the model was trained on."""
    warn(f"{share:.0%} of the rows of {source} are training rows: they look too usual")
