"""Data sets, and the way from stored numbers to what a flow trains on."""

from tfnvp.data.benchmark_tables import load_benchmark_table
from tfnvp.data.chunks import image_chunks, table_chunks, table_columns
from tfnvp.data.digits import load_digits
from tfnvp.data.finite_rows import FiniteRows
from tfnvp.data.images import load_images
from tfnvp.data.named import load_named
from tfnvp.data.patches import patches_to_rows
from tfnvp.data.pipeline import Epoch, training_dataset
from tfnvp.data.records import RecordStream, check_records, read_records, write_records
from tfnvp.data.splits import Splits
from tfnvp.data.tables import load_table
from tfnvp.quantization import dequantize, quantize

__all__ = [
    "Epoch",
    "FiniteRows",
    "RecordStream",
    "Splits",
    "check_records",
    "dequantize",
    "image_chunks",
    "load_benchmark_table",
    "load_digits",
    "load_images",
    "load_named",
    "load_table",
    "patches_to_rows",
    "quantize",
    "read_records",
    "table_chunks",
    "table_columns",
    "training_dataset",
    "write_records",
]
