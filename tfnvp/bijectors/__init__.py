"""Invertible transformations with analytic log-dets, as TensorFlow Probability bijectors."""

from tfnvp.bijectors.act_norm import ActNorm
from tfnvp.bijectors.additive_coupling import AdditiveCoupling
from tfnvp.bijectors.affine_coupling import AffineCoupling
from tfnvp.bijectors.bijector import Bijector
from tfnvp.bijectors.chain import Chain
from tfnvp.bijectors.diagonal_scaling import DiagonalScaling
from tfnvp.bijectors.logit import Logit

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Bijector",
    "Chain",
    "DiagonalScaling",
    "Logit",
]
