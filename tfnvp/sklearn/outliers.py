"""Outliers of tables, as `sklearn.ensemble.IsolationForest` finds them."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import OutlierMixin

from tfnvp.arguments import check_flags, is_number
from tfnvp.sklearn.flow_estimator import FlowEstimator

# Fields of the setting for tables, by `novelty`. Held-out rows would choose less noise, which makes
# the densities of repeated values larger but finds fewer outliers. Outliers among the training rows
# must not get Gaussians of their own. Mixtures that have converged find no more outliers.
_BY_NOVELTY = {
    True: {"bandwidth": 0.5, "components": (250,), "least_rows": 16, "iterations": 10},
    False: {"bandwidth": 1.5, "components": (4,), "least_rows": 50, "iterations": 10},
}


def fields_of_detectors(novelty: bool) -> dict:
    """Returns the fields of `TableSetting` that detectors have of their own."""
    check_flags(novelty=novelty)
    return _BY_NOVELTY[novelty]


class FlowOutlierDetector(OutlierMixin, FlowEstimator):
    """An outlier detector of scikit-learn: rows of low density under a normalizing flow.

    ::

        decision_function(x) = log p(x) - offset_,    predict(x) = -1 where that is below 0, else 1

    The flow is that of `FlowDensity`, trained with more noise: densities of repeated values matter
    less then. If the training rows have outliers, these must not become likely: the noise is
    larger still, and the mixture has fewer Gaussians.

    Args:
      contamination: float above 0 and at most 0.5, the share of the training rows that are
        outliers; `offset_` is that quantile of their log-densities. Or "auto": `offset_` is their
        lower quartile less 1.5 times the distance between the quartiles (Tukey's fence).
      kind: as for `FlowDensity`, like all that follow.
      couplings: int or "auto".
      hidden_units: widths of hidden layers.
      noise: float, or "auto": Scott's rule for kernels, times 0.5 where `novelty` is true, else
        times 1.5.
      ensemble: int.
      steps: int or "auto".
      validation_fraction: float.
      random_state: int, `numpy.random.RandomState` or None.
      base: "gaussian_mixture", "normal" or "logistic".
      novelty: bool, whether the training rows are free of outliers, as for
        `sklearn.neighbors.LocalOutlierFactor`; scores of new rows are then sharper.

    Attributes:
      flow_: the trained `tfnvp.Flow`, and `flows_`, the list of all of an ensemble.
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

    Source: Scott 1992 (Multivariate Density Estimation) for the noise; Tukey 1977 (Exploratory Data
    Analysis); the interface of scikit-learn.
    """

    def __init__(
        self,
        contamination: float | str = 0.1,
        kind: str = "real_nvp",
        couplings: int | str = "auto",
        hidden_units: Sequence = (128, 128),
        noise: float | str = "auto",
        ensemble: int = 1,
        steps: int | str = "auto",
        validation_fraction: float = 0.1,
        random_state: Any = None,
        base: str = "gaussian_mixture",
        novelty: bool = False,
    ):
        arguments = (kind, couplings, hidden_units, noise, ensemble, steps, validation_fraction)
        super().__init__(*arguments, random_state, base)
        self.contamination = contamination
        self.novelty = novelty

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
        nats = self._log_densities(self._fit_flow(X, **fields_of_detectors(self.novelty)))
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
