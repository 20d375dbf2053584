"""The command that scores the rows of a table, or images."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated

from rich.table import Table
from typer import Argument, Option

from tfnvp.cli import files, loading, options
from tfnvp.cli.options import Source, console

_WORST = 5
_SOURCE = ("images", "image_size", "skip_bad", "background", "follow_links")


def score(
    model: options.Model,
    table: Annotated[
        Path | None, Argument(help="Rows to score: .csv, .parquet, .xlsx, .npy and others.")
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
    explain: Annotated[
        int | None,
        Option(
            help="Name so many columns for each row that make it unusual: those whose replacement "
            "by a likely value raises the log-density most.",
            min=1,
            metavar="K",
        ),
    ] = None,
    columns: options.Columns = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    force: options.Force = False,
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
    if explain is not None and table is None:
        raise ValueError("--explain names the columns of a table")
    if output is not None:
        files.place_for(output, model, "", (".csv", ".parquet"), force)
    options.import_tensorflow()
    from tfnvp import scoring
    from tfnvp.data.table_formats import TextOptions
    from tfnvp.data.table_values import names_in
    from tfnvp.data.tables import store_table

    text = TextOptions(delimiter, encoding)
    if table is None:
        flow = loading.load_image_flow(model)
        read = functools.partial(_images, model, flow, source)
    else:
        flow = loading.load_flow(model)
        read = functools.partial(_rows, flow, text=text)
    known = scoring.read_reference(model)
    named = names_in(columns) or (known and known.columns)
    if reference is not None:
        usual = read(reference, columns=named)[1]
        scoring.advise_on_training_rows(known, usual, reference)
        with scoring.advised_on(flow):
            made = scoring.make_reference(flow, usual, named, reference)
        known = made._replace(training_rows=known and known.training_rows)
    names = listed = None
    if table is None:
        names, rows = read(source.images)
        scores = scoring.score(flow, rows, known, threshold)
        listed = _of_images(flow, names, scores, source.images)
        if output is not None:
            store_table(listed, output)
    else:
        scores = scoring.score_table(flow, table, known, threshold, named, text, output, explain)
    summary = _summary(scores, known)
    if not json_output:
        _print(summary, scores, table or source.images, output, names)
    elif output is None:
        listed = listed or scoring.as_columns(scores)
        options.print_json({**summary, "scores": listed.to_pylist()})
    else:
        options.print_json({**summary, "output": str(output)})


def _images(model, flow, source, folder, columns=None):
    """Returns the names of the images of a folder, and the images."""
    return loading.read_images_of(model, flow, dataclasses.replace(source, images=folder))


def _rows(flow, file, columns, text):
    """Returns a table, and its rows for the flow."""
    from tfnvp import scoring
    from tfnvp.data.tables import read_table

    scoring.check_flow(flow, file)
    whole = read_table(file, columns, columns, text)
    return whole, scoring.rows_of(flow, whole, columns, file)


def _of_images(flow, names, scores, folder):
    """Returns the names of images and their scores as a table."""
    import pyarrow

    from tfnvp import scoring

    columns = scoring.as_columns(scores)
    bits = flow.bits_per_dim(scores.log_density).astype("float64")
    columns = columns.add_column(1, "bits_per_dim", [bits])
    return scoring.with_scores(pyarrow.table({"file": names}), columns, folder)


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
            *([] if scores.reasons is None else ["likely instead (gain in nats)"]),
            title="least likely",
            box=None,
        )
        for row in np.argsort(scores.log_density)[: min(_WORST, scored)]:
            quantile = "" if scores.quantile is None else f"{scores.quantile[row]:.4f}"
            name = str(row + 1) if names is None else names[row]
            why = [] if scores.reasons is None else [_why(scores.reasons, row)]
            listing.add_row(name, f"{scores.log_density[row]:.3f}", quantile, *why)
        console.print(listing)
    if output is not None:
        console.print(f"scores in {output}")


def _why(reasons, row):
    """Returns the reasons of a row as a text."""
    found = list(reasons.slice(row, 1).to_pylist()[0].values())
    parts = (found[i : i + 3] for i in range(0, len(found), 3))
    return ", ".join(f"{name} {value:.6g} (+{gain:.2f})" for name, gain, value in parts if gain)
