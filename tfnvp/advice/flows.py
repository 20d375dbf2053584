"""Advice on what a flow is given, its training, export and evaluation."""

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tfnvp.advice.warning import warn

# Means and standard deviations of a network's inputs above which a warning is given.
_FAR = 10.0

# Share of rows beyond the bound of splines above which a warning is given: a few are outliers.
_BEYOND = 1e-3


_unsupported_rows_are_known = contextvars.ContextVar("unsupported_rows_are_known", default=False)


def warn_of_unsupported_rows(fault: str) -> None:
    """Warns of rows with density 0, since they lie outside of the flow's support."""
    if _unsupported_rows_are_known.get():
        return
    text = f"{fault}. The log-density of such rows is -inf, and their latents are NaN"
    warn(text)


@contextlib.contextmanager
def unsupported_rows_known() -> Iterator[None]:
    """Gives no warning of rows with density 0: there was one that knows their names."""
    token = _unsupported_rows_are_known.set(True)
    try:
        yield
    finally:
        _unsupported_rows_are_known.reset(token)


def warn_of_labels(condition: np.ndarray, name: str) -> None:
    """Warns of integer conditions with values above 1, which may be labels."""
    if condition.dtype.kind in "iu" and condition.max(initial=0) > 1:
        warn(
            f"`{name}` holds whole numbers. Give labels as one-hot vectors, by "
            "`keras.utils.to_categorical`; amounts as floats, by `condition.astype('float32')`"
        )


def warn_of_condition_scale(condition: np.ndarray, is_standardized: bool, name: str) -> None:
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
            "Make the flow with `standardize_condition=True`, or its couplings with `tfnvp.conditio"
            "ners.StandardizedCondition` around their networks, its own with `StandardizedInputs`"
        )
    if len(far):
        warn(
            f"`{name}` holds values far from 1, from which networks learn slowly: variable "
            f"{far[0]} has the mean {center[far[0]]:.4g}, deviation {spread[far[0]]:.4g}. {cure}"
        )


def warn_of_condition_range(condition: np.ndarray, seen: tuple, name: str) -> None:
    """Warns of conditions outside of the training range by more than the width of that range.

    Args:
      condition: `[n, ..., channels]`.
      seen: pair of `[channels]`, the smallest and the largest values in training.
      name: what the message calls it.
    """
    values, (low, high) = condition.reshape(-1, len(seen[0])), seen
    width = high - low
    far = (values < low - width) | (values > high + width)
    if far.any():
        row, i = np.argwhere(far)[0]
        warn(
            f"`{name}` is far outside of the training range: variable {i} is "
            f"{values[row, i]:.8g} ({far[:, i].sum()} such values), and was from {low[i]:.8g} to "
            f"{high[i]:.8g}. Give conditions in the units of training; the flow standardises them"
        )


def warn_of_constant_condition(low: np.ndarray, high: np.ndarray, rows: int, name: str) -> None:
    """Warns of entries of a condition that are the same in all rows that initialise a flow."""
    if len(constant := np.flatnonzero(low == high)):
        others = f" (and {len(constant) - 1} more)" * (len(constant) > 1)
        warn(
            f"`{name}` is constant: variable {constant[0]}{others} is {low[constant[0]]:.8g} in "
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


def warn_of_rows_beyond_splines(share: float, bound: float) -> None:
    """Warns of a `share` of rows with values that splines only scale and shift."""
    if share > _BEYOND:
        warn(
            f"{share:.2%} of the rows have values beyond {bound:.4g}, in units of the standardised "
            "data, which splines only scale and shift: make the flow with a larger `bound`, or "
            "with `base='logistic'`, whose tails are heavier, or take logarithms"
        )


def warn_of_roll_back(what: str, cause: str, factor: float, count: int, most: int) -> None:
    """Warns that training went back to earlier weights, with a lower learning rate."""
    back = f"Back to the weights of the beginning of the epoch, learning rate times {factor}"
    warn(f"{what}. {cause}. {back} ({count} of at most {most} times)", RuntimeWarning)


def warn_of_hdf5(file: Any) -> None:
    """Warns of a flow that is saved under a name of another format."""
    warn(f"{file} is written in Keras' format .keras, not as HDF5: rename it to load it")


def warn_of_renamed(old: str, new: str) -> None:
    """Warns of an old name that the next minor version removes."""
    warn(f"`{old}` is now called `{new}`", DeprecationWarning)


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
