"""The methods that are compared.

A method is a function of training rows `[n, columns]` and a seed. It returns a function from test
rows `[m, columns]` to scores `[m]`, larger for anomalies, and a dictionary of what it chose. Where
the test rows are the training rows, the same array, a row does not count among its own neighbours.
A new method is an entry of `METHODS`.
"""

import contextlib
import warnings

import numpy as np
from sklearn.covariance import LedoitWolf, MinCovDet
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

# Defaults of PyOD, which published results have.
_NEIGHBOURS, _NEIGHBOURS_OF_LOF = 5, 20

# Components of mixtures, of which the Bayesian information criterion chooses.
_COMPONENTS = (1, 2, 4, 8, 16)

#: Packages whose versions belong to a result.
PACKAGES = ("tfnvp", "tensorflow", "keras", "scikit-learn")


def _tfnvp(train, seed):
    """`FlowOutlierDetector` with its defaults; the score is minus the log-density."""
    from tfnvp.sklearn import FlowOutlierDetector

    detector = FlowOutlierDetector(random_state=seed).fit(train)
    chosen = {"noise": detector.noise_, "steps": detector.steps_}
    return lambda test: -detector.score_samples(test), chosen


def _knn(train, seed):
    """Distance to the fifth nearest neighbour (Ramaswamy et al. 2000)."""
    del seed
    neighbors = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(train)

    def score(test):
        distances, _ = neighbors.kneighbors(None if test is train else test)
        return distances[:, -1]

    return score, {}


def _lof(train, seed):
    """Local outlier factor (Breunig et al. 2000)."""
    del seed
    neighbours = min(_NEIGHBOURS_OF_LOF, len(train) - 1)
    lof = LocalOutlierFactor(neighbours, novelty=True).fit(train)
    return (
        lambda test: -lof.negative_outlier_factor_ if test is train else -lof.score_samples(test),
        {},
    )


def _isolation_forest(train, seed):
    """Isolation forest (Liu et al. 2008)."""
    forest = IsolationForest(random_state=seed).fit(train)
    return lambda test: -forest.score_samples(test), {}


def _mcd(train, seed):
    """Mahalanobis distance by the minimum covariance determinant (Rousseeuw 1984).

    Where the covariance is singular, by the Ledoit-Wolf estimate of all training rows instead.
    """
    if not _is_singular(np.cov(train.T)):
        # It raises one if half of the rows are equal.
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(ValueError):
            robust = MinCovDet(random_state=seed).fit(train)
            if not _is_singular(robust.covariance_):
                return robust.mahalanobis, {}
    return LedoitWolf().fit(train).mahalanobis, {"instead": "one Gaussian with shrinkage"}


def _is_singular(covariance):
    return np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance)


def _gaussian(train, seed):
    """Log-density of one Gaussian with full covariance."""
    gaussian = GaussianMixture(1, random_state=seed).fit(train)
    return lambda test: -gaussian.score_samples(test), {}


def _gaussian_mixture(train, seed):
    """Log-density of the mixture with the least BIC."""
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        mixtures = [
            GaussianMixture(components, random_state=seed).fit(train)
            for components in _COMPONENTS
            if 10 * components <= len(train)
        ]
    best = min(mixtures, key=lambda mixture: mixture.bic(train))
    return lambda test: -best.score_samples(test), {"components": best.n_components}


METHODS = {
    "tfnvp": _tfnvp,
    "knn": _knn,
    "lof": _lof,
    "isolation_forest": _isolation_forest,
    "mcd": _mcd,
    "gaussian": _gaussian,
    "gaussian_mixture": _gaussian_mixture,
}
