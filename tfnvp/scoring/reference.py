"""What scores are compared with: log-densities of usual rows, in a file of a run folder."""

import json
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from tfnvp._atomic import read_json, reading, replacing
from tfnvp.arguments import is_number
from tfnvp.data.division import different, row_hashes

#: File of a run folder with the reference of its flow.
FILE = "reference.json"

#: Quantile up to which rows are flagged by default, unless the reference is too small for it.
THRESHOLD = 0.01

#: Most hashes of training rows that a reference keeps.
MOST_HASHES = 10_000


class Reference(NamedTuple):
    """Log-densities of usual rows that the flow was not trained on, sorted, and their columns.

    `columns` is None where the data had no names. `training_rows` are the smallest hashes of rows
    that the flow was trained on, as `smallest_hashes` finds them; None where they are unknown.
    """

    columns: tuple[str, ...] | None
    log_density: np.ndarray
    training_rows: np.ndarray | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns what JSON can hold, from which `from_json` makes an equal reference.

        >>> Reference(("a", "b"), np.array([-2.0, -1.0])).to_json()
        {'columns': ['a', 'b'], 'log_density': [-2.0, -1.0]}
        """
        columns = self.columns and list(self.columns)
        content = {"columns": columns, "log_density": self.log_density.tolist()}
        if self.training_rows is not None:
            content["training_rows"] = self.training_rows.tolist()
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Reference":
        """Returns the reference of which `to_json` returned the content.

        Raises:
          ValueError, TypeError, KeyError, OverflowError: for other content.
        """
        columns, log_density = content["columns"], np.asarray(content["log_density"], "float32")
        training_rows = content.get("training_rows")  # Older references have none.
        if training_rows is not None:
            training_rows = np.asarray(training_rows, "uint64")
            if training_rows.ndim != 1 or not len(training_rows):
                raise ValueError("`training_rows` must be a list of hashes")
        if log_density.ndim != 1 or not len(log_density) or any(np.sort(log_density) < log_density):
            raise ValueError("`log_density` must be a sorted list of numbers")
        if columns is not None and {type(name) for name in [*columns, columns]} != {str, list}:
            raise TypeError("`columns` must be a list of texts, or null")
        return cls(columns and tuple(columns), log_density, training_rows)

    @property
    def smallest_quantile(self) -> float:
        """The quantile of a row below the whole reference, `1 / (n + 1)`."""
        return 1.0 / (len(self.log_density) + 1)

    def cut(self, threshold: float) -> float:
        """The log-density below which a row's quantile is at most `threshold`.

        Raises:
          ValueError: as `check_threshold`.

        >>> Reference(None, np.array([-3.0, -2.0, -1.0])).cut(0.5)
        -2.0
        """
        return float(self.log_density[self._rank(threshold) - 1])

    @property
    def default_threshold(self) -> float:
        """0.01, or the smallest quantile, if that is larger."""
        return max(THRESHOLD, self.smallest_quantile)

    def check_threshold(self, threshold: float) -> None:
        """Raises `ValueError` unless quantiles up to a threshold, and above it, are possible."""
        least = self.smallest_quantile
        if not is_number(threshold) or not least <= float(threshold) < 1:
            raise ValueError(
                f"`threshold` must lie between {least:.4g}, the smallest quantile of a reference "
                f"of {len(self.log_density)} rows, and 1. Received: {threshold!r}"
            )

    def flagged_share(self, threshold: float, level: float = 0.95) -> tuple[float, float]:
        """Between which shares of new usual rows have a quantile of at most `threshold`.

        The mean over references is at most `threshold`. With this one, which `n` usual rows have
        made by chance, the share has the distribution::

            Beta(k, n + 1 - k),   k = floor(threshold (n + 1))

        A reference that was thinned to 10,000 of more rows has a narrower one.

        Args:
          threshold: float, from the smallest quantile to below 1.
          level: float, probability of the interval.

        Returns:
          Both ends of the central interval.

        Raises:
          ValueError: as `check_threshold`, and unless `level` lies between 0 and 1.

        >>> reference = Reference(None, np.arange(29.0))
        >>> low, high = reference.flagged_share(reference.default_threshold)
        >>> round(low, 4), round(high, 4)
        (0.0009, 0.1194)

        Source: Vovk 2012 (Conditional validity of inductive conformal predictors).
        """
        from scipy import stats

        if not is_number(level) or not 0 < level < 1:
            raise ValueError(f"`level` must be a number between 0 and 1. Received: {level!r}")
        rank, n = self._rank(threshold), len(self.log_density)
        ends = stats.beta.ppf([(1 - level) / 2, (1 + level) / 2], rank, n + 1 - rank)
        return tuple(ends.tolist())

    def _rank(self, threshold):
        """Number of quantiles, each a multiple of the smallest one, of at most `threshold`."""
        self.check_threshold(threshold)
        n = len(self.log_density)
        return int(np.searchsorted(np.arange(1, n + 1) / (n + 1), threshold, side="right"))

    def share_of_training(self, hashes: np.ndarray) -> float:
        """Returns the share of rows that equal some that the flow was trained on.

        It is that of the rows whose hashes lie among the stored ones: exact for at most 10,000
        training rows, an estimate otherwise, and 0 where the training rows are unknown.

        Args:
          hashes: those of the rows, in the type of the training rows: uint64 `[n]`.
        """
        if self.training_rows is None:
            return 0.0
        if len(self.training_rows) == MOST_HASHES:
            hashes = hashes[hashes <= self.training_rows.max()]
        return float(np.isin(hashes, self.training_rows).mean()) if len(hashes) else 0.0


def quantiles(log_density: np.ndarray, reference: Reference) -> np.ndarray:
    """Returns `(1 + #{reference <= log_density}) / (1 + n)` for each of some log-densities.

    >>> reference = Reference(None, np.array([-3.0, -2.0, -1.0]))
    >>> quantiles([-4.0, -2.0, 0.0], reference).tolist()
    [0.25, 0.75, 1.0]
    """
    below = np.searchsorted(reference.log_density, log_density, side="right")
    return (1 + below) / (1 + len(reference.log_density))


def smallest_hashes(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the smallest hashes of rows, at most 10,000, sorted: a sample of the different rows.

    Args:
      pieces: the rows, as arrays `[n, ...]`.

    >>> smallest_hashes([np.zeros((3, 2)), np.ones((2, 2))]).shape
    (2,)

    Source: Bar-Yossef et al. 2002 (k minimum values).
    """
    found = np.zeros(0, "uint64")
    for rows in pieces:
        found = different(np.append(found, row_hashes(rows)))[:MOST_HASHES]
    return found


def write_reference(folder: str | pathlib.Path, reference: Reference) -> None:
    """Writes a reference into a run folder."""
    with replacing(pathlib.Path(folder) / FILE) as temporary:
        temporary.write_text(json.dumps(reference.to_json(), indent=2) + "\n")


def read_reference(path: str | pathlib.Path) -> Reference | None:
    """Reads the reference in a run folder, or beside a model; None where there is none."""
    path = pathlib.Path(path)
    file = (path if path.is_dir() else path.parent) / FILE
    if not file.is_file():
        return None
    with reading(file):
        return Reference.from_json(read_json(file))
