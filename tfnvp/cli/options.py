"""What the commands share: options, the console, and loading models and data.

`import tfnvp` imports no TensorFlow: the package imports a module when a command first names it.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from rich.console import Console
from typer import Argument, Option

import tfnvp
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.images import read_images
from tfnvp.data.splits import split_at_random

if TYPE_CHECKING:
    from tfnvp.data import Splits
    from tfnvp.flows import Flow

# Paths are not wrapped, for pipes and for copying.
console = Console(highlight=False, soft_wrap=True)
messages = Console(highlight=False, soft_wrap=True, stderr=True)

Model = Annotated[Path, Argument(help="A .keras file, or the run folder that holds model.keras.")]
SavedModels = Annotated[Path, Option(help="Folder of SavedModels.", metavar="DIR")]
Columns = Annotated[
    str | None,
    Option(
        help="Columns of the table, with commas between. Default: all, or those of the model, by "
        "name; others stand for these in their order.",
        metavar="NAMES",
    ),
]
Json = Annotated[bool, Option("--json", help="Print results as JSON.")]


@dataclasses.dataclass(frozen=True)
class Source:
    """The options that say where data comes from; None for those that are not given.

    Raises:
      ValueError: for options that contradict each other.
    """

    dataset: Annotated[
        str | None, Option(help="Data set by name. Default: the recipe's.", metavar="NAME")
    ] = None
    images: Annotated[Path | None, Option(help="A folder of images instead.", metavar="DIR")] = None
    table: Annotated[
        Path | None, Option(help="A table instead: .csv, .parquet, .npy, .npz.", metavar="FILE")
    ] = None
    columns: Columns = None
    records: Annotated[
        Path | None,
        Option(help="Records instead, read as a stream; see `tfnvp records`.", metavar="DIR"),
    ] = None
    data_dir: Annotated[
        Path | None, Option(help="Folder of prepared TFDS data sets.", metavar="DIR")
    ] = None
    image_size: Annotated[
        int | None, Option(help="Crop and resize images of a folder to this size.", min=2)
    ] = None
    levels: Annotated[
        int | None,
        Option(
            help="Grey levels that images of a folder get: 2 for black and white, up to 256 "
            "(default)."
        ),
    ] = None
    skip_bad: Annotated[
        bool, Option("--skip-bad", help="Leave out damaged images and rows, and count them.")
    ] = False

    def __post_init__(self) -> None:
        named = (self.dataset, self.images, self.table, self.records)
        if sum(option is not None for option in named) > 1:
            raise ValueError("give one of --dataset, --images, --table and --records")
        if self.columns is not None and self.table is None:
            raise ValueError("--columns are those of a --table")
        if self.levels is not None and self.images is None:
            raise ValueError("--levels are those of --images")

    @property
    def given(self) -> dict[str, Any]:
        """The options that are given, by their names."""
        return {name: v for name, v in vars(self).items() if v != getattr(Source, name)}

    @property
    def names_files(self) -> bool:
        """Whether the data comes from files that an option names."""
        return not self.given.keys().isdisjoint(("images", "table", "records"))

    @property
    def names_data(self) -> bool:
        """Whether an option names the data itself."""
        return self.names_files or self.dataset is not None


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a command of a function: a parameter of a dataclass becomes options, its fields.

    A parameter `Annotated[Source, "images", "table"]` becomes only the fields that it names.
    """
    parameters, groups = [], {}
    for name, parameter in inspect.signature(function).parameters.items():
        kind, *names = get_args(parameter.annotation) or [parameter.annotation]
        if dataclasses.is_dataclass(kind):
            make = command(kind)
            fields = inspect.signature(make).parameters
            groups[name] = make, names or list(fields)
            parameters += [fields[field] for field in names or fields]
        else:
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY))

    @functools.wraps(function, updated=())
    def call(**values):
        for name, (make, fields) in groups.items():
            values[name] = make(**{field: values.pop(field) for field in fields})
        return function(**values)

    call.__signature__ = inspect.Signature(parameters)
    return call


def print_json(content: Any) -> None:
    """Prints a result as JSON, with null for NaN and infinities, which JSON does not have."""
    finite = json.loads(json.dumps(content), parse_constant=lambda name: None)
    sys.stdout.write(json.dumps(finite, indent=2) + "\n")


def print_result(text: str, content: Any, json_output: bool) -> None:
    """Prints a result as text or as JSON."""
    if json_output:
        print_json(content)
    else:
        console.print(text)


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Sends the process's standard error to a file, which is shown if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held, os.fdopen(os.dup(2), "wb") as stderr:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            stderr.write(held.read())
            raise
        finally:
            stderr.flush()
            os.dup2(stderr.fileno(), 2)


