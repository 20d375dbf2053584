"""Data sets by name, divided into training, validation and test."""

from typing import NamedTuple

import numpy as np

from tfnvp.data import digits


class Splits(NamedTuple):
    """Quantized data `[n, *event_shape]` in three parts, and its number of grey levels."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int

    @property
    def event_shape(self):
        """Shape of one data point."""
        return self.train.shape[1:]


def load_splits(name):
    """Loads a data set by its name; "digits" needs no download.

    Raises:
      ValueError: if there is no data set of that name.
    """
    if name != "digits":
        raise ValueError(f"unknown data set {name!r}: choose one of digits")
    loaded = digits.load_digits()
    return Splits(name, loaded.train, loaded.validation, loaded.test, digits.LEVELS)
