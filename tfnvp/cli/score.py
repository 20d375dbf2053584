"""The command that scores the rows of a table."""

import pathlib
from typing import Annotated

import typer
from rich.table import Table

from tfnvp._atomic import require_folder
from tfnvp.cli.options import Json, Model, console, import_tensorflow, load_flow, print_json

_WORST = 5


def score(
    model: Model,
    table: Annotated[
        pathlib.Path, typer.Argument(help="Rows to score: .csv, .parquet, .npy, .npz.")
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", help="The table with its scores: .csv, .parquet."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Flag rows whose quantile is at most this. Default: 0.01."),
    ] = None,
    reference: Annotated[
        pathlib.Path | None,
        typer.Option(help="Usual rows to compare with. Default: the run's validation rows."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Score the rows of a table: log-density, quantile among usual rows, and a flag.

    The table needs the columns that the model was trained on, by name and in any order; other
    columns are kept. Rows with missing or infinite values, or text in a column of numbers, stay in
    their place, without scores.

    Example: tfnvp score runs/data-real_nvp-1 new.csv --output scored.csv --threshold 0.01
    """
    import_tensorflow()
    from tfnvp import scoring
    from tfnvp.data.tables import read_table, store_table
    from tfnvp.runs.folder import RunFolder

    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise ValueError(f"`--output` must end in .csv or .parquet. Received: {output}")
    if output is not None:
        require_folder(output)
    flow = load_flow(model)
    scoring.check_flow(flow, model)
    known = RunFolder.of(model).reference()
    columns = known.columns if known else None
    if reference is not None:
        usual = scoring.rows_of(flow, read_table(reference), columns, reference)
        known = scoring.make_reference(flow, usual, columns, reference)
    whole = read_table(table, columns)
    scores = scoring.score(flow, scoring.rows_of(flow, whole, columns, table), known, threshold)
    if output is not None:
        store_table(_with_scores(whole, scores, table), output)
    if json_output:
        content = _summary(scores, known)
        content.update({"output": str(output)} if output else {"scores": _per_row(scores)})
        print_json(content)
    else:
        _print(scores, known, table, output)


def _columns(scores):
    """Returns the scores by the names of their columns, with None for rows without a score."""
    import numpy as np

    named = {k: v for k, v in scores._asdict().items() if isinstance(v, np.ndarray)}
    skipped = np.isnan(scores.log_density)
    return {
        name: [
            None if skip else value for value, skip in zip(values.tolist(), skipped, strict=True)
        ]
        for name, values in named.items()
    }


def _per_row(scores):
    columns = _columns(scores)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _with_scores(table, scores, source):
    import pyarrow

    types = {"outlier": pyarrow.bool_()}
    columns = _columns(scores)
    theirs = [name for name in columns if name in table.column_names]
    if 0 < len(theirs) < len(columns):
        raise ValueError(
            f"{source} has a column {theirs[0]!r} of its own, a name of scores: rename it first"
        )
    for name, values in columns.items():
        column = pyarrow.array(values, types.get(name, pyarrow.float64()))
        if name in table.column_names:  # New scores replace old ones.
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


def _summary(scores, reference):
    import numpy as np

    scored = scores.log_density[~np.isnan(scores.log_density)]
    finite = scored[np.isfinite(scored)]
    summary = {
        "rows": len(scores.log_density),
        "skipped": scores.skipped,
        "without_density": len(scored) - len(finite),
        "mean_log_density": float(finite.mean(dtype="float64")) if len(finite) else None,
        "median_log_density": float(np.median(scored)) if len(scored) else None,
    }
    if reference is not None:
        summary |= {
            "outliers": int(scores.outlier.sum()),
            "threshold": scores.threshold,
            "reference_rows": len(reference.log_density),
        }
    return summary


def _print(scores, reference, table, output):
    import numpy as np

    summary = _summary(scores, reference)
    mean, median = summary["mean_log_density"], summary["median_log_density"]
    scored = summary["rows"] - summary["skipped"]
    console.print(f"{summary['rows']} rows of {table}", end="")
    console.print("" if mean is None else f", log-density {mean:.3f} nats (median {median:.3f})")
    if summary["without_density"]:
        first = int(np.argmin(scores.log_density)) + 1
        console.print(
            "rows with density 0, log-density -inf, left out of the mean: "
            f"{summary['without_density']}, the first is row {first}"
        )
    if summary["skipped"]:
        first = int(np.argmax(np.isnan(scores.log_density))) + 1
        console.print(
            "rows without score, for values that are missing, infinite or text: "
            f"{summary['skipped']}, the first is row {first}"
        )
    if not scored:
        console.print("no row has a score")
    elif reference is None:
        console.print("no quantiles: the model has no reference.json; give --reference FILE")
    else:
        console.print(
            f"outliers: {summary['outliers']} of {scored} (quantile at most {scores.threshold:.3g} "
            f"among the {summary['reference_rows']} rows of the reference)"
        )
    worst = np.argsort(scores.log_density)[: min(_WORST, scored)]
    listing = Table("row", "log-density", "quantile", title="least likely", box=None)
    for row in worst:
        quantile = "" if reference is None else f"{scores.quantile[row]:.4f}"
        listing.add_row(str(row + 1), f"{scores.log_density[row]:.3f}", quantile)
    if scored:
        console.print(listing)
    if output is not None:
        console.print(f"scores in {output}")
