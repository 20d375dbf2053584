"""Normalizing flows as Keras models."""

from tfnvp.flows.flow import Flow
from tfnvp.flows.image_real_nvp import ImageRealNVP
from tfnvp.flows.jet import Jet
from tfnvp.flows.neural_spline_flow import NeuralSplineFlow
from tfnvp.flows.nice import NICE
from tfnvp.flows.real_nvp import RealNVP

__all__ = ["NICE", "Flow", "ImageRealNVP", "Jet", "NeuralSplineFlow", "RealNVP"]
