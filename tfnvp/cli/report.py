"""The command that writes a report."""

from pathlib import Path
from typing import Annotated

from rich.progress import track
from typer import Option

import tfnvp
from tfnvp.cli import completion, loading, options
from tfnvp.cli.options import Source

_SOURCE = ("dataset", "images", "table", "columns", "delimiter", "encoding", "data_dir")
_SOURCE += ("image_size", "skip_bad", "background", "follow_links")


def report(
    model: options.Model,
    *,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="HTML file to write. Default: report.html in the run folder, or here without one.",
            metavar="FILE",
            autocompletion=completion.pages,
        ),
    ] = None,
    force: options.Force = False,
    source: Annotated[Source, *_SOURCE],
    ood: Annotated[
        str | None,
        Option(
            help="Another data set by name, whose likelihoods are compared.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    rows: Annotated[int, Option(help="Most rows of each split.", min=10)] = 1000,
    seed: Annotated[int, Option(help="Seed of choices and noise.", min=0)] = 0,
    json_output: options.Json = False,
) -> None:
    """Write one HTML page on a model: samples, likelihoods, latents, errors, curves, card.

    A model of a table that `tfnvp train` did not train needs its data by --table; without data, the
    page shows samples only.

    Example: tfnvp report runs/digits-real_nvp-1 -o digits.html
    """
    from tfnvp.cli import files

    output = files.place_for(output, model, "report.html", (".html", ".htm"), force)
    files.require_dataset(ood, source.data_dir)
    options.import_tensorflow()
    from tfnvp.runs.folder import MODEL, RunFolder

    flow = loading.load_flow(model)
    run = RunFolder.of(model)
    splits = other = None
    # Other data sets of vectors cannot be loaded by name.
    is_known = run.config().get("dataset") in tfnvp.data.named.KNOWN
    if flow.levels is not None or is_known or loading.source_of(model, source).names_data:
        splits = loading.load_data_of(model, flow, source)
    if ood is not None:
        other = loading.load_data(Source(ood, data_dir=source.data_dir), flow)
    title = run.path.resolve().name if model.name == MODEL else model.resolve().stem
    console = options.console
    hidden = json_output or not console.is_terminal

    def progress(sections):
        return track(sections, "report", console=console, transient=True, disable=hidden)

    tfnvp.report.write_report(flow, output, splits, run.path, other, title, rows, seed, progress)
    options.print_result(f"report in {output}", {"output": str(output)}, json_output)
