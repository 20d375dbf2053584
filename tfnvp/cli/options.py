"""What the commands share: options, the console, and loading by them."""

import json
import math
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console

# Paths stay in one piece, for pipes and for copying.
console = Console(highlight=False, soft_wrap=True)
messages = Console(highlight=False, soft_wrap=True, stderr=True)

Model = Annotated[
    pathlib.Path, typer.Argument(help="A .keras file, or the run folder that holds model.keras.")
]
SavedModels = Annotated[
    pathlib.Path, typer.Option("--saved-models", help="Folder of SavedModels.", metavar="DIR")
]
Dataset = Annotated[
    str | None, typer.Option(help="Data set by name. Default: the recipe's.", metavar="NAME")
]
Images = Annotated[
    pathlib.Path | None, typer.Option(help="A folder of images instead.", metavar="DIR")
]
TableFile = Annotated[
    pathlib.Path | None,
    typer.Option("--table", help="A table instead: .csv, .parquet, .npy, .npz.", metavar="FILE"),
]
Columns = Annotated[
    str | None,
    typer.Option(help="Columns of the table, by commas. Default: all.", metavar="NAMES"),
]
Records = Annotated[
    pathlib.Path | None,
    typer.Option(help="Records instead, which are streamed; see `tfnvp records`.", metavar="DIR"),
]
DataDir = Annotated[
    pathlib.Path | None, typer.Option(help="Folder of prepared TFDS data sets.", metavar="DIR")
]
ImageSize = Annotated[
    int | None, typer.Option(help="Crop and resize images of a folder to this size.", min=2)
]
Levels = Annotated[
    int | None,
    typer.Option(
        help="Grey levels that images of a folder get: 2 for black and white, up to 256 (default)."
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out images and rows that are damaged, and count them."),
]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]


def print_json(content):
    """Prints a result for machines."""
    sys.stdout.write(json.dumps(_as_json(content), indent=2, allow_nan=False) + "\n")


def _as_json(content):
    """Returns content with null for numbers that JSON has not: NaN and infinities."""
    if isinstance(content, dict):
        return {key: _as_json(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_as_json(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def print_result(text, content, json_output):
    """Prints a result for people, or for machines."""
    if json_output:
        print_json(content)
    else:
        console.print(text)


def import_tensorflow():
    """Imports TensorFlow quietly, at the beginning of a command's work."""
    from tfnvp.cli.quiet import import_tensorflow

    import_tensorflow()


def load_flow(model):
    """Loads the model of a command that has no conditions to give it."""
    from tfnvp.runs import folder as run_folder

    flow = run_folder.load_model(model)
    if flow.condition_shape is not None:
        raise ValueError(
            f"{model} is conditional, and of the commands only `tfnvp export` is for such models: "
            "load it in Python, by `keras.models.load_model`, and give `condition=` to its methods"
        )
    return flow


def load_data(
    flow,
    dataset=None,
    images=None,
    table=None,
    data_dir=None,
    image_size=None,
    default="digits",
    records=None,
    skip_bad=False,
    columns=None,
    levels=None,
):
    """Loads the data that the options name, and checks that it is of the flow's shape, if any."""
    from tfnvp import data

    require_one_source(dataset, images, table, records)
    if columns is not None and table is None:
        raise ValueError("--columns are those of a --table")
    if levels is not None and images is None:
        raise ValueError("--levels are those of --images")
    if images is not None:
        levels = levels or (flow and flow.levels) or 256
        splits = data.load_images(images, image_size, skip_bad, levels)
    elif table is not None:
        splits = data.load_table(table, skip_bad, columns)
    elif records is not None:
        splits = data.read_records(records, skip_bad)
    else:
        splits = data.load_named(dataset or default, data_dir)
    if flow is not None:
        require_shape(flow, splits.event_shape, splits.name)
    return splits


def require_one_source(*options):
    """Raises `ValueError` where several options name data."""
    if sum(option is not None for option in options) > 1:
        raise ValueError("give one of --dataset, --images, --table and --records")


def require_shape(flow, event_shape, name):
    """Raises `ValueError` for data that has not the flow's shape."""
    if event_shape != flow.event_shape:
        is_image = len(event_shape) == 3 and flow.event_shape[2:] == event_shape[2:]
        square = is_image and flow.event_shape[0] == flow.event_shape[1]
        hint = f"; --image-size {flow.event_shape[0]} makes such of a folder's images" * square
        raise ValueError(
            f"the model is for data of shape {flow.event_shape}; {name} has {event_shape}{hint}"
        )


def load_data_of(model, flow, **options):
    """Loads the data that the options name, or else what the model in a run folder was trained on.

    Args:
      model: path of the model.
      flow: the model.
      **options: those of `load_data`; None for what was not given.
    """
    from tfnvp.runs import folder as run_folder

    config = run_folder.read_config(model)
    options = {name: value for name, value in options.items() if value is not None}
    if not options.keys() & {"dataset", "images", "table", "records"}:
        options = {**config.get("source_of_data", {}), **options}
    return load_data(flow, default=config.get("dataset", "digits"), **options)
