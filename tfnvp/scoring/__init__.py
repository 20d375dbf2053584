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
from tfnvp.scoring.tables import as_columns, score_table, with_scores

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
