"""Data sets: reading, dividing and batching them.

Names that need TensorFlow are imported on first use: the readers of tables and images do not.
"""

import importlib
from typing import TYPE_CHECKING

from tfnvp.data.benchmark_tables import load_benchmark_table, patches_to_rows
from tfnvp.data.digits import load_digits
from tfnvp.data.images import ImageFolder, image_chunks, load_images
from tfnvp.data.splits import DataSource, Splits, as_source
from tfnvp.data.tables import load_table, table_chunks, table_columns

if TYPE_CHECKING:
    from tfnvp.data.named import load_named
    from tfnvp.data.pipeline import Epoch, FiniteRows, training_dataset
    from tfnvp.data.record_stream import RecordStream
    from tfnvp.data.records import check_records, read_records, write_records
    from tfnvp.quantization import dequantize, quantize

# The other public names, by the module that defines them.
_NAMES = {
    "tfnvp.data.named": ("load_named",),
    "tfnvp.data.pipeline": ("Epoch", "FiniteRows", "training_dataset"),
    "tfnvp.data.record_stream": ("RecordStream",),
    "tfnvp.data.records": ("check_records", "read_records", "write_records"),
    "tfnvp.quantization": ("dequantize", "quantize"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "DataSource",
    "Epoch",
    "FiniteRows",
    "ImageFolder",
    "RecordStream",
    "Splits",
    "as_source",
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


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if f"tfnvp.data.{name}" in _NAMES:
        return importlib.import_module(f"tfnvp.data.{name}")
    raise AttributeError(f"module 'tfnvp.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
