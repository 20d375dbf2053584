"""Base distributions of flows: by name, given, or learned from a sample of latents."""

from tfnvp.bases.gaussian_mixture import (
    COMPONENTS,
    LEAST_ROWS,
    GaussianMixture,
    choose_mixture,
    gaussian_mixture,
)
from tfnvp.bases.logistic_mixture import logistic_mixture
from tfnvp.bases.named import BASES, combined, heated, make_base, sample_base

__all__ = ["GaussianMixture", "gaussian_mixture", "logistic_mixture"]
