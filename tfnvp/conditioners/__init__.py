"""Networks, as Keras layers, from the variables that pass a coupling to its parameters."""

from tfnvp.conditioners.mlp import MLP

__all__ = ["MLP"]
