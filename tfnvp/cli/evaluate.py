"""The command that evaluates a model on data, and the lines on a likelihood."""

from collections.abc import Mapping
from typing import Annotated, Any

from typer import Option

import tfnvp
from tfnvp.cli import loading, options
from tfnvp.cli.options import Source

_SPLITS = ("train", "validation", "test")
_SOURCE = ("dataset", "images", "table", "records", "data_dir", "image_size", "skip_bad")
_SOURCE += ("background", "follow_links")


def evaluate(
    model: options.Model,
    source: Annotated[Source, *_SOURCE],
    split: Annotated[
        str | None,
        Option(
            help="train, validation or test. Default: test, but all of a --table and of --images."
        ),
    ] = None,
    draws: Annotated[int, Option(help="Draws of dequantization noise.", min=1)] = 10,
    json_output: options.Json = False,
) -> None:
    """Print the log-likelihood of a data set under a model, with its standard error.

    Example: tfnvp evaluate runs/digits-real_nvp-1
    """
    if split not in (*_SPLITS, None):
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(_SPLITS)}")
    options.import_tensorflow()
    flow = loading.load_flow(model)
    rows, name = _rows_and_name(model, flow, source, split)
    with options.console.status("evaluating"):
        result = tfnvp.evaluation.evaluate(flow, rows, draws)._asdict()
    if json_output:
        options.print_json(result)
    else:
        print_likelihood(result, name)


def print_likelihood(result: Mapping[str, Any], of: Any) -> None:
    """Prints the fields of a `tfnvp.evaluation.Likelihood`; `of` names the data."""
    line = f"{of} likelihood   {result['nats']:.2f} ± {result['nats_standard_error']:.2f} nats"
    rows = f"{result['rows']} row{'s' * (result['rows'] != 1)}"
    if result["bits_per_dim"] is not None:
        error = result["bits_per_dim_standard_error"]
        line += f"   {result['bits_per_dim']:.4f} ± {error:.4f} bits/dim"
        rows += f", {result['draws']} draws of noise each"
    options.console.print(f"{line}\n                  {rows}")


def _rows_and_name(model, flow, source, split):
    table, skip_bad = source.table, source.skip_bad
    if table is not None and table.suffix != ".npz" and split is None:
        return tfnvp.scoring.finite_rows_of(flow, table, model, skip_bad), table
    if source.images is not None and split is None:
        return loading.read_images_of(model, flow, source)[1], source.images
    split = split or "test"
    splits = loading.load_data_of(model, flow, source)
    if not splits.source(split).in_memory:
        raise ValueError("training rows of records are streamed: choose --split validation or test")
    return getattr(splits, split), split
