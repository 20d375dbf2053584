"""The command line. TensorFlow is imported by the commands, never for their help."""

import pathlib
import signal
import threading
import warnings
from typing import Annotated

import typer
from rich.table import Table

from tfnvp import recipes
from tfnvp._version import __version__
from tfnvp.cli import doctor as cli_doctor
from tfnvp.cli import pictures as cli_pictures
from tfnvp.cli import progress as cli_progress
from tfnvp.cli import report as cli_report
from tfnvp.cli import sample as cli_sample
from tfnvp.cli import score as cli_score
from tfnvp.cli.options import (
    Columns,
    DataDir,
    Dataset,
    Images,
    ImageSize,
    Json,
    Levels,
    Model,
    Records,
    SavedModels,
    SkipBad,
    TableFile,
    console,
    import_tensorflow,
    load_data,
    load_data_of,
    load_flow,
    messages,
    print_json,
    print_result,
    require_one_source,
    require_shape,
)

app = typer.Typer(
    name="tfnvp",
    help="Normalizing flows: train, evaluate, sample and export them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_RESULTS = ("samples.png", "model.keras", "metrics.json", "history.csv", "reference.json")

_MODEL_RECIPES = {"real_nvp": "realnvp-digits", "nice": "nice-digits"}


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
        str | None,
        typer.Option(
            help="A recipe by name; see `tfnvp recipes`.",
            metavar="NAME",
            autocompletion=lambda: list(recipes.RECIPES),
        ),
    ] = None,
    dataset: Dataset = None,
    images: Images = None,
    table: TableFile = None,
    columns: Columns = None,
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    levels: Levels = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Override a field or model option of the recipe.", metavar="NAME=VALUE"
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows of a batch.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of weights, noise and order. Default: 0.")
    ] = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Run folder. Default: the next free runs/NAME-N.", metavar="DIR"),
    ] = None,
    saved_models: SavedModels = pathlib.Path("saved_models"),
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tell parameters, memory and time; write nothing."),
    ] = False,
    strategy: Annotated[
        str,
        typer.Option(help="none, mirrored (all GPUs) or multi_worker (all hosts of TF_CONFIG)."),
    ] = "none",
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run in --output, or with the newest unfinished one."
        ),
    ] = False,
    on_divergence: Annotated[
        str,
        typer.Option(
            help="Where the loss becomes NaN: stop, or roll-back to good weights, up to 3 times.",
            metavar="ACTION",
        ),
    ] = "stop",
    skip_bad: SkipBad = False,
    json_output: Json = False,
):
    """Train a flow; without options, Real NVP on handwritten digits, in a few minutes.

    Writes the model, a picture of samples, the learning curve, the test likelihood and a
    SavedModel for TensorFlow Serving. A run that was stopped, in whatever way, goes on by --resume
    to the weights that it would have reached; what is not said again is as it was.

    Example: tfnvp train --model nice --epochs 100 --seed 1
    """
    if model is not None and recipe is not None:
        raise ValueError("give --model or --recipe, not both")
    if model is not None and model not in _MODEL_RECIPES:
        raise ValueError(f"unknown model {model!r}: choose one of {', '.join(_MODEL_RECIPES)}")
    recipe = recipe or (_MODEL_RECIPES[model] if model else None)
    if recipe is not None:
        recipes.get(recipe)
    import_tensorflow()
    from tfnvp import distribute as replicas
    from tfnvp.runs import folder as run_folder
    from tfnvp.runs import resuming
    from tfnvp.runs import train_recipe as training

    replicated = replicas.make_strategy(strategy)
    source = {"dataset": dataset, "images": images, "table": table, "records": records}
    source |= {"data_dir": data_dir, "image_size": image_size, "skip_bad": skip_bad or None}
    source |= {"columns": columns, "levels": levels}
    source = {name: value for name, value in source.items() if value is not None}
    stored = {}
    if resume:
        output = output or resuming.newest_unfinished(recipe, dataset)
        stored = run_folder.read_config(output) if resuming.is_run(output) else {}
        if not stored and recipe is None and not source:
            raise ValueError(
                f"no run in {output} to go on with: name it rightly, or say what to train if it is "
                "to begin there (--recipe, --dataset, --images, --table or --records)"
            )
        if resuming.is_run(output):
            resuming.check_unfinished(output)
        (messages if json_output else console).print(
            f"{'resuming' if stored else 'starting'}     {output}"
        )
    if stored and recipe is None:
        chosen = recipes.Recipe(**{name: stored[name] for name in recipes.FIELDS if name in stored})
    else:
        chosen = recipes.get(recipe or _default_recipe(images, table, records))
    chosen = chosen.override(options or [])
    by_hand = stored or batch_size or any(o.startswith("batch_size=") for o in options or [])
    chosen = chosen.replace(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
    source = source or stored.get("source_of_data", {})
    seed = stored.get("seed", 0) if seed is None else seed
    splits = load_data(None, default=chosen.dataset, **source)
    if chosen.dataset == "table" and not by_hand:
        chosen = chosen.for_rows(len(splits.train))
    if dry_run:
        cli_progress.print_dry_run(chosen, splits, seed, json_output)
        return
    shown = (messages if json_output else console) if replicas.is_chief(replicated) else None
    with cli_progress.training_progress(chosen, splits, shown) as callbacks:
        _, metrics, folder, exported = training.train(
            chosen,
            splits,
            output,
            saved_models,
            seed,
            verbose=0,
            callbacks=callbacks,
            strategy=replicated,
            resume=resume,
            on_divergence=on_divergence,
            source_of_data=source,
        )
    if metrics is None:  # The first worker writes, and reports.
        return
    if json_output:
        print_json({**metrics, "folder": str(folder), "saved_model": str(exported)})
        return
    if metrics["epochs"] < chosen.epochs:
        console.print(
            f"stopped      after epoch {metrics['epochs']}, as validation was no better for "
            f"{chosen.patience}; kept are the weights of epoch {metrics['best_epoch']}"
        )
    _print_likelihood(metrics["test"], "test")
    files = [name for name in _RESULTS if (folder / name).is_file()]
    console.print(f"run folder   {folder}  ({', '.join(files)})")
    console.print(f"SavedModel   {exported}")


@app.command()
def evaluate(
    model: Model,
    dataset: Dataset = None,
    images: Images = None,
    table: TableFile = None,
    records: Records = None,
    data_dir: DataDir = None,
    image_size: ImageSize = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="train, validation or test. Default: test, but all of a --table and of --images."
        ),
    ] = None,
    draws: Annotated[int, typer.Option(help="Draws of dequantization noise.", min=1)] = 10,
    skip_bad: SkipBad = False,
    json_output: Json = False,
):
    """Print the log-likelihood of a data set under a model, with its standard error.

    Example: tfnvp evaluate runs/digits-real_nvp-1
    """
    if split not in ("train", "validation", "test", None):
        raise ValueError(f"unknown split {split!r}: choose one of train, validation, test")
    import_tensorflow()
    from tfnvp import data, evaluation, scoring

    require_one_source(dataset, images, table, records)
    flow = load_flow(model)
    if table is not None and table.suffix != ".npz" and split is None:
        rows = scoring.finite_rows_of(flow, table, model, skip_bad)
        _report_likelihood(evaluation.evaluate(flow, rows), table, json_output)
        return
    if images is not None and split is None:
        rows = data.image_files.read_images(images, image_size, skip_bad, flow.levels or 256)
        require_shape(flow, rows.shape[1:], images)
        _report_likelihood(evaluation.evaluate(flow, rows, draws), images, json_output)
        return
    split = split or "test"
    splits = load_data_of(
        model,
        flow,
        dataset=dataset,
        images=images,
        table=table,
        records=records,
        data_dir=data_dir,
        image_size=image_size,
        skip_bad=skip_bad or None,
    )
    if isinstance(getattr(splits, split), data.records.RecordStream):
        raise ValueError("training rows of records are streamed: choose --split validation or test")
    with console.status("evaluating"):
        result = evaluation.evaluate(flow, getattr(splits, split), draws)
    _report_likelihood(result, split, json_output)


