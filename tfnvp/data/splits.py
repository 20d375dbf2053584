"""A data set divided into training, validation and test."""

from typing import NamedTuple

import numpy as np


class Splits(NamedTuple):
    """Data in three parts, `[n, *event_shape]` each.

    Quantized data are whole grey levels, from 0 to `levels - 1`; real-valued data have
    `levels=None`. `flip` says whether training images may be mirrored. `columns` are the names of
    a table's columns.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int | None = None
    flip: bool = False
    columns: tuple[str, ...] | None = None

    @property
    def event_shape(self):
        """Shape of one data point."""
        return self.train.shape[1:]


def split_at_random(name, rows, levels=None, columns=None):
    """Divides rows into 80 % training, 10 % validation and 10 % test, always the same way.

    Raises:
      ValueError: if there are fewer than ten rows.
    """
    if len(rows) < 10:
        count = f"{len(rows)} row{'s' * (len(rows) != 1)}"
        raise ValueError(f"{name} has {count}: at least 10 are needed to split them")
    order = np.random.RandomState(0).permutation(len(rows))
    cuts = [int(0.8 * len(rows)), int(0.9 * len(rows))]
    return Splits(name, *np.split(rows[order], cuts), levels, columns=columns)
