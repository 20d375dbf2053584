"""Normalizing flows for TensorFlow: NICE, Real NVP and spline couplings as TFP bijectors.

Importing the package registers its classes with Keras, so that `keras.saving.load_model` finds
them. Only the command line, `tfnvp` or `python -m tfnvp`, registers them on first use instead:
`tfnvp --help` does not wait for TensorFlow.
"""

import importlib
import pathlib
import re
import sys
from typing import TYPE_CHECKING, Any

from tfnvp._version import __version__

if TYPE_CHECKING:
    from tfnvp import (
        bases,
        bijectors,
        callbacks,
        conditioners,
        data,
        evaluation,
        export,
        optimizers,
        partitions,
        plotting,
        pretrained,
        recipes,
        report,
        scoring,
        sklearn,
        testing,
    )
    from tfnvp.flows import NICE, Flow, ImageRealNVP, Jet, NeuralSplineFlow, RealNVP
    from tfnvp.pretrained import load_pretrained

__all__ = [
    "NICE",
    "Flow",
    "ImageRealNVP",
    "Jet",
    "NeuralSplineFlow",
    "RealNVP",
    "__version__",
    "bases",
    "bijectors",
    "callbacks",
    "conditioners",
    "data",
    "evaluation",
    "export",
    "load_pretrained",
    "optimizers",
    "partitions",
    "plotting",
    "pretrained",
    "recipes",
    "report",
    "scoring",
    "sklearn",
    "testing",
]

# Public names that are not modules, by the module that defines them.
_FLOWS = ("Flow", "ImageRealNVP", "Jet", "NICE", "NeuralSplineFlow", "RealNVP")
_DEFINED_IN = dict.fromkeys(_FLOWS, "tfnvp.flows")
_DEFINED_IN["load_pretrained"] = "tfnvp.pretrained"


def __getattr__(name: str) -> Any:
    if name in _DEFINED_IN:
        return getattr(importlib.import_module(_DEFINED_IN[name]), name)
    if name in __all__:
        return importlib.import_module(f"tfnvp.{name}")
    raise AttributeError(f"module 'tfnvp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _is_command(arguments):
    """Tells whether a process is the command line, from its `sys.orig_argv`.

    `sys.argv` cannot tell: while the package is imported it is `["-m", ...]` for every module.

    >>> _is_command(["python", "-m", "tfnvp", "--help"]), _is_command(["python", "/bin/tfnvp"])
    (True, True)
    >>> _is_command(["python", "-m", "app", "tfnvp"]), _is_command(["python"])
    (False, False)
    """
    rest = iter(arguments[1:])
    for argument in rest:
        if not argument.startswith("-"):
            return pathlib.Path(argument).stem == "tfnvp"
        # The first letter of an option that takes a value, and the value if it is not the next one.
        option = re.match(r"-[^-]*?([cmWX])(.*)", argument)
        if option or argument == "--check-hash-based-pycs":
            value = (option and option[2]) or next(rest, "")
        if option and option[1] in "cm":
            return option[1] == "m" and value in ("tfnvp", "tfnvp.__main__")
    return False


if not _is_command(sys.orig_argv):
    importlib.import_module("tfnvp.flows")
