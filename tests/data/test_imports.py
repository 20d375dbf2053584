"""Readers of files load neither TensorFlow nor scikit-learn."""

import pathlib
import subprocess
import sys

import tfnvp
from tfnvp import data

# The package itself may load TensorFlow, which registers its classes: an empty one stands for it.
IMPORTS = """
import importlib, sys, types
package = types.ModuleType("tfnvp")
package.__path__ = [sys.argv[1]]
sys.modules["tfnvp"] = package
for name in sys.argv[2:]:
    importlib.import_module(f"tfnvp.{name}")
print(*sorted({"tensorflow", "keras", "sklearn", "PIL", "pyarrow"} & set(sys.modules)))
"""
READERS = ("tables", "images", "splits", "digits", "benchmark_tables")


def test_readers_load_no_heavy_libraries():
    names = ["advice", "data", *(f"data.{name}" for name in READERS)]
    command = [sys.executable, "-c", IMPORTS, str(pathlib.Path(tfnvp.__file__).parent), *names]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_every_public_name_is_there():
    assert set(data.__all__) <= set(dir(data))
    assert all(hasattr(data, name) for name in data.__all__)
    assert data.tables.load_table is data.load_table
    assert not hasattr(data, "nothing")
