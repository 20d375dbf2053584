"""Options that several commands take, and what their values mean."""

import pathlib
from typing import Annotated

import typer

from benchmarks import interleave

Results = Annotated[pathlib.Path, typer.Argument(help="File of JSON lines.")]
PeersPython = Annotated[
    str | None, typer.Option(help="Python of the environment with PyTorch and JAX.")
]
Python = Annotated[
    list[str] | None, typer.Option("--python", help="LIBRARY=PATH of its Python; repeatable.")
]
Threads = Annotated[int, typer.Option(help="Processors of each worker.")]
Cells = Annotated[
    str | None, typer.Option(help='Tasks or cells, by commas: "train", "log_prob-10000".')
]
Output = Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")]
Write = Annotated[
    pathlib.Path | None, typer.Option(help="Page to write it into, between its markers.")
]


def chosen(option, text, known):
    """The names of an option, by commas; raises for unknown ones."""
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"choose among {', '.join(known)}. Received: {text!r}", param_hint=f"--{option}"
        )
    return names


def cells_of(work, text):
    """The cells of a workload that an option names; all without it."""
    if text is None:
        return work.cells
    names = text.split(",")
    return [cell for cell in work.cells if cell.task in names or cell.name in names]


def pythons_of(assignments=(), peers_python=None):
    """Returns the function from a library's name to its Python."""
    own = dict(assignment.split("=", 1) for assignment in assignments or ())
    return lambda library: own.get(library) or interleave.interpreter(library, peers_python)
