"""Flows as estimators of scikit-learn: densities and outliers of tables.

They are used as `sklearn.mixture.GaussianMixture`, `sklearn.neighbors.KernelDensity` and
`sklearn.ensemble.IsolationForest` are, in pipelines, searches and cross-validation.
"""

from tfnvp.sklearn.density import FlowDensity
from tfnvp.sklearn.outliers import FlowOutlierDetector

__all__ = ["FlowDensity", "FlowOutlierDetector"]
