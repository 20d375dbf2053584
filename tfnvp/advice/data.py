"""Advice on columns, grey levels and files of data."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfnvp.advice.warning import listed, warn

# Rows that are checked for grey levels without noise: the first ones are enough.
_ROWS_FOR_LEVELS = 64
_LEVELS = 256


def warn_of_columns(
    constant: Iterable[str],
    repeated: Iterable[str],
    in_order: Iterable[str],
    whole: Iterable[str],
    mostly: Iterable[str],
    coded: Iterable[str] = (),
) -> None:
    """Warns of columns without a density.

    Args:
      constant: names of columns of one value.
      repeated: texts such as "'b' repeats 'a'".
      in_order: names of columns of distinct whole numbers in order.
      whole: names of columns of other whole numbers.
      mostly: names of columns of which more than half of the values are the same.
      coded: texts such as "-999 in 'a'", of repeated values that are far from all others.
    """
    no_bound = "they have no density, and their likelihood no bound"
    if constant:
        named = listed(map(repr, constant))
        warn(f"constant columns: {named}; leave them out: they have no density")
    if repeated:
        warn(f"column {listed(repeated)}: together they have no density; leave one of each out")
    if in_order:
        named = listed(map(repr, in_order))
        warn(f"distinct whole numbers in order in {named}: leave out what only numbers the rows")
    if whole:
        warn(f"only whole numbers in {listed(map(repr, whole))}: {no_bound}")
    if mostly:
        named = listed(map(repr, mostly))
        warn(f"more than half of the values are the same in {named}: {no_bound}")
    if coded:
        warn(
            f"repeated and far from all other values: {listed(coded)}. If it stands for missing "
            "values, leave those rows out"
        )


def warn_of_rows_outside(fault: str, atom: float) -> None:
    """Warns of rows outside of bounds, which are left out.

    Args:
      fault: which rows they are.
      atom: share of all rows that are exactly on a bound, if it counts, otherwise 0.
    """
    meaning = (
        ". Rows on a bound are an atom, which no density describes: the flow describes only the "
        f"others, and its density, times {1 - atom:.4g}, is that of all rows. Model how often the "
        "bound is reached apart"
    )
    warn(f"{fault}. These rows are left out{meaning if atom else ''}")


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


def warn_of_skipped(count: int, total: int, what: str, first: Any = None) -> None:
    """Warns of data points that a reader left out."""
    first = "" if first is None else f", the first is {first}"
    warn(f"{count} of {total} {what} are left out because they are damaged{first}")


def warn_of_missing_header(file: Any, names: Sequence[str], is_row: bool) -> None:
    """Warns of a table of text whose first line holds numbers instead of names.

    Args:
      file: what the warning calls the table.
      names: names of its columns.
      is_row: whether that line is read as a row.
    """
    meaning = "is a row, and the names of its columns are" if is_row else "is read as names:"
    warn(f"{file} seems to have no header: its first line {meaning} {listed(names)}")


def warn_of_text_form(file: Any, decimal: str, names: Sequence[str] | None) -> None:
    """Warns of a table of text that is read in a way that few tables need."""
    if decimal != ".":
        warn(f"{file} is read with the decimal mark {decimal!r}")
    if names is not None:
        warn(f"{file} is read with the names of its columns in a comment: {', '.join(names)}")


def warn_of_index_columns(file: Any, names: Sequence[str]) -> None:
    """Warns of columns that only number the rows of a table."""
    named = listed(map(repr, names))
    warn(f"{file} is read without its index, {named}: `columns` can name it")


def warn_of_images(of: str, total: int, done: Mapping[str, list[str]]) -> None:
    """Warns of what a reader did to some files `of` a folder: their names, by what it did."""
    for what, names in done.items():
        warn(f"{len(names)} of {total} {of} {what}; the first is {names[0]}")


def warn_of_lost_records(folder: Any, lost: Mapping[str, int]) -> None:
    """Warns of broken records that are left out."""
    each = ", ".join(f"{rows} in {file}" for file, rows in lost.items())
    warn(f"{folder}: {sum(lost.values())} broken records left out: {each}")


def warn_of_weights(file: Any, name: str) -> None:
    """Warns of a loaded flow with weights that are NaN or infinite."""
    warn(f"{file} holds NaN or infinite weights, first in {name}: its results are not numbers")
