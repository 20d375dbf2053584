"""The command that evaluates a model on data, and the lines on a likelihood."""

from collections.abc import Mapping
from typing import Annotated, Any

from typer import Option

import tfnvp
from tfnvp.cli import completion, loading, options
from tfnvp.cli.options import Source

_SPLITS = ("train", "validation", "test")
_SOURCE = ("dataset", "images", "table", "columns", "delimiter", "encoding", "records")
_SOURCE += ("data_dir", "image_size", "skip_bad", "background", "follow_links")


def evaluate(
    model: options.Model,
    source: Annotated[Source, *_SOURCE],
    split: Annotated[
        str | None,
        Option(
            help="train, validation or test. Default: test, but all of a --table and of --images."
        ),
    ] = None,
    all_rows: Annotated[
        bool,
        Option("--all-rows", help="All rows of the run's data, as new ones, if it has changed."),
    ] = False,
    draws: Annotated[int, Option(help="Draws of dequantization noise.", min=1)] = 10,
    bound: Annotated[
        str,
        Option(
            help="elbo, the mean over the draws, or iwae, the logarithm of the mean of densities.",
            autocompletion=completion.choices("bound"),
        ),
    ] = "elbo",
    json_output: options.Json = False,
) -> None:
    """Print the log-likelihood of a data set under a model, with its standard error.

    Example: tfnvp evaluate runs/digits-real_nvp-1
    """
    if split not in (*_SPLITS, None):
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(_SPLITS)}")
    if split is not None and all_rows:
        raise ValueError("give --split or --all-rows, not both")
    options.import_tensorflow()
    flow = loading.load_flow(model)
    rows, name = _rows_and_name(model, flow, source, "all" if all_rows else split)
    with options.console.status("evaluating"), tfnvp.scoring.advised_on(flow):
        result = tfnvp.evaluation.evaluate(flow, rows, draws, bound=bound)._asdict()
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
        rows += f", {result['draws']} draws of noise each ({result['bound']})"
    options.console.print(f"{line}\n                  {rows}")


def _rows_and_name(model, flow, source, split):
    """Returns the rows of a split, or of "all"; without one, of "all" of files that are given.

    What the flow would warn of without their names is said.
    """
    import numpy as np

    from tfnvp.data.table_formats import TextOptions
    from tfnvp.data.table_values import names_in
    from tfnvp.data.tables import is_divided

    files = loading.source_of(model, source) if split == "all" else source
    if split in ("all", None) and files.table is not None and not is_divided(files.table):
        named, text = names_in(files.columns), TextOptions(files.delimiter, files.encoding)
        read = tfnvp.scoring.finite_rows_of
        return read(flow, files.table, model, files.skip_bad, named, text), files.table
    if split in ("all", None) and files.images is not None:
        return loading.read_images_of(model, flow, files)[1], files.images
    splits = loading.load_data_of(model, flow, source, is_new=split == "all")
    parts = _SPLITS if split == "all" else [split or "test"]
    if not all(splits.source(part).in_memory for part in parts):
        raise ValueError("training rows of records are streamed: choose --split validation or test")
    rows = np.concatenate(splits[1:4]) if split == "all" else getattr(splits, parts[0])
    if rows.ndim == 2 and flow.levels is None:
        tfnvp.scoring.advise_on_support(flow, rows, splits.columns, splits.name)
    return rows, splits.name if split == "all" else parts[0]
