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
):
    """Write one HTML page on a model: samples, likelihoods, latents, errors, curves, card.

    A model of a table that was not trained by this command needs its data by --table; without, it
    is shown by its own samples.

    Example: tfnvp report runs/digits-real_nvp-1 -o digits.html
    """
    import_tensorflow()
    from tfnvp.report import write_report
    from tfnvp.runs import folder as run_folder

    flow = load_flow(model)
    options = {"dataset": dataset, "images": images, "table": table}
    options |= {"data_dir": data_dir, "image_size": image_size}
    splits = other = None
    # Data sets of vectors have no names to load them by.
    if flow.levels is not None or any((images, table, *_sources(model))):
        splits = load_data_of(model, flow, **options)
    if ood is not None:
        other = load_data(flow, ood, data_dir=data_dir)
    folder = model if model.is_dir() else model.parent
    title = folder.resolve().name if model.name == run_folder.MODEL else model.resolve().stem

    def progress(sections):
        hidden = json_output or not console.is_terminal
        return track(sections, "report", console=console, transient=True, disable=hidden)

    write_report(flow, output, splits, folder, other, title, rows, seed, progress)
    print_result(f"report in {output}", {"output": str(output)}, json_output)


def _sources(model):
    """Where the run of a model had its data from, if from files."""
    from tfnvp.runs import folder as run_folder

    stored = run_folder.read_config(model).get("source_of_data", {})
    return [stored[name] for name in ("images", "table", "records") if name in stored]
