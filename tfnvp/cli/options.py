"""What the commands share: options and the console.

`import tfnvp` imports no TensorFlow: the package imports a module when a command first names it.
"""

import contextlib
import dataclasses
import functools
import inspect
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from rich.console import Console
from typer import Argument, Option

from tfnvp._atomic import json_text
from tfnvp.cli import completion
from tfnvp.cli.interrupts import ending_at_once


class Lines(Console):
    """A console that wraps lines between words on terminals, and nowhere else."""

    soft_wrap = property(lambda self: not self.is_terminal, lambda self, value: None)


# Names of files and columns are printed as they are: nothing in them is markup or an emoji.
_PLAIN = {"highlight": False, "markup": False, "emoji": False}
console = Lines(**_PLAIN)
messages = Lines(**_PLAIN, stderr=True)

Model = Annotated[
    Path,
    Argument(
        help="A .keras file, the run folder that holds model.keras, or a model that ships: digits, "
        "digits-nice, mnist, mnist-modern, two-moons.",
        autocompletion=completion.models,
    ),
]
Force = Annotated[bool, Option("--force", help="Replace files that exist.")]
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
Delimiter = Annotated[
    str | None,
    Option(help="Character between values of a table of text. Default: found.", metavar="CHAR"),
]
Encoding = Annotated[
    str | None, Option(help="Encoding of a table of text. Default: UTF-8.", metavar="NAME")
]


@dataclasses.dataclass(frozen=True)
class Source:
    """The options that say where data comes from; None for those that are not given.

    Raises:
      ValueError: for options that contradict each other.
    """

    dataset: Annotated[
        str | None,
        Option(
            help="Data set by name. Default: the recipe's.",
            metavar="NAME",
            autocompletion=completion.datasets,
        ),
    ] = None
    images: Annotated[
        Path | None,
        Option(
            help="A folder of images instead.", metavar="DIR", autocompletion=completion.folders
        ),
    ] = None
    table: Annotated[
        Path | None,
        Option(
            help="A table instead: .csv, .tsv, .txt (also .gz, .bz2, .zst), .parquet, .feather, "
            ".arrow, .xlsx, .npy, .npz; or example, a table to try.",
            metavar="FILE",
            autocompletion=completion.tables,
        ),
    ] = None
    columns: Columns = None
    bounds: Annotated[
        list[str] | None,
        Option(
            help="Bounds that columns of the table or records lie between: rain=0:,share=0:1.",
            metavar="NAME=LOW:HIGH",
        ),
    ] = None
    circular: Annotated[
        list[str] | None,
        Option(
            help="Columns that are angles or the like, whose interval ends where it begins: "
            "phase=0:360,hour=0:24.",
            metavar="NAME=LOW:HIGH",
        ),
    ] = None
    delimiter: Delimiter = None
    encoding: Encoding = None
    records: Annotated[
        Path | None,
        Option(
            help="Records instead, read as a stream; see `tfnvp records`.",
            metavar="DIR",
            autocompletion=completion.folders,
        ),
    ] = None
    data_dir: Annotated[
        Path | None,
        Option(
            help="Folder of prepared TFDS data sets.",
            metavar="DIR",
            autocompletion=completion.folders,
        ),
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
        bool,
        Option(
            "--skip-bad",
            help="Leave out damaged images and rows, and images smaller than --image-size, and "
            "count them.",
        ),
    ] = False
    background: Annotated[
        str | None,
        Option(
            help="Colour behind transparent pixels of images: white (default), black or #rrggbb.",
            metavar="COLOUR",
        ),
    ] = None
    follow_links: Annotated[
        bool, Option("--follow-links", help="Also look for images in folders that are links.")
    ] = False

    def __post_init__(self) -> None:
        named = (self.dataset, self.images, self.table, self.records)
        if sum(option is not None for option in named) > 1:
            raise ValueError("give one of --dataset, --images, --table and --records")
        if self.names_data:  # Otherwise a run can name images.
            self.require_images()
        # One text, as the configuration of a run keeps it.
        for name in ("bounds", "circular"):
            given = getattr(self, name)
            texts = [given] if isinstance(given, str) else given or ()
            object.__setattr__(self, name, ",".join(texts) or None)
        if self.bounds is not None and self.table is None and self.records is None:
            raise ValueError("--bounds are those of a --table or of --records")
        of_table = ("columns", "circular", "delimiter", "encoding")
        given = [f"--{name}" for name in of_table if getattr(self, name) is not None]
        if given and self.table is None:
            raise ValueError(f"{' and '.join(given)} are those of a --table")

    def require_images(self) -> None:
        """Raises `ValueError` for options of images without images."""
        of_images = ("image_size", "levels", "background", "follow_links")
        given = [f"--{name.replace('_', '-')}" for name in of_images if name in self.given]
        if given and self.images is None:
            is_one = len(given) == 1 and not given[0].endswith("s")
            verb = "is that" if is_one else "are those"
            raise ValueError(f"{' and '.join(given)} {verb} of --images")

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

    A parameter `Annotated[Source, "images", "table"]` becomes only the fields that it names. Before
    the command, and so before TensorFlow is imported, files that it reads are looked for, and texts
    that must be one of a few are checked.
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
        if dataclasses.is_dataclass(function):  # A group, of which the command looks for files.
            return function(**values)
        return function(**{name: _found(name, value) for name, value in values.items()})

    call.__signature__ = inspect.Signature(parameters)
    # The help wraps paragraphs by itself.
    call.__doc__ = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or "")
    return call


def _found(name, value):
    """Returns the value of an option, with the paths of what ships for its names."""
    from tfnvp.arguments import CHOICES, check_choice
    from tfnvp.cli import files

    if dataclasses.is_dataclass(value):
        if isinstance(value, Source):
            files.require_dataset(value.dataset, value.data_dir)
        found = {field: _found(field, given) for field, given in vars(value).items()}
        return dataclasses.replace(value, **found)
    if name in CHOICES and value is not None:
        check_choice(name, value)
    find = files.FIND.get(name)
    return find(value) if find and isinstance(value, Path) else value


def print_json(content: Any) -> None:
    """Prints a result as JSON, with null for NaN and infinities, which JSON does not have."""
    sys.stdout.write(json_text(content) + "\n")


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
    """Imports TensorFlow, and lets it find its devices, without the lines that it logs.

    What fails raises, and a crash (level 3, fatal) still says why.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("absl", "tensorflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with ending_at_once(), _stderr_held_back():
        import tensorflow as tf

        import tfnvp.flows  # noqa: F401  (its dependencies print, too)

        # A strategy of several workers must be made before anything looks at devices.
        if "TF_CONFIG" not in os.environ:
            tf.zeros(())
