"""Command line of the benchmarks: `python -m benchmarks --help`."""

import pathlib
from typing import Annotated

import typer

from benchmarks import interleave, results
from benchmarks.libraries import ALL, FLOORS
from benchmarks.workloads import WORKLOADS

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Results = Annotated[pathlib.Path, typer.Argument(help="File of JSON lines.")]
PeersPython = Annotated[
    str | None, typer.Option(help="Python of the environment with PyTorch and JAX.")
]
Python = Annotated[
    list[str] | None, typer.Option("--python", help="LIBRARY=PATH of its Python; repeatable.")
]
Threads = Annotated[int, typer.Option(help="Processors of each worker.")]


@app.command()
def run(
    work: Annotated[str, typer.Option(help="Workloads, by commas.")] = "W1,W2,W3,W4",
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(ALL),
    cells: Annotated[
        str | None, typer.Option(help='Tasks or cells, by commas: "train", "log_prob-10000".')
    ] = None,
    rounds: Annotated[int, typer.Option(help="Blocks of every cell in every library.")] = 9,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("results.jsonl")
    ),
    python: Python = None,
    peers_python: PeersPython = None,
    threads: Threads = 2,
    seed: Annotated[int, typer.Option(help="Of the order within rounds.")] = 0,
):
    """Time workloads in tfnvp, in the neighbours that are installed, and on the floor.

    Example: python -m benchmarks run --work W2,W3 --peers-python .venv-peers/bin/python
    """
    works = _chosen("work", work, WORKLOADS)
    libraries = _chosen("libraries", libraries.replace("floor,", ",".join(FLOORS) + ","), ALL)
    pythons = _pythons(python, peers_python)
    for name in works:
        measured = interleave.measure(
            WORKLOADS[name],
            libraries,
            _cells(WORKLOADS[name], cells),
            rounds,
            pythons,
            threads,
            seed,
        )
        results.append(output, measured)
    print(results.markdown(results.read(output)))


@app.command()
def table(path: Results):
    """Print the tables of measured results.

    Example: python -m benchmarks table results.jsonl
    """
    print(results.markdown(results.read(path)))


@app.command()
def plot(
    path: Results,
    output: Annotated[pathlib.Path, typer.Option("-o", "--output", help="PNG to write.")],
):
    """Draw the times as multiples of the floor.

    Example: python -m benchmarks plot results.jsonl -o docs/images/speed.png
    """
    from benchmarks import plots

    plots.save_ratios(results.read(path), output)


def _chosen(option, text, known):
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise typer.BadParameter(
            f"choose among {', '.join(known)}. Received: {text!r}", param_hint=f"--{option}"
        )
    return names


def _cells(work, text):
    if text is None:
        return work.cells
    names = text.split(",")
    return [cell for cell in work.cells if cell.task in names or cell.name in names]


def _pythons(assignments, peers_python):
    """Returns the function from a library's name to its Python."""
    own = dict(assignment.split("=", 1) for assignment in assignments or ())
    return lambda library: own.get(library) or interleave.interpreter(library, peers_python)


if __name__ == "__main__":
    app()
