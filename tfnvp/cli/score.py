"""The command that scores the rows of a table, or images."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from tfnvp._atomic import require_folder
from tfnvp.cli import loading, options
from tfnvp.cli.options import Source, console
from tfnvp.data.table_formats import TextOptions
from tfnvp.data.table_values import names_in

_WORST = 5
_SOURCE = ("images", "image_size", "skip_bad", "background", "follow_links")


def score(
    model: options.Model,
    table: Annotated[
        Path | None, Argument(help="Rows to score: .csv, .parquet, .npy, .npz.")
    ] = None,
    *,
    source: Annotated[Source, *_SOURCE],
    output: Annotated[
        Path | None,
        Option(
            "--output", "-o", help="The table, or names of images, with scores: .csv, .parquet."
        ),
    ] = None,
    threshold: Annotated[
        float | None, Option(help="Flag rows whose quantile is at most this. Default: 0.01.")
    ] = None,
    reference: Annotated[
        Path | None,
        Option(
            help="Usual rows, or a folder of usual images, to compare with. Default: the run's "
            "validation rows."
        ),
    ] = None,
    columns: options.Columns = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    json_output: options.Json = False,
) -> None:
    """Score rows of a table, or images: log-density, quantile among usual rows, and a flag.

    The table needs the columns that the model was trained on, by name and in any order; other
    columns are kept. Rows with missing or infinite values, or text in a column of numbers, stay in
    their place, without scores. --images DIR scores all images of a folder, at the model's size.

    Example: tfnvp score runs/data-real_nvp-1 new.csv --output scored.csv --threshold 0.01
    """
    if source.images is None if table is None else source.given:
        raise ValueError("give a table, or --images with its options")
    if output is not None:
        if output.suffix not in (".csv", ".parquet"):
            raise ValueError(f"`--output` must end in .csv or .parquet. Received: {output}")
        require_folder(output)
    options.import_tensorflow()
    from tfnvp import scoring
    from tfnvp.data.tables import store_table

    flow = (loading.load_image_flow if table is None else loading.load_flow)(model)
    of_model = known = scoring.read_reference(model)
    named = names_in(columns) or (known and known.columns)
    text = TextOptions(delimiter, encoding)
    read = functools.partial(_read, model, flow, source, table is None, named, text)
    if reference is not None:
        _, usual = read(reference)
        scoring.advise_on_training_rows(of_model, usual, reference)
        known = scoring.make_reference(flow, usual, named, reference)
    scored_file = table or source.images
    whole, rows = read(scored_file)
    scoring.advise_on_training_rows(of_model, rows, scored_file)
    scores = scoring.score(flow, rows, known, threshold)
    scored = _as_table(scores)
    names = None
    if table is None:
        names = whole["file"].to_pylist()
        bits = flow.bits_per_dim(scores.log_density)
        scored = scored.add_column(1, "bits_per_dim", [bits.astype("float64")])
    if output is not None:
        store_table(_with_scores(whole, scored, scored_file), output)
    summary = _summary(scores, known)
    if not json_output:
        _print(summary, scores, scored_file, output, names)
    elif output is None:
        listed = scored if names is None else _with_scores(whole, scored, scored_file)
        options.print_json({**summary, "scores": listed.to_pylist()})
    else:
        options.print_json({**summary, "output": str(output)})


def _read(model, flow, source, is_images, columns, text, file):
    """Returns a table, or the names of images as one, and the rows for the flow."""
    import pyarrow

    from tfnvp import scoring
    from tfnvp.data.tables import read_table

    if is_images:
        source = dataclasses.replace(source, images=file)
        names, rows = loading.read_images_of(model, flow, source)
        return pyarrow.table({"file": names}), rows
    scoring.check_flow(flow, model)
    whole = read_table(file, columns, text=text)
    return whole, scoring.rows_of(flow, whole, columns, file)


def _as_table(scores):
    """Returns the scores as columns of a table, with null in rows without a score."""
    import numpy as np
    import pyarrow

    skipped = np.isnan(scores.log_density)
    columns = {"log_density": scores.log_density.astype("float64")}
    if scores.quantile is not None:
        columns |= {"quantile": scores.quantile.astype("float64"), "outlier": scores.outlier}
    return pyarrow.table({k: pyarrow.array(v, mask=skipped) for k, v in columns.items()})


def _with_scores(table, scores, source):
    theirs = [name for name in scores.column_names if name in table.column_names]
    if 0 < len(theirs) < scores.num_columns:
        raise ValueError(
            f"{source} has a column {theirs[0]!r} of its own, a name of scores: rename it first"
        )
    for name in scores.column_names:
        if name in theirs:  # New scores replace old ones.
            table = table.set_column(table.column_names.index(name), name, scores[name])
        else:
            table = table.append_column(name, scores[name])
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
        summary["outliers"] = int(scores.outlier.sum())
        summary["threshold"] = scores.threshold
        summary["reference_rows"] = len(reference.log_density)
        summary["flagged_share"] = reference.flagged_share(scores.threshold)
    return summary


def _print(summary, scores, source, output, names):
    import numpy as np

    mean, median = summary["mean_log_density"], summary["median_log_density"]
    nats = "" if mean is None else f", log-density {mean:.3f} nats (median {median:.3f})"
    console.print(f"{summary['rows']} {'rows' if names is None else 'images'} of {source}{nats}")
    if summary["without_density"]:
        console.print(
            "rows with density 0, log-density -inf, left out of the mean: "
            f"{summary['without_density']}, the first is row {np.nanargmin(scores.log_density) + 1}"
        )
    if summary["skipped"]:
        first = np.argmax(np.isnan(scores.log_density)) + 1
        console.print(
            "rows without score, for values that are missing, infinite or text: "
            f"{summary['skipped']}, the first is row {first}"
        )
    scored = summary["rows"] - summary["skipped"]
    if not scored:
        console.print("no row has a score")
    elif "outliers" not in summary:
        file = "FILE" if names is None else "DIR"
        console.print(f"no quantiles: the model has no reference.json; give --reference {file}")
    else:
        console.print(
            f"outliers: {summary['outliers']} of {scored} (quantile at most {scores.threshold:.3g} "
            f"among the {summary['reference_rows']} rows of the reference)"
        )
        low, high = summary["flagged_share"]
        console.print(f"of usual rows, {low:.2%} to {high:.2%} are flagged (95 % interval)")
    if scored:
        listing = Table(
            "row" if names is None else "image",
            "log-density",
            "quantile",
            title="least likely",
            box=None,
        )
        for row in np.argsort(scores.log_density)[: min(_WORST, scored)]:
            quantile = "" if scores.quantile is None else f"{scores.quantile[row]:.4f}"
            name = str(row + 1) if names is None else names[row]
            listing.add_row(name, f"{scores.log_density[row]:.3f}", quantile)
        console.print(listing)
    if output is not None:
        console.print(f"scores in {output}")
