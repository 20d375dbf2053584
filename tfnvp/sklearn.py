"""Flows as estimators of scikit-learn: densities and outliers of tables.

They are used as `sklearn.mixture.GaussianMixture`, `sklearn.neighbors.KernelDensity` and
`sklearn.ensemble.IsolationForest` are, in pipelines, searches and cross-validation.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    OutlierMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from tfnvp import flows
from tfnvp.arguments import is_number
from tfnvp.runs.any_table import fit_table, seeded_weights

__all__ = ["FlowDensity", "FlowOutlierDetector"]

_KINDS = {
    "real_nvp": flows.RealNVP,
    "nice": flows.NICE,
    "neural_spline": flows.NeuralSplineFlow,
}
_FLOATS = [np.float64, np.float32]

# All rows are evaluated in pieces of so many.
_PIECE = 512


class _FlowEstimator(BaseEstimator):
    """What both estimators share: the flow, its fit to a table, and the log-densities of rows."""

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
        X = validate_data(self, X, dtype=_FLOATS, ensure_min_samples=2, ensure_min_features=2)
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
        return validate_data(self, X, dtype=_FLOATS, reset=False)

    def score_samples(self, X: npt.ArrayLike) -> np.ndarray:
        """Log-densities of rows, in nats in the units of the data.

        Args:
          X: `[n, n_features]`.

        Returns:
          `[n]`: -inf for rows too far away for float32.
        """
        return _in_pieces(self, "log_prob", self._checked(X))


def _in_pieces(estimator: _FlowEstimator, method: str, rows: np.ndarray) -> np.ndarray:
    """Returns a method of the flow for each row, in the type of the rows.

    Every call has the same number of rows, so that rounding, and with it the result of a row, does
    not depend on the others.
    """
    function = getattr(estimator.flow_, method)
    padded = np.pad(rows, ((0, -len(rows) % _PIECE), (0, 0)), mode="edge")
    pieces = [function(padded[i : i + _PIECE]).numpy() for i in range(0, len(padded), _PIECE)]
    return np.concatenate(pieces)[: len(rows)].astype(rows.dtype)


class FlowDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, _FlowEstimator):
    """A density estimator of scikit-learn: a normalizing flow fitted to any table.

    ::

        log p(x) = log p_base(z) + log|det dz/dx|,    z = transform(x)

    It is trained as `tfnvp.runs.any_table.fit_table` says: on rows with Gaussian noise, whose size
    held-out rows choose. The result does not depend on the order of the rows.

    Args:
      kind: "real_nvp", "nice" or "neural_spline".
      couplings: int, how many couplings the flow has.
      hidden_units: widths of the hidden layers of each coupling's network.
      noise: float, standard deviation of the noise in units of the columns' standard deviations,
        or "auto".
      steps: int, steps of each training, or "auto": from the numbers of rows and columns.
      validation_fraction: float, share of the rows that is held out to choose the noise. The flow
        is trained on all rows afterwards.
      random_state: int, `numpy.random.RandomState` or None, of weights, rows and noise.

    Attributes:
      flow_: the trained `tfnvp.Flow`; `flow_.export(path)` writes a SavedModel.
      noise_: float, the noise that was used.
      steps_: int, the number of steps.
      n_features_in_: int, the number of columns, two or more.
      feature_names_in_: names of the columns, where `fit` got some.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 2))
    >>> density = FlowDensity(couplings=2, hidden_units=(8,), steps=20, random_state=0).fit(rows)
    >>> density.score_samples(rows[:3]).shape, density.sample(5, random_state=0).shape
    ((3,), (5, 2))
    >>> z = density.transform(rows)
    >>> bool(np.allclose(density.inverse_transform(z), rows, atol=1e-4))
    True

    Source: Dinh, Sohl-Dickstein and Bengio 2017 (Real NVP); the interface of scikit-learn.
    """

    def fit(
        self, X: npt.ArrayLike, y: Any = None, sample_weight: npt.ArrayLike | None = None
    ) -> Self:
        """Fits the flow.

        Args:
          X: `[n, n_features]`, two rows and columns or more.
          y: ignored.
          sample_weight: `[n]`, 0 or more; only ratios matter. A row of weight 2 counts as two equal
            rows.

        Returns:
          The estimator.

        Raises:
          ValueError: for rows or arguments that cannot be used.
        """
        del y
        self._fit_flow(X, sample_weight)
        return self

    def score(self, X: npt.ArrayLike, y: Any = None) -> float:
        """Mean log-density of rows in nats: the larger, the better.

        Args:
          X: `[n, n_features]`.
          y: ignored.
        """
        del y
        return float(np.mean(self.score_samples(X), dtype="float64"))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws rows.

        Args:
          n_samples: int, how many.
          random_state: int, `numpy.random.RandomState` or None.

        Returns:
          float32 `[n_samples, n_features]`.
        """
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        return self.flow_.sample(n_samples, seed=seed).numpy()

    def transform(self, X: npt.ArrayLike) -> np.ndarray:
        """Latents of rows, `[n, n_features]`, which are nearly standard normal.

        Args:
          X: `[n, n_features]`.
        """
        return _in_pieces(self, "encode", self._checked(X))

    def inverse_transform(self, X: npt.ArrayLike) -> np.ndarray:
        """Rows of latents, `[n, n_features]`.

        Args:
          X: latents, `[n, n_features]`.
        """
        check_is_fitted(self)
        return _in_pieces(self, "decode", check_array(X, dtype=_FLOATS))

    @property
    def _n_features_out(self):
        return self.n_features_in_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class FlowOutlierDetector(OutlierMixin, _FlowEstimator):
    """An outlier detector of scikit-learn: rows of low density under a normalizing flow.

    ::

        decision_function(x) = log p(x) - offset_,    predict(x) = -1 where that is below 0, else 1

    The flow is that of `FlowDensity`.

    Args:
      contamination: float above 0 and at most 0.5, the share of the training rows that are
        outliers; `offset_` is that quantile of their log-densities. Or "auto": `offset_` is their
        lower quartile less 1.5 times the distance between the quartiles (Tukey's fence).
      kind: as for `FlowDensity`, like all that follow.
      couplings: int.
      hidden_units: widths of hidden layers.
      noise: float or "auto".
      steps: int or "auto".
      validation_fraction: float.
      random_state: int, `numpy.random.RandomState` or None.

    Attributes:
      flow_: the trained `tfnvp.Flow`.
      offset_: float, the log-density in nats below which a row is an outlier.
      noise_: float, the noise that was used.
      steps_: int, the number of steps.
      n_features_in_: int, the number of columns, two or more.
      feature_names_in_: names of the columns, where `fit` got some.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = FlowOutlierDetector(couplings=2, hidden_units=(8,), steps=20, random_state=0)
    >>> int((detector.fit_predict(rows) == -1).sum())
    10
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]])
    array([ 1, -1])

    Source: Tukey 1977 (Exploratory Data Analysis); the interface of scikit-learn.
    """

    def __init__(
        self,
        contamination: float | str = 0.1,
        kind: str = "real_nvp",
        couplings: int = 8,
        hidden_units: Sequence = (128, 128),
        noise: float | str = "auto",
        steps: int | str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ):
        super().__init__(
            kind, couplings, hidden_units, noise, steps, validation_fraction, random_state
        )
        self.contamination = contamination

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Self:
        """Fits the flow, and the offset.

        Args:
          X: `[n, n_features]`, two rows and columns or more.
          y: ignored.

        Returns:
          The detector.

        Raises:
          ValueError: for rows or arguments that cannot be used.
        """
        del y
        is_auto = isinstance(self.contamination, str) and self.contamination == "auto"
        if not is_auto and not (is_number(self.contamination) and 0 < self.contamination <= 0.5):
            raise ValueError(
                '`contamination` must be "auto" or a number above 0, at most 0.5. '
                f"Received: {self.contamination!r}"
            )
        nats = _in_pieces(self, "log_prob", self._fit_flow(X))
        if is_auto:
            low, high = np.quantile(nats, [0.25, 0.75])
            self.offset_ = float(low - 1.5 * (high - low))
        else:
            self.offset_ = float(np.quantile(nats, self.contamination))
        return self

    def decision_function(self, X: npt.ArrayLike) -> np.ndarray:
        """Log-densities less `offset_`, in nats: below 0 for outliers.

        Args:
          X: `[n, n_features]`.

        Returns:
          `[n]`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: npt.ArrayLike) -> np.ndarray:
        """Returns -1 for outliers and 1 for other rows, `[n]`.

        Args:
          X: `[n, n_features]`.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)