@app.command()
def export(
    model: Model,
    saved_models: SavedModels = pathlib.Path("saved_models"),
    name: Annotated[str | None, typer.Option(help="Name of the served model.")] = None,
    weights_dtype: Annotated[
        str, typer.Option(help="float32, or bfloat16 for half the space.", metavar="DTYPE")
    ] = "float32",
    jit_compile: Annotated[bool, typer.Option(help="Let XLA compile it where it runs.")] = False,
    warmup: Annotated[
        list[int] | None,
        typer.Option(
            help="Batch sizes of warm-up requests; repeat for several. Needs the package "
            "tensorflow-serving-api.",
            metavar="ROWS",
        ),
    ] = None,
    json_output: Json = False,
):
    """Write a model as a SavedModel, SAVED_MODELS/NAME/VERSION, for TensorFlow Serving.

    Example: tfnvp export runs/digits-real_nvp-1 --name digits
    """
    import_tensorflow()
    from tfnvp.runs import card as run_card
    from tfnvp.runs import folder as run_folder

    flow = run_folder.load_model(model)
    config = run_folder.read_config(model)
    folder = model if model.is_dir() else model.parent
    default = (
        run_folder.served_name(folder, config["dataset"], config["model"]) if config else flow.name
    )
    path = saved_models / run_folder.plain_name(name or default)
    exported = flow.export(
        path,
        weights_dtype=weights_dtype,
        jit_compile=jit_compile,
        warmup=warmup or (),
        card=run_card.read_card(model, weights_dtype),
    )
    print_result(f"SavedModel   {exported}", {"saved_model": str(exported)}, json_output)


