"""The methods that are compared.

A method is a function of training rows `[n, columns]`, a seed, and whether the test rows are new:
if not, they are the training rows, among which there are anomalies, and a row does not count among
its own neighbours. It returns a function from test rows `[m, columns]` to scores `[m]`, larger for
anomalies, and a dictionary of what it chose.

A new method is a function of this name in one of the modules, which also has `PACKAGES`, those
whose versions belong to a result, and an entry here.
"""

import importlib

_MODULES = {
    "tfnvp": "flows",
    "knn": "scikit",
    "lof": "scikit",
    "isolation_forest": "scikit",
    "mcd": "scikit",
    "gaussian": "scikit",
    "gaussian_mixture": "scikit",
}

METHODS = tuple(_MODULES)


def module_of(method):
    """The module that has a method; its library is imported then."""
    return importlib.import_module(f"{__name__}.{_MODULES[method]}")
