"""Flows as a detector of PyOD: outliers of tables."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tfnvp.sklearn.flow_estimator import FlowEstimator
from tfnvp.sklearn.outliers import fields_of_detectors

try:
    from pyod.models.base import BaseDetector
except ImportError as error:
    raise ImportError(f"`tfnvp.pyod` needs `pip install pyod`: {error}") from error

__all__ = ["FlowDetector"]

# The score of a row without a density: infinity would be an error in PyOD's probabilities.
_LARGEST = float(np.finfo("float32").max)


class FlowDetector(BaseDetector, FlowEstimator):
    """A detector of PyOD: rows of low density under a normalizing flow.

    ::

        decision_function(x) = -log p(x),    predict(x) = 1 where that is above threshold_, else 0

    The flow is that of `tfnvp.sklearn.FlowOutlierDetector`. `predict`, `predict_proba`,
    `predict_confidence` and others are those of all detectors of PyOD.

    Args:
      contamination: float above 0 and at most 0.5, the share of the training rows that are
        outliers, or a thresholder of PyOD.
      kind: "real_nvp", "nice" or "neural_spline".
      couplings: int, how many couplings the flow has, or "auto": 4 with fewer than 1000 different
        rows, 8 with more.
      hidden_units: widths of the hidden layers of each coupling's network.
      noise: float, standard deviation of the noise in training, in units of the columns' standard
        deviations, or "auto": Scott's rule for kernels, times 0.5 where `novelty` is true, else
        times 1.5.
      ensemble: int, how many flows are trained; the density is the mean of theirs.
      steps: int, steps of each training, or "auto": from the numbers of rows and columns.
      validation_fraction: float, share of the rows that is held out to choose the noise
        and the number of Gaussians.
      random_state: int, `numpy.random.RandomState` or None, of weights, rows and noise.
      base: "gaussian_mixture", a learned mixture with full covariances, or "normal" or "logistic".
      novelty: bool, whether the training rows are free of outliers, as for
        `sklearn.neighbors.LocalOutlierFactor`; scores of new rows are then sharper.

    Attributes:
      decision_scores_: `[n]`, scores of the training rows in nats: the larger, the more unusual.
      threshold_: float, the score in nats above which a row is an outlier.
      labels_: `[n]`, 1 for outliers among the training rows, 0 for others.
      flow_: the trained `tfnvp.Flow`, and `flows_`, the list of all of an ensemble.
      noise_: float, the noise that was used.
      steps_: int, the number of steps.
      n_features_in_: int, the number of columns, two or more.
      feature_names_in_: names of the columns, where `fit` got some.

    Raises:
      ValueError: for a `contamination` out of range.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = FlowDetector(couplings=2, hidden_units=(8,), steps=20, random_state=0).fit(rows)
    >>> int(detector.labels_.sum())
    10
    >>> detector.predict(np.array([[0.0, 0.0], [9.0, 9.0]]))
    array([0, 1])

    Source: the interface of PyOD (Zhao, Nasrullah and Li 2019).
    """

    def __init__(
        self,
        contamination: Any = 0.1,
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
        BaseDetector.__init__(self, contamination)
        arguments = (kind, couplings, hidden_units, noise, ensemble, steps, validation_fraction)
        FlowEstimator.__init__(self, *arguments, random_state, base)
        self.novelty = novelty

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Self:
        """Fits the flow, and the threshold.

        Args:
          X: `[n, n_features]`, two rows and columns or more.
          y: ignored; PyOD warns of labels.

        Returns:
          The detector.

        Raises:
          ValueError: for rows or arguments that cannot be used.
        """
        self._set_n_classes(y)
        fitted = self._fit_flow(X, **fields_of_detectors(self.novelty))
        self.decision_scores_ = self._scores(fitted)
        self._process_decision_scores()
        return self

    def decision_function(self, X: npt.ArrayLike) -> np.ndarray:
        """Minus the log-densities of rows in nats: the larger, the more unusual.

        Args:
          X: `[n, n_features]`.

        Returns:
          `[n]`: the largest number of float32 for rows too far away for it.
        """
        return self._scores(self._checked(X))

    def _scores(self, rows):
        return np.minimum(-self._log_densities(rows), _LARGEST)
