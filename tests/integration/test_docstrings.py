"""The examples in docstrings run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import tfnvp
from tests.integration.pages import missing_package
from tests.integration.short_trainings import short_trainings

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(tfnvp.__path__, "tfnvp.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    if package := missing_package(name):
        pytest.skip(f"needs the package {package}")
    module = importlib.import_module(name)
    # Graphs pay where an example fits an estimator.
    few_steps = "steps=20" not in inspect.getsource(module)
    with short_trainings(epochs=5, eagerly=few_steps):
        assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
