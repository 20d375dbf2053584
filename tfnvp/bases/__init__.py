"""Base distributions of flows: by name, given, or learned from a sample of latents."""

from tfnvp.bases.gaussian_mixture import GaussianMixture, gaussian_mixture
from tfnvp.bases.logistic_mixture import logistic_mixture

__all__ = ["GaussianMixture", "gaussian_mixture", "logistic_mixture"]
