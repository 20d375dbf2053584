"""Outlier scores of rows: log-densities, and their quantiles among usual rows."""

from tfnvp.scoring.reference import (
    FILE,
    THRESHOLD,
    Reference,
    quantiles,
    read_reference,
    smallest_hashes,
    write_reference,
)
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

__all__ = [
    "FILE",
    "THRESHOLD",
    "Reference",
    "Scores",
    "advise_on_training_rows",
    "check_flow",
    "finite_rows",
    "finite_rows_of",
    "make_reference",
    "quantiles",
    "read_reference",
    "rows_of",
    "score",
    "smallest_hashes",
    "write_reference",
]