def import_tensorflow() -> None:
    """Imports TensorFlow, and lets it find its devices, without the lines that its C++ prints."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_held_back():
        import tensorflow as tf

        import tfnvp.flows  # noqa: F401  (its dependencies print, too)

        # A strategy of several workers must be made before anything looks at devices.
        if "TF_CONFIG" not in os.environ:
            tf.zeros(())


def load_flow(model: Path) -> "Flow":
    """Loads the model of a command that cannot give it conditions.

    Raises:
      ValueError: for a conditional model.
    """
    from tfnvp.runs.folder import load_model

    flow = load_model(model)
    if flow.condition_shape is not None:
        raise ValueError(
            f"{model} is conditional, and only `tfnvp export` supports such models: load it in "
            "Python, by `keras.models.load_model`, and give `condition=` to its methods"
        )
    return flow


def load_data(
    source: Source,
    flow: "Flow | None" = None,
    default: str = "digits",
    division: str | None = BY_CONTENT,
    columns: Sequence[str] | None = None,
) -> "Splits":
    """Loads data, and checks that it has the flow's shape and columns, if there is a flow.

    Args:
      source: where the data comes from.
      flow: the flow that it is for.
      default: name of the data set if the source names none.
      division: how rows without a division of their own are divided, as for `split_at_random`.
      columns: names of the flow's columns, if they are known, which select those of a table. The
        columns that the source names stand for them.
    """
    if source.images is not None:
        levels = source.levels or (flow and flow.levels) or 256
        images = read_images(source.images, source.image_size, source.skip_bad, levels)
        splits = split_at_random(Path(source.images).name, images, levels, division=division)
    elif source.table is not None:
        named = source.columns or columns
        splits = tfnvp.data.load_table(source.table, source.skip_bad, named, division)
    elif source.records is not None:
        splits = tfnvp.data.read_records(source.records, source.skip_bad)
        if columns is not None and splits.columns not in (None, columns):
            raise ValueError(
                f"{splits.name} must have the model's columns {list(columns)}. Received: "
                f"{list(splits.columns)}"
            )
    else:
        splits = tfnvp.data.load_named(source.dataset or default, source.data_dir, division)
    if flow is not None:
        require_shape(flow, splits.event_shape, splits.name)
    return splits


def load_data_of(model: Path, flow: "Flow", source: Source, is_new: bool = False) -> "Splits":
    """Loads the data that a source names, or else the data that a model was trained on.

    Args:
      model: path of the model, in its run folder.
      flow: the model.
      source: where the data comes from.
      is_new: whether the data may have changed since the training: all of it is used as new data.

    Raises:
      ValueError: if the data is not what the model was trained on.
    """
    from tfnvp import scoring
    from tfnvp.runs.data_of_run import check_data
    from tfnvp.runs.folder import RunFolder
    from tfnvp.runs.resuming import division_of

    run, reference = RunFolder.of(model), scoring.read_reference(model)
    config = run.config()
    columns = reference and reference.columns
    default, division = config.get("dataset", "digits"), division_of(config)
    splits = load_data(source_of(model, source), flow, default, division, columns)
    # By the order of its rows, a file of the run's name is divided otherwise once it has changed.
    is_of_run = division is None and splits.name == default and source.records is None
    if source.dataset is not None or (source.names_files and not is_of_run):
        for part in ("validation", "test"):
            rows = getattr(splits, part)
            scoring.advise_on_training_rows(reference, rows, f"{part} of {splits.name}")
    elif not is_new:
        check_data(config, splits, run.path)
    return splits


def source_of(model: Path, source: Source) -> Source:
    """Returns a source, completed by that of the model's run unless it names data itself."""
    from tfnvp._atomic import reading
    from tfnvp.runs.folder import CONFIG, RunFolder

    if source.names_data:
        return source
    run = RunFolder.of(model)
    stored = run.source_of_data(source.given)
    with reading(run.path / CONFIG):
        return Source(**stored)


def require_shape(flow: "Flow", event_shape: tuple[int, ...], name: Any) -> None:
    """Raises `ValueError` if data does not have the flow's shape."""
    shape, hint = flow.event_shape, ""
    if event_shape != shape:
        if len(event_shape) == 3 and shape[2:] == event_shape[2:] and shape[0] == shape[1]:
            hint = f"; --image-size {shape[0]} resizes the images of a folder"
        raise ValueError(f"the model is for data of shape {shape}; {name} has {event_shape}{hint}")
