"""Commands that measure time and memory."""

import pathlib
from typing import Annotated

import typer

from benchmarks import interleave, results
from benchmarks.libraries import ALL, COMPARED, FLOORS, OURS, PIPELINES
from benchmarks.options import (
    Cells,
    Output,
    PeersPython,
    Python,
    Results,
    Threads,
    Write,
    cells_of,
    chosen,
    pythons_of,
)
from benchmarks.workloads import SCALING, WORKLOADS


def run(
    work: Annotated[str, typer.Option(help="Workloads, by commas.")] = "W1,W2,W3,W4,W5",
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(ALL),
    cells: Cells = None,
    rounds: Annotated[int, typer.Option(help="Blocks of every cell in every library.")] = 9,
    output: Output = pathlib.Path("results.jsonl"),
    python: Python = None,
    peers_python: PeersPython = None,
    threads: Threads = 2,
    seed: Annotated[int, typer.Option(help="Of the order within rounds.")] = 0,
):
    """Time workloads in tfnvp, in the other libraries that are installed, and on the floor.

    Example: python -m benchmarks run --work W2,W3 --peers-python .venv-peers/bin/python
    """
    works = chosen("work", work, WORKLOADS)
    libraries = chosen("libraries", libraries.replace("floor,", ",".join(FLOORS) + ","), ALL)
    pythons = pythons_of(python, peers_python)
    for name in works:
        measured = interleave.measure(
            WORKLOADS[name],
            libraries,
            cells_of(WORKLOADS[name], cells),
            rounds,
            pythons,
            threads,
            seed,
        )
        results.append(output, measured)
    print(results.markdown(results.read(output)))


def table(
    path: Results,
    write: Write = None,
):
    """Print the tables of measured results.

    Example: python -m benchmarks table results.jsonl --write docs/speed.md
    """
    results.publish(results.markdown(results.read(path)), write)


def plot(
    path: Results,
    output: Annotated[pathlib.Path, typer.Option("-o", "--output", help="PNG to write.")],
):
    """Draw the times as multiples of the floor.

    Example: python -m benchmarks plot results.jsonl -o docs/images/speed.png
    """
    from benchmarks import plots

    plots.save_ratios(results.read(path), output)


def first_step(
    work: Annotated[str, typer.Option(help="Workload.")] = "W2",
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(COMPARED),
    rounds: Annotated[int, typer.Option(help="Processes of each library.")] = 3,
    output: Output = pathlib.Path("first-step.jsonl"),
    python: Python = None,
    peers_python: PeersPython = None,
    threads: Threads = 2,
):
    """Time from the start of a process to the end of its first training step, and its memory.

    Example: python -m benchmarks first-step --work W2 --peers-python .venv-peers/bin/python
    """
    (name,) = chosen("work", work, WORKLOADS)
    answers = interleave.first_steps(
        WORKLOADS[name],
        chosen("libraries", libraries, COMPARED),
        rounds,
        pythons_of(python, peers_python),
        threads,
    )
    results.append(output, answers)
    print(results.first_steps_markdown(answers))


def scaling(
    rounds: Annotated[int, typer.Option(help="Blocks of every size.")] = 5,
    output: Output = pathlib.Path("scaling.jsonl"),
    plot: Annotated[pathlib.Path | None, typer.Option(help="PNG to write.")] = None,
    threads: Threads = 2,
):
    """Time a training step, and its memory, as couplings, width and batch grow one at a time.

    Example: python -m benchmarks scaling --plot docs/images/scaling.png
    """
    for work in SCALING.values():
        measured = interleave.measure(work, OURS, work.cells, rounds, pythons_of(), threads)
        results.append(output, measured)
    cells = results.read(output)
    for (work, _), libraries in cells.items():
        result = libraries["tfnvp"]
        print(f"{work}: {result['median']:.3g} ms, {result['peak_mib']} MiB")
    if plot is not None:
        from benchmarks import plots

        plots.save_scaling(cells, plot)


def pipeline(
    work: Annotated[str, typer.Option(help="Workloads, by commas.")] = "W1,W2,W3",
    rounds: Annotated[int, typer.Option(help="Blocks of every cell.")] = 7,
    output: Output = pathlib.Path("pipeline.jsonl"),
    threads: Threads = 2,
):
    """Time training with and without an input pipeline: the difference is the pipeline's share.

    Example: python -m benchmarks pipeline --work W2
    """
    for name in chosen("work", work, WORKLOADS):
        cells = cells_of(WORKLOADS[name], "train")
        measured = interleave.measure(
            WORKLOADS[name], PIPELINES, cells, rounds, pythons_of(), threads
        )
        results.append(output, measured)
    print(results.pipeline_markdown(results.read(output)))


def parts(
    work: Annotated[str, typer.Option(help="Workloads of vectors, by commas.")] = "W1,W2,W3",
    cells: Cells = None,
    rounds: Annotated[int, typer.Option(help="Turns of every part.")] = 50,
    threads: Threads = 2,
):
    """Where the time of tfnvp's calls goes: the start of programs, noise, products, optimizer.

    Example: python -m benchmarks parts --work W3 --cells sample
    """
    from benchmarks import parts as of_calls
    from benchmarks.worker import limit_threads

    limit_threads(threads)
    found = {}
    vectors = [name for name, known in WORKLOADS.items() if known.kind != "image_real_nvp"]
    for name in chosen("work", work, vectors):
        for cell in cells_of(WORKLOADS[name], cells):
            found[f"{name} {cell.name}"] = of_calls.measure(WORKLOADS[name], cell, rounds)
    print(of_calls.markdown(found))


def checkpointing(
    blocks: Annotated[str, typer.Option(help="Residual blocks of each network.")] = "2,8",
    batches: Annotated[str, typer.Option(help="Sizes of batches.")] = "32",
    steps: Annotated[int, typer.Option(help="Of each training.")] = 8,
    output: Output = pathlib.Path("checkpointing.jsonl"),
    threads: Threads = 2,
):
    """What gradient checkpointing saves in memory and costs in time, on Real NVP for images.

    Example: python -m benchmarks checkpointing --blocks 4,8
    """
    from benchmarks import checkpointing as compared

    sizes = ([int(n) for n in text.split(",")] for text in (blocks, batches))
    answers = list(compared.measure(*sizes, steps, threads))
    results.append(output, answers)
    print(compared.markdown(answers))
