"""The 8x8 digits that ship with scikit-learn: handwriting without a download."""

from typing import NamedTuple

import numpy as np

LEVELS = 17


class Digits(NamedTuple):
    """Images (uint8, 0 to 16) and labels (0 to 9) of the three splits."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray
    validation_labels: np.ndarray
    test_labels: np.ndarray


def load_digits() -> Digits:
    """Loads scikit-learn's 1797 handwritten digits, split in a fixed way.

    A permutation by `numpy.random.RandomState(0)`; its last 20 % are for test, and of the rest
    the last 10 % for validation.

    Returns:
      `Digits`: images `[n, 8, 8]` of 17 grey levels as uint8, and labels `[n]`.

    >>> digits = load_digits()
    >>> len(digits.train), len(digits.validation), len(digits.test)
    (1293, 144, 360)
    """
    import sklearn.datasets

    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(images))
    images = images[order].reshape(-1, 8, 8).astype("uint8")
    first_test = int(0.8 * len(images))
    cuts = [int(0.9 * first_test), first_test]
    return Digits(*np.split(images, cuts), *np.split(labels[order], cuts))
