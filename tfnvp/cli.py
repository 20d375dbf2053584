"""The command line. TensorFlow is imported by the commands, never for their help."""

import json
import pathlib
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tfnvp import recipes
from tfnvp._version import __version__

app = typer.Typer(
    name="tfnvp",
    help="Normalizing flows: train, evaluate, sample and export them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
console = Console(highlight=False)

_MODEL_RECIPES = {"real_nvp": "realnvp-digits", "nice": "nice-digits"}

Model = Annotated[
    pathlib.Path, typer.Argument(help="A .keras file, or the run folder that holds model.keras.")
]
SavedModels = Annotated[
    pathlib.Path, typer.Option("--saved-models", help="Folder of SavedModels.", metavar="DIR")
]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]


def _version(value):
    if value:
        console.print(f"tfnvp {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
):
    del version


@app.command()
def train(
    model: Annotated[
        str | None, typer.Option(help="real_nvp (default) or nice, on digits.", metavar="MODEL")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe by name; see `tfnvp recipes`.", metavar="NAME")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, noise and order.")] = 0,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Run folder. Default: the next free runs/NAME-N.", metavar="DIR"),
    ] = None,
    saved_models: SavedModels = pathlib.Path("saved_models"),
    json_output: Json = False,
):
    """Train a flow; without options, Real NVP on handwritten digits, in a few minutes.

    Writes the model, a picture of samples, the learning curve, the test likelihood and a
    SavedModel for TensorFlow Serving.

    Example: tfnvp train --model nice --epochs 100 --seed 1
    """
    if model is not None and recipe is not None:
        raise ValueError("give --model or --recipe, not both")
    if model is not None and model not in _MODEL_RECIPES:
        raise ValueError(f"unknown model {model!r}: choose one of {', '.join(_MODEL_RECIPES)}")
    chosen = recipes.get(recipe or _MODEL_RECIPES[model or "real_nvp"]).replace(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
    )
    _import_tensorflow()
    from tfnvp import training

    verbose = 0 if json_output else "auto"
    _, metrics, folder, exported = training.train(chosen, output, saved_models, seed, verbose)
    if json_output:
        _print_json({**metrics, "folder": str(folder), "saved_model": str(exported)})
        return
    _print_likelihood(metrics["test"], "test")
    console.print(f"run folder   {folder}  (samples.png, model.keras, metrics.json, history.csv)")
    console.print(f"SavedModel   {exported}")


@app.command()
def evaluate(
    model: Model,
    dataset: Annotated[
        str | None, typer.Option(help="Data set. Default: the one trained on.", metavar="NAME")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    draws: Annotated[int, typer.Option(help="Draws of dequantization noise.", min=1)] = 10,
    json_output: Json = False,
):
    """Print the log-likelihood of a data set under a model, with its standard error.

    Example: tfnvp evaluate runs/digits-real_nvp-1
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"unknown split {split!r}: choose one of train, validation, test")
    _import_tensorflow()
    from tfnvp import evaluation, run_folder
    from tfnvp.data.splits import load_splits

    flow = run_folder.load_model(model)
    splits = load_splits(dataset or run_folder.read_config(model).get("dataset", "digits"))
    result = evaluation.evaluate(flow, getattr(splits, split), draws)._asdict()
    if json_output:
        _print_json(result)
    else:
        _print_likelihood(result, split)


@app.command()
def sample(
    model: Model,
    n: Annotated[int, typer.Option("--number", "-n", help="How many samples.", min=1)] = 100,
    temperature: Annotated[float, typer.Option(help="Below 1: less varied.", min=0.0)] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Seed, for samples that repeat.")] = None,
    output: Annotated[
        pathlib.Path, typer.Option(help="PNG picture, or .npy for the numbers.", metavar="FILE")
    ] = pathlib.Path("samples.png"),
):
    """Draw samples from a model and write them as a picture or as an array.

    Example: tfnvp sample runs/digits-real_nvp-1 -n 64 --temperature 0.8 --seed 1
    """
    _import_tensorflow()
    import numpy as np

    from tfnvp import plotting, run_folder

    flow = run_folder.load_model(model)
    samples = flow.sample(n, seed=seed, temperature=temperature)
    if output.suffix == ".npy":
        np.save(output, samples)
    elif len(flow.event_shape) > 1:
        plotting.save_grid(output, samples)
    elif flow.event_shape == (2,):
        plotting.save_scatter(output, samples)
    else:
        raise ValueError(
            f"no picture of samples of shape {flow.event_shape}: give an --output that ends in .npy"
        )
    console.print(f"{n} samples in {output}")


@app.command()
def export(
    model: Model,
    saved_models: SavedModels = pathlib.Path("saved_models"),
    name: Annotated[str | None, typer.Option(help="Name of the served model.")] = None,
):
    """Write a model as a SavedModel, SAVED_MODELS/NAME/VERSION, for TensorFlow Serving.

    Example: tfnvp export runs/digits-real_nvp-1 --name digits
    """
    _import_tensorflow()
    from tfnvp import run_folder

    flow = run_folder.load_model(model)
    config = run_folder.read_config(model)
    default = f"{config['dataset']}-{config['model']}" if config else flow.name
    console.print(f"SavedModel   {flow.export(saved_models / (name or default))}")


@app.command("recipes")
def list_recipes(json_output: Json = False):
    """List the recipes that `tfnvp train --recipe NAME` runs.

    Example: tfnvp recipes
    """
    if json_output:
        _print_json({name: vars(recipe) for name, recipe in recipes.RECIPES.items()})
        return
    table = Table("recipe", "data", "what it is", "source", box=None)
    for recipe in recipes.RECIPES.values():
        table.add_row(recipe.name, recipe.dataset, recipe.description, recipe.source)
    console.print(table)


def _print_json(content):
    sys.stdout.write(json.dumps(content, indent=2) + "\n")


def _print_likelihood(result, split):
    console.print(
        f"{split} likelihood   {result['nats']:.2f} ± {result['nats_standard_error']:.2f} nats   "
        f"{result['bits_per_dim']:.4f} ± {result['bits_per_dim_standard_error']:.4f} bits/dim   "
        f"({result['rows']} rows, {result['draws']} draws)"
    )


def _import_tensorflow():
    from tfnvp.quiet import import_tensorflow

    import_tensorflow()


def main(arguments=None):
    """Runs a command: exit code 0 for success, 2 for bad use, 1 for work that failed."""
    try:
        app(arguments)
    except (ValueError, TypeError) as error:
        _fail(error, 2)
    except OSError as error:
        _fail(error, 1)


def _fail(error, code):
    Console(stderr=True, highlight=False).print(f"error: {error}", style="red", markup=False)
    raise SystemExit(code)