@app.command("records")
def write_records(
    output: Annotated[pathlib.Path, typer.Argument(help="Folder to write.", metavar="DIR")],
    images: Images = None,
    table: TableFile = None,
    columns: Columns = None,
    image_size: ImageSize = None,
    levels: Levels = None,
    skip_bad: SkipBad = False,
    seed: Annotated[int, typer.Option(help="Seed of the division into splits.")] = 0,
    json_output: Json = False,
):
    """Turn a table or image folder larger than memory into records, for `train --records`.

    Example: tfnvp records big --table big.parquet
    """
    if (images is None) == (table is None):
        raise ValueError("give one of --images and --table")
    if table is None and columns is not None:
        raise ValueError("--columns are those of a --table")
    if images is None and levels is not None:
        raise ValueError("--levels are those of --images")
    import_tensorflow()
    from tfnvp import data

    if images:
        meaning = {"levels": levels or 256}
        chunks, count = data.image_chunks(images, image_size, skip_bad=skip_bad, **meaning)
    else:
        chunks, count = data.table_chunks(table, skip_bad, columns)
        meaning = {"columns": data.table_columns(table, columns)}
    data.write_records(chunks, count, output, (images or table).stem, seed=seed, **meaning)
    result = {"output": str(output), "rows": count}
    print_result(f"{count} rows in {output}", result, json_output)


@app.command("recipes")
def list_recipes(json_output: Json = False):
    """List the recipes that `tfnvp train --recipe NAME` runs.

    Example: tfnvp recipes
    """
    if json_output:
        print_json({name: vars(recipe) for name, recipe in recipes.RECIPES.items()})
        return
    table = Table("recipe", "data", "what it is", "published", box=None)
    table.columns[0].no_wrap = True
    for recipe in recipes.RECIPES.values():
        table.add_row(recipe.name, recipe.dataset, recipe.description, recipe.published)
    console.print(table, soft_wrap=False)


def _default_recipe(images, table, records):
    from tfnvp.data.records import describe

    if images is not None or (records is not None and describe(records)["levels"] is not None):
        return "realnvp-images"
    if table is not None or records is not None:
        return "realnvp-table"
    return _MODEL_RECIPES["real_nvp"]


def _report_likelihood(result, of, json_output):
    if json_output:
        print_json(result._asdict())
    else:
        _print_likelihood(result._asdict(), of)


def _print_likelihood(result, of):
    bits = ""
    if result["bits_per_dim"] is not None:
        error = result["bits_per_dim_standard_error"]
        bits = f"   {result['bits_per_dim']:.4f} ± {error:.4f} bits/dim"
    nats = f"{result['nats']:.2f} ± {result['nats_standard_error']:.2f} nats"
    console.print(f"{of} likelihood   {nats}{bits}")
    rows = f"{result['rows']} row{'s' * (result['rows'] != 1)}"
    noise = f", {result['draws']} draws of noise each" if bits else ""
    console.print(f"                  {rows}{noise}")


for command in (
    cli_doctor.doctor,
    cli_pictures.interpolate,
    cli_pictures.inpaint,
    cli_pictures.reconstruct,
    cli_pictures.nearest,
    cli_pictures.hierarchy,
    cli_report.report,
    cli_sample.sample,
    cli_score.score,
):
    app.command()(command)


def main(arguments=None):
    """Runs a command: exit code 0 for success, 2 for bad use, 1 for work that failed."""
    # A scheduler's request to stop ends a training run as Ctrl-C does: with its weights saved.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    warnings.showwarning = _warn
    try:
        app(arguments, prog_name="tfnvp")
    except (OSError, RuntimeError, ImportError) as error:
        _fail(error, 1)
    except (ValueError, TypeError) as error:
        _fail(error, 2)


def _warn(message, category, filename, lineno, file=None, line=None):
    del category, filename, lineno, file, line
    _print_error(f"warning: {message}", "yellow")


def _fail(error, code):
    _print_error(f"error: {error}", "red")
    raise SystemExit(code)


def _print_error(text, style):
    messages.print(text, style=style, markup=False)
