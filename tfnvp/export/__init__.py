"""Flows as SavedModels that TensorFlow Serving, or any TensorFlow runtime, runs without us."""

from tfnvp.export.saved_model import export
from tfnvp.export.signatures import SIGNATURES

__all__ = ["SIGNATURES", "export"]
