"""Sets of ADBench, and their division into training and test rows."""

import pathlib
import re
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

#: How rows are divided: see `split`.
SETTINGS = ("semi", "unsupervised")

#: Of larger sets so many rows are drawn, as in Livernoche et al. 2024.
MOST_ROWS = 50_000


class Split(NamedTuple):
    """Rows of a set, standardised by those for training.

    Attributes:
      train: float64 `[n, columns]`.
      test: float64 `[m, columns]`; the same array in the unsupervised setting.
      labels: int `[m]`, 1 for the anomalies among the test rows.
    """

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray


def sets_of(folder):
    """Files of sets by name, small files first: `12_fault.npz` is "fault"."""
    paths = sorted(
        pathlib.Path(folder).resolve().glob("*.npz"), key=lambda path: path.stat().st_size
    )
    return {re.sub(r"^\d+_", "", path.stem): path for path in paths}


def split(path, setting, seed, most_rows=MOST_ROWS):
    """Divides a set as Livernoche et al. 2024 (On Diffusion Modeling for Anomaly Detection) do.

    Two things differ from their program: their unsupervised training rows are drawn with
    replacement, and they repeat rows of sets with fewer than 1,000.

    Args:
      path: `.npz` with `X`, `[rows, columns]`, and `y`, `[rows]`, 1 for anomalies.
      setting: "semi": half of the normal rows are for training, the other half and all anomalies
        for test; or "unsupervised": all rows are for both.
      seed: int, of the draw and the division.
      most_rows: int, how many rows are drawn from a larger set.

    Returns:
      `Split`.

    Raises:
      ValueError: if no anomaly is drawn.
    """
    with np.load(path) as arrays:
        rows, labels = arrays["X"], arrays["y"]
    drawn = np.random.default_rng(seed).permutation(len(rows))[:most_rows]
    rows, labels = rows[drawn].astype("float64"), labels[drawn].astype("int64")
    if not labels.any():
        raise ValueError(
            f"`most_rows` must leave an anomaly among the rows of {path}. Received: {most_rows}"
        )
    if setting == "unsupervised":
        rows = StandardScaler().fit_transform(rows)
        return Split(rows, rows, labels)
    normal = np.flatnonzero(labels == 0)
    train = normal[: len(normal) // 2]
    scaler = StandardScaler().fit(rows[train])
    test = np.delete(rows, train, axis=0)
    return Split(scaler.transform(rows[train]), scaler.transform(test), np.delete(labels, train))
