"""The names of columns in a table of text, or that it has none."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfnvp.data.table_values import is_number


class Header(NamedTuple):
    """What the first lines of a table say of its columns.

    Attributes:
      names: names of the columns; None if the first line has them, one for each value.
      lines: how many lines come before the first row of values, if `names` are known.
      is_missing: whether the first line is a row of values, and the columns have no names.
    """

    names: tuple[str, ...] | None = None
    lines: int = 0
    is_missing: bool = False


def values_of_line(line: str, delimiter: str) -> list[str]:
    """Returns the values of a line; a delimiter in quotes is part of a value.

    Args:
      line: the line.
      delimiter: what is between values; a space stands for any number of spaces and tabs.

    >>> values_of_line('"x, y", 2.5', ",")
    ['x, y', '2.5']
    """
    line = line.strip(" \t") if delimiter == " " else line
    hidden = re.sub(r'"[^"]*"', lambda match: "q" * len(match.group()), line)
    places = re.finditer(r"[ \t]+" if delimiter == " " else re.escape(delimiter), hidden)
    cuts = [0, *(place for match in places for place in match.span()), len(line)]
    return [line[a:b].strip('" \t') for a, b in zip(cuts[::2], cuts[1::2], strict=True)]


def find_header(
    comments: Sequence[str],
    lines: Sequence[str],
    delimiter: str,
    decimal: str,
    columns: Sequence[str] | None = None,
) -> Header:
    """Finds the names of the columns in the first lines of a table.

    Args:
      comments: lines of comments before it.
      lines: its first lines.
      delimiter: as for `values_of_line`.
      decimal: the decimal mark.
      columns: names that the table is known to have, or None.

    >>> find_header([], ["5.1,3.5,0.2", "4.9,3.0,0.2"], ",", ".")
    Header(names=('0', '1', '2'), lines=0, is_missing=True)
    >>> find_header([], ["a,b", "row1,1.5,2.5", "row2,2.5,3.5"], ",", ".")  # As R writes them.
    Header(names=('', 'a', 'b'), lines=1, is_missing=False)
    """
    blank = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    rows = [values_of_line(line, delimiter) for line in lines if line.strip()]
    if not rows:
        return Header()
    first, *others = rows
    if comments:
        named = tuple(values_of_line(comments[-1].lstrip("#").strip(), delimiter))
        if len(named) == len(first) > 1 and any(map(is_number, first)):
            return Header(named)
    are_named = columns and set(columns) <= set(first)
    are_values = all(is_value(value, decimal) for value in first)
    if are_values and not are_named and not name_columns(first, others, decimal):
        return Header(tuple(map(str, range(len(first)))), 0, True)
    line = lines[blank]
    line = re.sub(r"[ \t]+", " ", line.strip()) if delimiter == " " else line
    names = next(csv.reader([line], delimiter=delimiter))
    ((count, _),) = Counter(map(len, others)).most_common(1) or [(len(names), 0)]
    if count == len(names) + 1:
        # Lines end with a delimiter, or begin with a name of the row.
        is_open = all(row[-1] == "" for row in others if len(row) == count)
        names = [*names, ""] if is_open else ["", *names]
        return Header(tuple(told_apart(names)), blank + 1)
    if names.count("") > 1 and count == len(names):
        return Header(tuple(told_apart(names)), blank + 1)
    return Header()


def is_value(text: str, decimal: str) -> bool:
    """Whether a text is a number with a decimal mark."""
    return is_number(text.replace(decimal, "."))


def are_steps(texts: Sequence[str], decimal: str = ".") -> bool:
    """Whether numbers rise in equal steps, as places, years and wavelengths do that name columns.

    Two of them, which would always do, must be whole and 1 apart.

    >>> are_steps(["1990", "1995", "2000"]), are_steps(["5.1", "3.5", "1.4"])
    (True, False)
    """
    steps = np.diff([_as_number(text, decimal) for text in texts])
    if len(steps) < 2:
        return len(steps) == 1 and steps[0] == 1
    return bool((steps > 0).all() and np.ptp(steps) <= 1e-6 * steps.max())


def name_columns(first: Sequence[str], others: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the numbers of a first line name columns, and are no row as the others.

    Names rise in equal steps, which the other lines do not. They count columns from 0, as pandas
    writes them, or look unlike the values below: whole above others, or far from them.

    Args:
      first: the first line.
      others: further lines.
      decimal: the decimal mark.

    >>> name_columns(["1", "2", "3"], [["4", "5", "6"], ["7", "8", "9"]], ".")
    False
    >>> name_columns(["1", "2", "3"], [["2.5", "1.5", "0.5"], ["0.5", "2.5", "1.5"]], ".")
    True
    """
    if not are_steps(first, decimal):
        return False
    rows = [row for row in others if len(row) == len(first)]
    rows = [row for row in rows if all(is_value(value, decimal) for value in row)]
    if 2 * sum(are_steps(row, decimal) for row in rows) > len(rows):
        return False
    if not rows or list(first) == [str(i) for i in range(len(first))]:
        return True
    whole = np.array([[value.strip("+-").isdigit() for value in row] for row in rows])
    if all(map(str.isdigit, first)) and whole.mean() < 0.5:
        return True
    numbers = np.array([[_as_number(value, decimal) for value in row] for row in (first, *rows)])
    names, values = numbers[0], numbers[1:]
    margin = np.maximum(np.ptp(values, axis=0), np.abs(values).max(axis=0))
    low, high = values.min(axis=0) - margin, values.max(axis=0) + margin
    return bool(((names < low) | (names > high)).any())


def _as_number(text, decimal):
    return float(text.replace(decimal, "."))


def seems_a_row(names: Sequence[str]) -> bool:
    """Whether most names of columns are numbers that are no usual names."""
    numbers = [name for name in names if is_number(name)]
    return 2 * len(numbers) > len(names) and not are_steps(numbers)


def told_apart(names: Sequence[str]) -> list[str]:
    """Returns names in which further columns without a name have one that pandas gives them.

    >>> told_apart(["", "a", "", ""])
    ['', 'a', 'Unnamed: 2', 'Unnamed: 3']
    """
    first = list(names).index("") if "" in names else len(names)
    return [f"Unnamed: {i}" if not name and i > first else name for i, name in enumerate(names)]
