"""Invertible transformations with analytic log-dets, as TensorFlow Probability bijectors."""

from tfnvp.bijectors.act_norm import ActNorm
from tfnvp.bijectors.additive_coupling import AdditiveCoupling
from tfnvp.bijectors.affine_coupling import AffineCoupling
from tfnvp.bijectors.angles import Angles
from tfnvp.bijectors.batch_normalization import BatchNormalization
from tfnvp.bijectors.bijector import Bijector
from tfnvp.bijectors.bounds import Bounds
from tfnvp.bijectors.compose import Chain
from tfnvp.bijectors.diagonal_scaling import DiagonalScaling
from tfnvp.bijectors.learned_dequantization import LearnedDequantization
from tfnvp.bijectors.logit import Logit
from tfnvp.bijectors.lu_linear import LULinear
from tfnvp.bijectors.multi_scale import MultiScale
from tfnvp.bijectors.scanned_couplings import ScannedCouplings
from tfnvp.bijectors.spline_coupling import SplineCoupling
from tfnvp.bijectors.squeeze import Squeeze
from tfnvp.bijectors.standardization import Standardization
from tfnvp.bijectors.whitening import Whitening

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Angles",
    "BatchNormalization",
    "Bijector",
    "Bounds",
    "Chain",
    "DiagonalScaling",
    "LULinear",
    "LearnedDequantization",
    "Logit",
    "MultiScale",
    "ScannedCouplings",
    "SplineCoupling",
    "Squeeze",
    "Standardization",
    "Whitening",
]
