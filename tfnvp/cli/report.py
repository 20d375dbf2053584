"""The command that writes a report."""

import pathlib
from typing import Annotated

import typer
from rich.progress import track

from tfnvp.cli.options import (
    DataDir,
    Dataset,
    Images,
    ImageSize,
    Json,
    Model,
    Source,
    TableFile,
    console,
    import_tensorflow,
    load_data,
    load_data_of,
    load_flow,
    print_result,
)


def report(
    model: Model,
    output: Annotated[
        pathlib.Path, typer.Option("--output", "-o", help="HTML file to write.", metavar="FILE")
    ] = pathlib.Path("report.html"),
    dataset: Dataset = None,
    images: Images = None,
    table: TableFile = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    ood: Annotated[
        str | None,
        typer.Option(help="Another data set by name, whose likelihoods are compared."),
    ] = None,
    rows: Annotated[int, typer.Option(help="Most rows of each split.", min=10)] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of choices and noise.", min=0)] = 0,
    json_output: Json = False,
) -> None:
    """Write one HTML page on a model: samples, likelihoods, latents, errors, curves, card.

    A model of a table that `tfnvp train` did not train needs its data by --table; without data, the
    page shows samples only.

    Example: tfnvp report runs/digits-real_nvp-1 -o digits.html
    """
    source = Source(dataset, images, table, data_dir=data_dir, image_size=image_size)
    import_tensorflow()
    from tfnvp.report import write_report
    from tfnvp.runs.folder import MODEL, RunFolder

    flow = load_flow(model)
    run = RunFolder.of(model)
    splits = other = None
    # Data sets of vectors cannot be loaded by name.
    stored = run.config().get("source_of_data", {})
    if flow.levels is not None or source.names_files or Source(**stored).names_files:
        splits = load_data_of(model, flow, source)
    if ood is not None:
        other = load_data(Source(ood, data_dir=data_dir), flow)
    title = run.path.resolve().name if model.name == MODEL else model.resolve().stem

    def progress(sections):
        hidden = json_output or not console.is_terminal
        return track(sections, "report", console=console, transient=True, disable=hidden)

    write_report(flow, output, splits, run.path, other, title, rows, seed, progress)
    print_result(f"report in {output}", {"output": str(output)}, json_output)
