"""The command that draws samples."""

from pathlib import Path
from typing import Annotated

from typer import Option

import tfnvp
from tfnvp.cli import options


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
            help="PNG picture, .csv or .parquet table, or .npy array. Default: samples.png, or "
            "samples.csv for more than two columns.",
            metavar="FILE",
        ),
    ] = None,
    json_output: options.Json = False,
) -> None:
    """Draw samples from a model and write them as a picture, a table or an array.

    Example: tfnvp sample runs/digits-real_nvp-1 -n 64 --temperature 0.8 --seed 1
    """
    options.import_tensorflow()
    import numpy as np

    from tfnvp.plotting import save_samples

    flow = options.load_flow(model)
    samples = flow.sample(n, seed=seed, temperature=temperature).numpy()
    is_table = len(flow.event_shape) == 1
    if output is None:
        output = Path("samples.csv" if is_table and flow.event_size > 2 else "samples.png")
    if output.suffix in (".csv", ".parquet") and is_table:
        known = tfnvp.scoring.read_reference(model)
        tfnvp.data.tables.write_table(output, samples, known.columns if known else None)
    elif output.suffix == ".npy":
        np.save(output, samples)
    elif output.suffix != ".png" or save_samples(output, samples, flow.levels) is None:
        raise ValueError(
            f"samples of shape {flow.event_shape} cannot be written to {output}: give an --output "
            f"that ends in {'.csv, .parquet' if is_table else '.png'} or .npy"
        )
    result = {"output": str(output), "samples": n}
    options.print_result(f"{n} samples in {output}", result, json_output)
