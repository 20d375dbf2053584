"""Outlier scores of rows: log-densities, and their quantiles among usual rows.

The reference, a file of a run folder, needs no TensorFlow; scores import it on first use.
"""

import importlib
from typing import TYPE_CHECKING

from tfnvp.scoring.reference import (
    FILE,
    THRESHOLD,
    Reference,
    quantiles,
    read_reference,
    smallest_hashes,
    write_reference,
)

if TYPE_CHECKING:
    from tfnvp.scoring.explanation import Explanation, replacement_gains
    from tfnvp.scoring.rows import (
        advise_on_support,
        advise_on_training_rows,
        advised_on,
        check_flow,
        finite_rows,
        finite_rows_of,
        rows_of,
    )
    from tfnvp.scoring.scores import Scores, make_reference, score
    from tfnvp.scoring.tables import as_columns, score_table, with_scores

# Names that need TensorFlow, by their modules.
_NAMES = {
    "explanation": ("Explanation", "replacement_gains"),
    "tables": ("as_columns", "score_table", "with_scores"),
    "scores": ("Scores", "make_reference", "score"),
    "rows": (
        "advise_on_support",
        "advise_on_training_rows",
        "advised_on",
        "check_flow",
        "finite_rows",
        "finite_rows_of",
        "rows_of",
    ),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "FILE",
    "THRESHOLD",
    "Explanation",
    "Reference",
    "Scores",
    "advise_on_support",
    "advise_on_training_rows",
    "advised_on",
    "as_columns",
    "check_flow",
    "finite_rows",
    "finite_rows_of",
    "make_reference",
    "quantiles",
    "read_reference",
    "replacement_gains",
    "rows_of",
    "score",
    "score_table",
    "smallest_hashes",
    "with_scores",
    "write_reference",
]


def __getattr__(name: str) -> object:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"tfnvp.scoring.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'tfnvp.scoring' has no attribute {name!r}")
