"""Densities of tables, as `sklearn.mixture.GaussianMixture` estimates them."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from tfnvp.arguments import check_int
from tfnvp.sklearn.flow_estimator import FLOATS, FlowEstimator, in_pieces


class FlowDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, FlowEstimator):
    """A density estimator of scikit-learn: a normalizing flow fitted to any table.

    ::

        log p(x) = log p_base(z) + log|det dz/dx|,    z = transform(x)

    It is trained as `tfnvp.runs.any_table.fit_table` says: from a mixture of Gaussians on, on rows
    with Gaussian noise, whose size held-out rows choose. The result does not depend on the order of
    the rows.

    Args:
      kind: "real_nvp", "nice" or "neural_spline".
      couplings: int, how many couplings the flow has, or "auto": 4 with fewer than 1000 different
        rows, 8 with more.
      hidden_units: widths of the hidden layers of each coupling's network.
      noise: float, standard deviation of the noise in units of the columns' standard deviations,
        or "auto": of 0.4, 0.2, 0.1, 0.05 and 0.02 the one that held-out rows choose.
      ensemble: int, how many flows are trained, from other initial weights; the density is the
        mean of theirs.
      steps: int, steps of each training, or "auto": from the numbers of rows and columns.
      validation_fraction: float, share of the rows that is held out to choose the noise and the
        number of Gaussians. The flow is trained on all rows.
      random_state: int, `numpy.random.RandomState` or None, of weights, rows and noise.
      base: "gaussian_mixture", a learned mixture with full covariances, or "normal" or "logistic".

    Attributes:
      flow_: the trained `tfnvp.Flow`; `flow_.export(path)` writes a SavedModel.
      flows_: list of the flows of the ensemble; the first one is `flow_`, which also gives the
        latents.
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
        check_int("n_samples", n_samples)
        random = check_random_state(random_state)
        members = len(self.flows_)
        counts = np.bincount(random.randint(members, size=n_samples), minlength=members)
        rows = [
            flow.sample(count, seed=int(random.randint(2**31 - 1))).numpy()
            for flow, count in zip(self.flows_, counts.tolist(), strict=True)
            if count
        ]
        return random.permutation(np.concatenate(rows))

    def transform(self, X: npt.ArrayLike) -> np.ndarray:
        """Latents of rows, `[n, n_features]`, of the base's distribution.

        With `base="normal"` they are nearly standard normal.

        Args:
          X: `[n, n_features]`.
        """
        return in_pieces(self.flow_.encode, self._checked(X))

    def inverse_transform(self, X: npt.ArrayLike) -> np.ndarray:
        """Rows of latents, `[n, n_features]`.

        Args:
          X: latents, `[n, n_features]`.
        """
        check_is_fitted(self)
        return in_pieces(self.flow_.decode, check_array(X, dtype=FLOATS))

    @property
    def _n_features_out(self):
        return self.n_features_in_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
