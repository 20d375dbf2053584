"""Detectors of scikit-learn."""

import contextlib
import warnings

import numpy as np
from sklearn.covariance import LedoitWolf, MinCovDet
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

PACKAGES = ("scikit-learn",)

# Defaults of PyOD, which published results have.
_NEIGHBOURS, _NEIGHBOURS_OF_LOF = 5, 20

# Components of mixtures, of which the Bayesian information criterion chooses.
_COMPONENTS = (1, 2, 4, 8, 16)

# Added to variances, in standardised units. With scikit-learn's 1e-6 components collapse onto
# single outliers, which then count as the most usual rows.
_RIDGE = 1e-2


def knn(train, seed, novelty):
    """Distance to the fifth nearest neighbour (Ramaswamy et al. 2000)."""
    del seed
    neighbors = NearestNeighbors(n_neighbors=_NEIGHBOURS).fit(train)

    def score(test):
        distances, _ = neighbors.kneighbors(test if novelty else None)
        return distances[:, -1]

    return score, {}


def lof(train, seed, novelty):
    """Local outlier factor (Breunig et al. 2000)."""
    del seed
    neighbors = LocalOutlierFactor(_NEIGHBOURS_OF_LOF, novelty=True).fit(train)

    def score(test):
        if novelty:
            return -neighbors.score_samples(test)
        return -neighbors.negative_outlier_factor_

    return score, {}


def isolation_forest(train, seed, novelty):
    """Isolation forest (Liu et al. 2008)."""
    del novelty
    forest = IsolationForest(random_state=seed).fit(train)
    return lambda test: -forest.score_samples(test), {}


def mcd(train, seed, novelty):
    """Mahalanobis distance by the minimum covariance determinant (Rousseeuw 1984).

    Where the covariance is singular, by the Ledoit-Wolf estimate of all training rows instead.
    """
    del novelty
    # Of many columns the determinants take hours, which this check saves.
    if not _is_singular(np.cov(train.T)):
        # It raises one if half of the rows are equal.
        with warnings.catch_warnings(action="ignore"), contextlib.suppress(ValueError):
            robust = MinCovDet(random_state=seed).fit(train)
            if not _is_singular(robust.covariance_):
                return robust.mahalanobis, {}
    return LedoitWolf().fit(train).mahalanobis, {"instead": "one Gaussian with shrinkage"}


def _is_singular(covariance):
    return np.linalg.matrix_rank(covariance, hermitian=True) < len(covariance)


def gaussian(train, seed, novelty):
    """Minus the log-density of one Gaussian with full covariance."""
    del novelty
    fitted = GaussianMixture(1, reg_covar=_RIDGE, random_state=seed).fit(train)
    return lambda test: -fitted.score_samples(test), {}


def gaussian_mixture(train, seed, novelty):
    """Minus the log-density of the Gaussian mixture with the least BIC."""
    del novelty
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        mixtures = [
            GaussianMixture(components, reg_covar=_RIDGE, random_state=seed).fit(train)
            for components in _COMPONENTS
            if 10 * components <= len(train)
        ]
    best = min(mixtures, key=lambda mixture: mixture.bic(train))
    return lambda test: -best.score_samples(test), {"components": best.n_components}
