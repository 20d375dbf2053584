"""Command line of the benchmarks: `python -m benchmarks --help`."""

import pathlib
from typing import Annotated

import numpy as np
import typer

from benchmarks import interleave, quality, results
from benchmarks.libraries import ALL, AVERAGED, COMPARED, FLOORS, NEIGHBOURS, OURS, PIPELINES
from benchmarks.workloads import SCALING, WORKLOADS

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
def table(
    path: Results,
    write: Annotated[
        pathlib.Path | None, typer.Option(help="Page to write it into, between its markers.")
    ] = None,
):
    """Print the tables of measured results.

    Example: python -m benchmarks table results.jsonl --write docs/speed.md
    """
    text = results.markdown(results.read(path))
    if write is None:
        print(text)
    else:
        results.write_between_markers(write, text)


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


@app.command()
def first_step(
    work: Annotated[str, typer.Option(help="Workload.")] = "W2",
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(COMPARED),
    rounds: Annotated[int, typer.Option(help="Processes of each library.")] = 3,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("first-step.jsonl")
    ),
    python: Python = None,
    peers_python: PeersPython = None,
    threads: Threads = 2,
):
    """Time from the start of a process to the end of its first training step, and its memory.

    Example: python -m benchmarks first-step --work W2 --peers-python .venv-peers/bin/python
    """
    (name,) = _chosen("work", work, WORKLOADS)
    answers = interleave.first_steps(
        WORKLOADS[name],
        _chosen("libraries", libraries, COMPARED),
        rounds,
        _pythons(python, peers_python),
        threads,
    )
    results.append(output, answers)
    print(results.first_steps_markdown(answers))


@app.command()
def scaling(
    rounds: Annotated[int, typer.Option(help="Blocks of every size.")] = 5,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("scaling.jsonl")
    ),
    plot: Annotated[pathlib.Path | None, typer.Option(help="PNG to write.")] = None,
    threads: Threads = 2,
):
    """Time a training step, and its memory, as couplings, width and batch grow one at a time.

    Example: python -m benchmarks scaling --plot docs/images/scaling.png
    """
    for work in SCALING.values():
        measured = interleave.measure(work, OURS, work.cells, rounds, _pythons(), threads)
        results.append(output, measured)
    cells = results.read(output)
    for (work, _), libraries in cells.items():
        result = libraries["tfnvp"]
        print(f"{work}: {result['median']:.3g} ms, {result['peak_mib']} MiB")
    if plot is not None:
        from benchmarks import plots

        plots.save_scaling(cells, plot)


@app.command()
def pipeline(
    work: Annotated[str, typer.Option(help="Workloads, by commas.")] = "W1,W2,W3",
    rounds: Annotated[int, typer.Option(help="Blocks of every cell.")] = 7,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("pipeline.jsonl")
    ),
    threads: Threads = 2,
):
    """Time training with and without an input pipeline: the difference is the pipeline's share.

    Example: python -m benchmarks pipeline --work W2
    """
    for name in _chosen("work", work, WORKLOADS):
        cells = _cells(WORKLOADS[name], "train")
        measured = interleave.measure(
            WORKLOADS[name], PIPELINES, cells, rounds, _pythons(), threads
        )
        results.append(output, measured)
    print(results.pipeline_markdown(results.read(output)))


@app.command("quality")
def equal_budget(
    tasks: Annotated[
        str, typer.Option(help="moons, digits, and names of --tables, by commas.")
    ] = "moons,digits",
    tables: Annotated[
        pathlib.Path | None, typer.Option(help=".npz with a table in every array.")
    ] = None,
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(
        (*OURS, *AVERAGED, *NEIGHBOURS)
    ),
    seeds: Annotated[int, typer.Option(help="How many, from 0.")] = 3,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("quality.jsonl")
    ),
    python: Python = None,
    peers_python: PeersPython = None,
):
    """Likelihood of test data after the same steps with the same networks, by library.

    Example: python -m benchmarks quality --peers-python .venv-peers/bin/python
    """
    pythons = _pythons(python, peers_python)
    answers = []
    known = dict(quality.TASKS)
    if tables is not None:
        known |= {name: quality.of_table(name, rows) for name, rows in np.load(tables).items()}
    for task in _chosen("tasks", tasks, known):
        for library in _chosen("libraries", libraries, (*OURS, *AVERAGED, *NEIGHBOURS)):
            for seed in range(seeds):
                answer = quality.run(library, task, known[task], seed, pythons(library))
                if "skipped" in answer:
                    print(f"{library} left out: {answer['skipped']}")
                    break
                answers.append(answer)
                results.append(output, [answer])
    print(quality.markdown(answers))


@app.command("tables")
def against_mixtures(
    path: Annotated[pathlib.Path, typer.Argument(help=".npz with a table in every array.")],
    names: Annotated[str | None, typer.Option(help="Tables, by commas. Default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise, mixtures and flows.")] = 0,
    steps: Annotated[int, typer.Option(help="Training steps of the flows.")] = 5000,
    runs: Annotated[pathlib.Path, typer.Option(help="Folder of run folders.")] = (
        pathlib.Path("runs")
    ),
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("tables.jsonl")
    ),
):
    """Likelihood of test rows of tables under Real NVP and under Gaussian mixtures.

    Example: python -m benchmarks tables uci.npz
    """
    from benchmarks import tables

    arrays = np.load(path)
    answers = []
    for name in names.split(",") if names else arrays.files:
        of_table = list(tables.measure(name, arrays[name], seed, runs, steps))
        results.append(output, of_table)
        answers += of_table
    print(tables.markdown(answers))


