"""The command that evaluates a model on data, and the lines on a likelihood."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tfnvp.cli.options import (
    DataDir,
    Dataset,
    Images,
    ImageSize,
    Json,
    Model,
    Records,
    SkipBad,
    Source,
    TableFile,
    console,
    import_tensorflow,
    load_data_of,
    load_flow,
    print_json,
    require_shape,
)

_SPLITS = ("train", "validation", "test")


def evaluate(
    model: Model,
    dataset: Dataset = None,
    images: Images = None,
    table: TableFile = None,
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, validation or test. Default: test, but all of a --table and of --images."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of dequantization noise.", min=1)] = 10,
    skip_bad: SkipBad = False,
    json_output: Json = False,
) -> None:
    """Print the log-likelihood of a data set under a model, with its standard error.

    Example: tfnvp evaluate runs/digits-real_nvp-1
    """
    if split not in (*_SPLITS, None):
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(_SPLITS)}")
    source = Source(
        dataset, images, table, records, data_dir=data_dir, image_size=image_size, skip_bad=skip_bad
    )
    import_tensorflow()
    from tfnvp import evaluation

    flow = load_flow(model)
    rows, of = _rows(model, flow, source, split)
    with console.status("evaluating"):
        result = evaluation.evaluate(flow, rows, draws)._asdict()
    if json_output:
        print_json(result)
    else:
        print_likelihood(result, of)


def print_likelihood(result: Mapping[str, Any], of: Any) -> None:
    """Prints the fields of a `tfnvp.evaluation.Likelihood`; `of` names the data."""
    bits = ""
    if result["bits_per_dim"] is not None:
        error = result["bits_per_dim_standard_error"]
        bits = f"   {result['bits_per_dim']:.4f} ± {error:.4f} bits/dim"
    nats = f"{result['nats']:.2f} ± {result['nats_standard_error']:.2f} nats"
    console.print(f"{of} likelihood   {nats}{bits}")
    rows = f"{result['rows']} row{'s' * (result['rows'] != 1)}"
    noise = f", {result['draws']} draws of noise each" if bits else ""
    console.print(f"                  {rows}{noise}")


def _rows(model, flow, source, split):
    """Returns the rows to evaluate, and their name."""
    from tfnvp import scoring
    from tfnvp.data import images

    if source.table is not None and source.table.suffix != ".npz" and split is None:
        return scoring.finite_rows_of(flow, source.table, model, source.skip_bad), source.table
    if source.images is not None and split is None:
        levels = flow.levels or 256
        rows = images.read_images(source.images, source.image_size, source.skip_bad, levels)
        require_shape(flow, rows.shape[1:], source.images)
        return rows, source.images
    split = split or "test"
    splits = load_data_of(model, flow, source)
    if not splits.source(split).in_memory:
        raise ValueError("training rows of records are streamed: choose --split validation or test")
    return getattr(splits, split), split
