"""What the estimators share: the flow, its fit to a table, and the log-densities of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tfnvp import flows
from tfnvp.runs.any_table import fit_table, seeded_weights
from tfnvp.scoring import Explanation, replacement_gains

#: Types of rows that are kept.
FLOATS = (np.float64, np.float32)

_KINDS = {
    "real_nvp": flows.RealNVP,
    "nice": flows.NICE,
    "neural_spline": flows.NeuralSplineFlow,
}

# All rows are evaluated in pieces of so many.
_PIECE = 512


class FlowEstimator(BaseEstimator):
    """A flow that is fitted to a table, with the arguments of all estimators."""

    def __init__(
        self,
        kind: str = "real_nvp",
        couplings: int = 8,
        hidden_units: Sequence = (128, 128),
        noise: float | str = "auto",
        steps: int | str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ):
        self.kind = kind
        self.couplings = couplings
        self.hidden_units = hidden_units
        self.noise = noise
        self.steps = steps
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _fit_flow(self, X, sample_weight=None):
        """Fits `flow_`, and returns the checked rows."""
        X = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2, ensure_min_features=2)
        if self.kind not in _KINDS:
            known = ", ".join(_KINDS)
            raise ValueError(f"`kind` must be one of {known}. Received: {self.kind!r}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with seeded_weights(seed):
            flow = _KINDS[self.kind](
                X.shape[1], couplings=self.couplings, hidden_units=self.hidden_units
            )
        fitted = fit_table(
            flow, X, sample_weight, self.noise, self.steps, self.validation_fraction, seed
        )
        self.flow_, self.noise_, self.steps_ = flow, fitted.noise, fitted.steps
        return X

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=FLOATS, reset=False)

    def score_samples(self, X: npt.ArrayLike) -> np.ndarray:
        """Log-densities of rows, in nats in the units of the data.

        Args:
          X: `[n, n_features]`.

        Returns:
          `[n]`: -inf for rows too far away for float32.
        """
        return self._in_pieces("log_prob", self._checked(X))

    def explain(self, X: npt.ArrayLike) -> Explanation:
        """Tells which columns make rows unusual, and which values would be likely instead.

        Args:
          X: `[n, n_features]`.

        Returns:
          `tfnvp.scoring.Explanation`: `gains`, by how many nats the log-density of a row rises when
          one column takes the most likely of some values, and `values`, these values; both
          `[n, n_features]`.
        """
        rows = self._checked(X)
        return replacement_gains(self.flow_, rows)

    def _in_pieces(self, method, rows):
        """Returns a method of the flow for each row, in the type of the rows.

        Every call has the same number of rows, so that rounding, and with it the result of a row,
        does not depend on the others.
        """
        function = getattr(self.flow_, method)
        padded = np.pad(rows, ((0, -len(rows) % _PIECE), (0, 0)), mode="edge")
        pieces = [function(padded[i : i + _PIECE]).numpy() for i in range(0, len(padded), _PIECE)]
        return np.concatenate(pieces)[: len(rows)].astype(rows.dtype)
