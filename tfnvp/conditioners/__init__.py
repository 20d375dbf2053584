"""Networks, as Keras layers, from the variables that pass a coupling to its parameters."""

from tfnvp.conditioners.gated_cnn import GatedConvNet
from tfnvp.conditioners.gradient_checkpointing import GradientCheckpointing
from tfnvp.conditioners.mlp import MLP
from tfnvp.conditioners.residual_cnn import ResidualCNN
from tfnvp.conditioners.standardized_condition import StandardizedCondition
from tfnvp.conditioners.vision_transformer import VisionTransformer

__all__ = [
    "MLP",
    "GatedConvNet",
    "GradientCheckpointing",
    "ResidualCNN",
    "StandardizedCondition",
    "VisionTransformer",
]
