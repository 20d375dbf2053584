"""The command that draws samples."""

from pathlib import Path
from typing import Annotated

from typer import Option

import tfnvp
from tfnvp.cli import completion, loading, options

_ENDINGS = (".png", ".csv", ".parquet", ".npy")


def sample(
    model: options.Model,
    n: Annotated[int, Option("--number", "-n", help="How many samples.", min=1)] = 100,
    temperature: Annotated[float, Option(help="0 or more; below 1: less varied.")] = 1.0,
    seed: Annotated[int | None, Option(help="Seed, for reproducible samples.")] = None,
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="PNG picture, .csv or .parquet table, or .npy array. Default: samples-1.png in "
            "the run folder, or samples.png here without one; .csv for more than two columns.",
            metavar="FILE",
            autocompletion=completion.samples,
        ),
    ] = None,
    separate: Annotated[
        Path | None,
        Option(
            help="Folder for one PNG file a sample, 001.png and so on, instead of one picture.",
            metavar="DIR",
        ),
    ] = None,
    whole: Annotated[
        str | None,
        Option(
            "--round",
            help="Columns of whole numbers: their samples are rounded, inside of their bounds.",
            metavar="A,B",
        ),
    ] = None,
    force: Annotated[
        bool,
        Option("--force", help="Replace a file, or write into a folder that holds other files."),
    ] = False,
    json_output: options.Json = False,
) -> None:
    """Draw samples from a model and write them as a picture, a table, an array or single images.

    Example: tfnvp sample runs/digits-real_nvp-1 -n 64 --temperature 0.8 --seed 1
    """
    from tfnvp.cli import files

    if separate is not None:
        _check_folder(separate, output, force)
    elif output is not None:
        files.place_for(output, model, "", _ENDINGS, force)
    options.import_tensorflow()
    import numpy as np

    from tfnvp._atomic import replacing
    from tfnvp.plotting import save_samples, save_separately
    from tfnvp.runs.folder import SAMPLES

    flow = (loading.load_flow if separate is None else loading.load_image_flow)(model)
    is_table = len(flow.event_shape) == 1
    known = tfnvp.scoring.read_reference(model) if is_table else None
    columns = (known and known.columns) or [f"x{i + 1}" for i in range(flow.event_shape[0])]
    if output is None and separate is None:
        default = "samples.csv" if is_table and flow.event_size > 2 else SAMPLES
        output = files.place_for(None, model, default, _ENDINGS, force)
    samples = flow.sample(n, seed=seed, temperature=temperature).numpy()
    if whole is not None:
        samples = _rounded(samples, whole, columns if is_table else (), flow)
    if separate is not None:
        output = separate
        save_separately(separate, samples, flow.levels)
    elif output.suffix in (".csv", ".parquet") and is_table:
        tfnvp.data.tables.write_table(output, samples, columns)
    elif output.suffix == ".npy":
        with replacing(output) as temporary:
            np.save(temporary, samples)
    elif output.suffix != ".png" or save_samples(output, samples, flow.levels) is None:
        raise ValueError(
            f"samples of shape {flow.event_shape} cannot be written to {output}: give an --output "
            f"that ends in {'.csv, .parquet' if is_table else '.png'} or .npy"
        )
    result = {"output": str(output), "samples": n}
    options.print_result(f"{n} samples in {output}", result, json_output)


def _rounded(samples, whole, columns, flow):
    """Returns samples `[n, columns]` with whole numbers in some columns."""
    from tfnvp.data.table_values import check_names, names_in
    from tfnvp.inputs.bounds import intervals, whole_inside

    names = names_in(whole)
    check_names(names, columns, "the model")
    bounds = intervals(getattr(flow, "bounds", None), getattr(flow, "circular", None))
    bounds = bounds or [None] * len(columns)
    for i in map(columns.index, names):
        samples[:, i] = whole_inside(samples[:, i], bounds[i])
    return samples


def _check_folder(folder, output, force):
    """Raises `ValueError` if single images cannot be written, or would mix with other files."""
    if output is not None:
        raise ValueError("give --output or --separate, not both")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    if not force and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: choose another folder, or give --force")