@app.command()
def curves(
    runs: Annotated[list[pathlib.Path], typer.Argument(help="Run folders.", metavar="DIR...")],
    output: Annotated[pathlib.Path, typer.Option("-o", "--output", help="PNG to write.")],
    floor: Annotated[float | None, typer.Option(help="Nats below which nothing is drawn.")] = None,
):
    """Draw the learning curves of runs, and copy them beside the picture as RUN.csv.

    Example: python -m benchmarks curves runs/mnist-nice-1 -o docs/results/mnist.png
    """
    import csv
    import shutil

    from benchmarks import plots

    histories = {}
    for run in runs:
        with (run / "history.csv").open(newline="") as table:
            histories[run.name] = [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(table)
            ]
        shutil.copyfile(run / "history.csv", output.parent / f"{run.name}.csv")
    plots.save_curves(histories, output, floor)


@app.command("needs")
def needs_of_images():
    """Print what training the published image flows needs: operations, bytes, hours of an epoch.

    Example: python -m benchmarks needs
    """
    from benchmarks import needs

    print(needs.markdown())


@app.command()
def patches(
    path: Annotated[pathlib.Path, typer.Argument(help=".npz of uint8 patches: train, val, test.")],
    output: Annotated[pathlib.Path, typer.Option("-o", "--output", help=".npz to write.")],
    symmetries: Annotated[
        bool, typer.Option("--symmetries", help="Train on all eight turns and flips.")
    ] = False,
    draws: Annotated[
        int, typer.Option(help="Draws of the noise for each training patch.", min=1)
    ] = 1,
):
    """Turn grey patches into rows as BSDS300 has them, for `tfnvp train --table`.

    Example: python -m benchmarks patches patches.npz -o rows.npz
    """
    from tfnvp.data import patches_to_rows

    arrays = dict(np.load(path))
    if symmetries:
        flipped = np.concatenate([arrays["train"], arrays["train"][:, :, ::-1]])
        arrays["train"] = np.concatenate([np.rot90(flipped, k, (1, 2)) for k in range(4)])
    arrays["train"] = np.concatenate([arrays["train"]] * draws)
    names = {"train": "train", "val": "validation", "test": "test"}
    rows = {names[part]: patches_to_rows(arrays[part], seed) for seed, part in enumerate(names)}
    np.savez(output, **rows)
    print(f"{output}: {', '.join(f'{name} {part.shape}' for name, part in rows.items())}")


@app.command()
def parts(
    work: Annotated[str, typer.Option(help="Workloads of vectors, by commas.")] = "W1,W2,W3",
    cells: Annotated[
        str | None, typer.Option(help='Tasks or cells, by commas: "train", "log_prob-10000".')
    ] = None,
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
    for name in _chosen(
        "work", work, [n for n, w in WORKLOADS.items() if w.kind != "image_real_nvp"]
    ):
        chosen = WORKLOADS[name]
        for cell in _cells(chosen, cells):
            found[f"{name} {cell.name}"] = of_calls.measure(chosen, cell, rounds)
    print(of_calls.markdown(found))


@app.command()
def one_gaussian(
    dataset: Annotated[str | None, typer.Option(help="Name of a data set.")] = None,
    images: Annotated[pathlib.Path | None, typer.Option(help="A folder of images instead.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Crop and resize to this size.")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of the logit; without: pixels.")] = None,
    data_dir: Annotated[pathlib.Path | None, typer.Option(help="Folder of data sets.")] = None,
):
    """Likelihood of images under one Gaussian with full covariance.

    Example: python -m benchmarks one-gaussian --images FACES --image-size 32 --alpha 0.05
    """
    from benchmarks import one_gaussian as fitted
    from tfnvp import data

    if (dataset is None) == (images is None):
        raise typer.BadParameter("give one of --dataset and --images")
    splits = data.load_images(images, image_size) if images else data.load_named(dataset, data_dir)
    mean, error, ridge = fitted.bits_per_dim(splits, alpha)
    print(f"{mean:.4f} ± {error:.4f} bits/dim, {len(splits.test)} test images, ridge {ridge}")


@app.command()
def half_precision(
    epochs: Annotated[int, typer.Option(help="Of each training.")] = 100,
    seeds: Annotated[int, typer.Option(help="How many.")] = 3,
):
    """Likelihood of digits by flows whose networks compute in float32 and in bfloat16.

    Example: python -m benchmarks half-precision --epochs 100
    """
    from benchmarks import half_precision as compared

    for model in ("nice", "real_nvp"):
        for row in compared.compare(model, epochs, range(seeds)):
            print(model, ", ".join(f"{name} {value:.6g}" for name, value in row.items()))


@app.command()
def checkpointing(
    blocks: Annotated[str, typer.Option(help="Residual blocks of each network.")] = "2,8",
    batches: Annotated[str, typer.Option(help="Sizes of batches.")] = "32",
    steps: Annotated[int, typer.Option(help="Of each training.")] = 8,
    output: Annotated[pathlib.Path, typer.Option(help="JSON lines are added to it.")] = (
        pathlib.Path("checkpointing.jsonl")
    ),
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


def _pythons(assignments=(), peers_python=None):
    """Returns the function from a library's name to its Python."""
    own = dict(assignment.split("=", 1) for assignment in assignments or ())
    return lambda library: own.get(library) or interleave.interpreter(library, peers_python)


if __name__ == "__main__":
    app()
