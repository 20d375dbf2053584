"""Normalizing flows for TensorFlow: NICE and Real NVP as TFP bijectors and Keras models.

Importing the package registers its classes with Keras, so that `keras.saving.load_model` finds
them. Only the command line loads them on first use: `tfnvp --help` does not wait for TensorFlow.
"""

import importlib
import pathlib
import sys

from tfnvp._version import __version__

_FLOWS = ("Flow", "ImageRealNVP", "NICE", "RealNVP")
_MODULES = (
    "bases",
    "bijectors",
    "callbacks",
    "conditioners",
    "data",
    "evaluation",
    "export",
    "optimizers",
    "partitions",
    "plotting",
    "pretrained",
    "recipes",
    "report",
    "scoring",
    "testing",
)

__all__ = [*_FLOWS, *_MODULES, "__version__", "load_pretrained"]


def __getattr__(name):
    if name in _FLOWS:
        return getattr(importlib.import_module("tfnvp.flows"), name)
    if name in _MODULES:
        return importlib.import_module(f"tfnvp.{name}")
    if name == "load_pretrained":
        return importlib.import_module("tfnvp.pretrained").load_pretrained
    raise AttributeError(f"module 'tfnvp' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)


def _started_as_command():
    # Python runs the package's __init__ before __main__, when the name is still "-m".
    return sys.argv[:1] == ["-m"] or pathlib.Path(sys.argv[0] if sys.argv else "").stem == "tfnvp"


if not _started_as_command():
    importlib.import_module("tfnvp.flows")
