"""Data sets, and the way from stored numbers to what a flow trains on."""

from tfnvp.data.dequantization import dequantize, quantize
from tfnvp.data.digits import load_digits
from tfnvp.data.files import load_images, load_table
from tfnvp.data.finite_rows import FiniteRows
from tfnvp.data.named import load_named
from tfnvp.data.pipeline import Epoch, training_dataset
from tfnvp.data.splits import Splits

__all__ = [
    "Epoch",
    "FiniteRows",
    "Splits",
    "dequantize",
    "load_digits",
    "load_images",
    "load_named",
    "load_table",
    "quantize",
    "training_dataset",
]
