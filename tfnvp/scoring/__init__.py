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
    from tfnvp.scoring.scores import (
        Scores,
        advise_on_training_rows,
        check_flow,
        finite_rows,
        finite_rows_of,
        make_reference,
        rows_of,
        score,
    )
    from tfnvp.scoring.tables import as_columns, score_table, with_scores

# Names of `tfnvp.scoring.tables`; all others that need TensorFlow are of `tfnvp.scoring.scores`.
_OF_TABLES = ("as_columns", "score_table", "with_scores")

__all__ = [
    "FILE",
    "THRESHOLD",
    "Reference",
    "Scores",
    "advise_on_training_rows",
    "as_columns",
    "check_flow",
    "finite_rows",
    "finite_rows_of",
    "make_reference",
    "quantiles",
    "read_reference",
    "rows_of",
    "score",
    "score_table",
    "smallest_hashes",
    "with_scores",
    "write_reference",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        module = "tables" if name in _OF_TABLES else "scores"
        return getattr(importlib.import_module(f"tfnvp.scoring.{module}"), name)
    raise AttributeError(f"module 'tfnvp.scoring' has no attribute {name!r}")
