"""Data sets, and the way from stored numbers to what a flow trains on."""

from tfnvp.data.dequantization import dequantize, quantize
from tfnvp.data.digits import load_digits
from tfnvp.data.pipeline import training_dataset

__all__ = ["dequantize", "load_digits", "quantize", "training_dataset"]
