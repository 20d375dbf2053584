"""Columns of tables as the numbers that a flow takes."""

import numpy as np


def names_in(columns):
    """Returns the names in a text with commas between them.

    >>> names_in("height, weight")
    ('height', 'weight')
    """
    return tuple(name.strip() for name in columns.split(","))


def select(table, columns, source):
    """Returns the columns of a `pyarrow.Table` by their names, in that order.

    Raises:
      ValueError: if the table lacks one, or one is named twice; `source` is what the message calls
        the table.
    """
    if repeated := sorted({name for name in columns if list(columns).count(name) > 1}):
        raise ValueError(f"the columns to read name {repeated[0]!r} more than once")
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ValueError(f"{source} lacks the columns {missing}; it has {table.column_names}")
    return table.select(list(columns))


def with_gaps(table, whatever=False):
    """Returns a table with gaps for texts in columns of numbers.

    Args:
      table: `pyarrow.Table`.
      whatever: bool; all columns are known to be of numbers, whatever they hold. Default: those
        most of whose values are.
    """
    import pyarrow

    for i, field in enumerate(table.schema):
        if not (pyarrow.types.is_string(field.type) or pyarrow.types.is_null(field.type)):
            continue
        values = [float(v) if is_number(v) else None for v in table[field.name].to_pylist()]
        if whatever or values.count(None) * 2 < len(values):
            table = table.set_column(i, field.name, pyarrow.array(values, pyarrow.float64()))
    return table


def rows_of_table(table, source="the table", dtype="float32"):
    """Returns the columns of a `pyarrow.Table` as rows, `[n, columns]`; gaps are NaN.

    Raises:
      ValueError: if there are fewer than two columns, or one holds no numbers.
    """
    import pyarrow

    others = [
        field
        for field in table.schema
        if not (pyarrow.types.is_floating(field.type) or pyarrow.types.is_integer(field.type))
    ]
    if others:
        more = ", ".join(repr(field.name) for field in others[1:])
        raise ValueError(
            f"{source}: {_what_is_no_number(table, others[0])}"
            + f". Further columns that are not of numbers alone: {more}" * bool(more)
        )
    if table.num_columns < 2:
        raise ValueError(
            f"{source} must hold rows of two or more numbers. Received columns: "
            f"{table.column_names}"
        )
    with np.errstate(over="ignore"):  # Beyond float32 they are infinite, and have no score.
        return np.stack([np.asarray(c.to_numpy(), dtype) for c in table.columns], axis=1)


def _what_is_no_number(table, field):
    values = table[field.name].to_pylist()
    texts = [i for i, value in enumerate(values) if not is_number(value)]
    if len(texts) * 2 < len(values):
        return (
            f"column {field.name!r} holds no numbers in {len(texts)} of {len(values)} rows, the "
            f"first in row {texts[0] + 1}: {values[texts[0]]!r}; skip_bad (--skip-bad) leaves such "
            "rows out"
        )
    return (
        f"column {field.name!r} holds no numbers but {field.type}; name the columns to read "
        "(--columns), or leave it out of the table"
    )


def is_number(text):
    """Whether a text, or another value, is a number."""
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
