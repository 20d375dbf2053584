"""Commands that measure likelihoods, and prepare data for them."""

import itertools
import pathlib
from typing import Annotated

import numpy as np
import typer

from benchmarks import quality, results
from benchmarks.libraries import AVERAGED, OTHERS, OURS
from benchmarks.options import Output, PeersPython, Python, chosen, pythons_of


def equal_budget(
    tasks: Annotated[
        str, typer.Option(help="moons, digits, and names of --tables, by commas.")
    ] = "moons,digits",
    tables: Annotated[
        pathlib.Path | None, typer.Option(help=".npz with a table in every array.")
    ] = None,
    libraries: Annotated[str, typer.Option(help="Libraries, by commas.")] = ",".join(
        (*OURS, *AVERAGED, *OTHERS)
    ),
    kinds: Annotated[
        str, typer.Option(help="Kinds of flows, by commas: real_nvp, neural_spline.")
    ] = "real_nvp",
    seeds: Annotated[int, typer.Option(help="How many, from 0.")] = 3,
    output: Output = pathlib.Path("quality.jsonl"),
    python: Python = None,
    peers_python: PeersPython = None,
):
    """Likelihood of test data after the same steps with the same networks, by library.

    Example: python -m benchmarks quality --peers-python .venv-peers/bin/python
    """
    pythons = pythons_of(python, peers_python)
    answers = []
    known = dict(quality.TASKS)
    if tables is not None:
        known |= {name: quality.of_table(name, rows) for name, rows in np.load(tables).items()}
    measured = itertools.product(
        chosen("tasks", tasks, known),
        chosen("kinds", kinds, quality.KINDS),
        chosen("libraries", libraries, (*OURS, *AVERAGED, *OTHERS)),
    )
    for task, kind, library in measured:
        for seed in range(seeds):
            answer = quality.run(library, kind, task, known[task], seed, pythons(library))
            if "skipped" in answer:
                print(f"{library} left out: {answer['skipped']}")
                break
            answers.append(answer)
            results.append(output, [answer])
    print(quality.markdown(answers))


def against_mixtures(
    path: Annotated[pathlib.Path, typer.Argument(help=".npz with a table in every array.")],
    names: Annotated[str | None, typer.Option(help="Tables, by commas. Default: all.")] = None,
    seed: Annotated[int, typer.Option(help="Of noise, mixtures and flows.")] = 0,
    steps: Annotated[int, typer.Option(help="Training steps of the flows.")] = 5000,
    flows: Annotated[str, typer.Option(help="Recipes, by commas.")] = (
        "realnvp-table,neural-spline-table"
    ),
    runs: Annotated[pathlib.Path, typer.Option(help="Folder of run folders.")] = (
        pathlib.Path("runs")
    ),
    output: Output = pathlib.Path("tables.jsonl"),
):
    """Likelihood of test rows of tables under flows and under Gaussian mixtures.

    Example: python -m benchmarks tables uci.npz
    """
    from benchmarks import tables

    arrays = np.load(path)
    answers = []
    for name in names.split(",") if names else arrays.files:
        of_table = list(tables.measure(name, arrays[name], seed, flows.split(","), runs, steps))
        results.append(output, of_table)
        answers += of_table
    print(tables.markdown(answers))


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


def needs_of_images(
    names: Annotated[list[str] | None, typer.Argument(help="Recipes; default: all.")] = None,
):
    """Print what training image flows needs: weights, operations, bytes, hours.

    Example: python -m benchmarks needs realnvp-cifar10 jet-imagenet64
    """
    from benchmarks import needs

    print(needs.markdown(names))


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


def image_options(
    dataset: Annotated[str, typer.Option(help="Name of a data set.")] = "mnist",
    data_dir: Annotated[pathlib.Path | None, typer.Option(help="Folder of data sets.")] = None,
    steps: Annotated[int, typer.Option(help="Training steps of each flow.", min=30)] = 400,
    batch_size: Annotated[int, typer.Option(help="Images of a batch.")] = 64,
    test_rows: Annotated[int, typer.Option(help="Test images.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of weights, order and noise.")] = 0,
    output: Output = pathlib.Path("image-options.jsonl"),
):
    """Likelihood and time of a small `ImageRealNVP` with one option changed at a time.

    Example: python -m benchmarks image-options --dataset mnist --steps 400
    """
    from benchmarks import image_options as compared
    from tfnvp import data

    answers = []
    for answer in compared.compare(
        data.load_named(dataset, data_dir), steps, batch_size, test_rows, seed
    ):
        results.append(output, [answer])
        answers.append(answer)
    print(compared.markdown(answers))


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
