"""What the estimators share: the flow, its fit to a table, and the log-densities of rows."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tfnvp import flows
from tfnvp.arguments import check_one_of, unmasked
from tfnvp.runs.any_table import TableSetting, fit_table
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
        couplings: int | str = "auto",
        hidden_units: Sequence = (128, 128),
        noise: float | str = "auto",
        ensemble: int = 1,
        steps: int | str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        base: str = "gaussian_mixture",
    ):
        self.kind = kind
        self.couplings = couplings
        self.hidden_units = hidden_units
        self.noise = noise
        self.ensemble = ensemble
        self.steps = steps
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.base = base

    def _fit_flow(self, X, sample_weight=None, **of_setting):
        """Fits `flows_` by a `TableSetting`, and returns the checked rows."""
        X = validate_data(
            self, unmasked(X), dtype=FLOATS, ensure_min_samples=2, ensure_min_features=2
        )
        check_one_of("kind", self.kind, _KINDS)
        make = functools.partial(_KINDS[self.kind], X.shape[1], hidden_units=self.hidden_units)
        setting = TableSetting(
            base=self.base,
            couplings=self.couplings,
            noise=self.noise,
            ensemble=self.ensemble,
            steps=self.steps,
            validation_fraction=self.validation_fraction,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            **of_setting,
        )
        self.flows_, self.noise_, self.steps_ = fit_table(make, X, sample_weight, setting)
        self.flow_ = self.flows_[0]
        return X

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, unmasked(X), dtype=FLOATS, reset=False)

    def score_samples(self, X: npt.ArrayLike) -> np.ndarray:
        """Log-densities of rows, in nats in the units of the data.

        That of an ensemble is the mixture of its flows: `log(mean(p_1(x), .., p_m(x)))`.

        Args:
          X: `[n, n_features]`.

        Returns:
          `[n]`: -inf for rows too far away for float32.
        """
        return self._log_densities(self._checked(X))

    def explain(self, X: npt.ArrayLike) -> Explanation:
        """Tells which columns make rows unusual, and which values would be likely instead.

        Of an ensemble the first flow tells it.

        Args:
          X: `[n, n_features]`.

        Returns:
          `tfnvp.scoring.Explanation`: `gains`, by how many nats the log-density of a row rises when
          one column takes the most likely of some values, and `values`, these values; both
          `[n, n_features]`.
        """
        rows = self._checked(X)
        return replacement_gains(self.flow_, rows)

    def _log_densities(self, rows):
        of_flows = [in_pieces(flow.log_prob, rows) for flow in self.flows_]
        return logsumexp(of_flows, axis=0) - math.log(len(of_flows))


def in_pieces(function: Callable, rows: np.ndarray) -> np.ndarray:
    """Returns a function of a flow for each row, in the type of the rows.

    Every call has the same number of rows, so that rounding, and with it the result of a row, does
    not depend on the others.
    """
    padded = np.pad(rows, ((0, -len(rows) % _PIECE), (0, 0)), mode="edge")
    pieces = [function(padded[i : i + _PIECE]).numpy() for i in range(0, len(padded), _PIECE)]
    return np.concatenate(pieces)[: len(rows)].astype(rows.dtype)
