"""The command that trains a flow."""

from pathlib import Path
from typing import Annotated

from typer import Option

import tfnvp
from tfnvp.cli import completion, files, loading, options
from tfnvp.cli.evaluate import print_likelihood
from tfnvp.cli.options import Source, console
from tfnvp.cli.progress import print_dry_run, training_progress


def train(
    *,
    model: Annotated[
        str | None,
        Option(
            help="real_nvp (default), neural_spline or nice, on digits.",
            metavar="MODEL",
            autocompletion=completion.words(lambda: ("real_nvp", "neural_spline", "nice")),
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        Option(
            help="A recipe by name; see `tfnvp recipes`.",
            metavar="NAME",
            autocompletion=completion.recipes,
        ),
    ] = None,
    source: Source,
    changes: Annotated[
        list[str] | None,
        Option(
            "--set", help="Override a field or model option of the recipe.", metavar="NAME=VALUE"
        ),
    ] = None,
    epochs: Annotated[int | None, Option(help="Largest number of epochs.")] = None,
    minutes: Annotated[
        float | None,
        Option(help="Instead of --epochs: as many as end in this time, from a few timed steps."),
    ] = None,
    batch_size: Annotated[int | None, Option(help="Rows of a batch.")] = None,
    learning_rate: Annotated[float | None, Option(help="Peak learning rate.")] = None,
    seed: Annotated[
        int | None, Option(help="Seed of weights, noise and order. Default: 0.")
    ] = None,
    start_from: Annotated[
        Path | None,
        Option(
            help="Begin with the weights of this flow of the same recipe: a .keras file, a run "
            "folder, or a model that ships.",
            metavar="MODEL",
            autocompletion=completion.models,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        Option(
            help="Run folder. Default: the next free runs/NAME-N.",
            metavar="DIR",
            autocompletion=completion.folders,
        ),
    ] = None,
    saved_models: options.SavedModels = Path("saved_models"),
    dry_run: Annotated[
        bool, Option("--dry-run", help="Only estimate parameters, memory and time; write nothing.")
    ] = False,
    strategy: Annotated[
        str,
        Option(
            help="none, mirrored (all GPUs) or multi_worker (all hosts of TF_CONFIG).",
            autocompletion=completion.choices("strategy"),
        ),
    ] = "none",
    resume: Annotated[
        bool, Option("--resume", help="Resume the run in --output, or the newest unfinished run.")
    ] = False,
    on_divergence: Annotated[
        str,
        Option(
            help="If the loss becomes NaN: stop, or roll-back to good weights, up to 3 times.",
            metavar="ACTION",
            autocompletion=completion.choices("on_divergence"),
        ),
    ] = "stop",
    json_output: options.Json = False,
) -> None:
    """Train a flow; without options, Real NVP on handwritten digits, in a few minutes.

    Writes the model, a picture of samples, the learning curve, the test likelihood and a
    SavedModel for TensorFlow Serving. --resume continues a run, however it was stopped, to the
    weights that it would have reached; omitted options keep their values.

    Example: tfnvp train --model nice --epochs 100 --seed 1
    """
    recipe = _recipe_name(model, recipe)
    fields = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given = [f"{name}={value!r}" for name, value in fields.items() if value is not None]
    changes = [*(changes or ()), *given]
    if minutes is not None and any(change.startswith("epochs=") for change in changes):
        raise ValueError("give --minutes or a number of epochs, not both")
    if minutes is not None and strategy != "none":
        raise ValueError("--minutes measures one process: give --epochs with --strategy")
    if start_from is not None:
        start_from = files.find_model(start_from)
    plan = _plan(recipe, changes, source.given, seed, output, resume, start_from)
    everything = options.messages if json_output else console
    if resume:
        everything.print(f"{'resuming' if plan.is_resumed else 'starting'}     {plan.output}")
    source, replicated = Source(**plan.source), None
    # Files of tables and images are read without TensorFlow, so that their faults are told at once.
    if source.table is None and source.images is None:
        replicated = _start(strategy)
    splits = loading.load_data(source, default=plan.recipe.dataset, division=plan.division)
    replicated = replicated or _start(strategy)
    from tfnvp import distribute
    from tfnvp.runs import train_recipe

    chosen = plan.recipe_for(splits)
    if minutes is not None:
        chosen = _within_minutes(plan, chosen, splits, minutes, everything)
    if dry_run:
        print_dry_run(chosen, splits, plan.seed, json_output)
        return
    shown = everything if distribute.is_chief(replicated) else None
    with training_progress(chosen, splits, shown) as callbacks:
        further = train_recipe.RunOptions(
            callbacks, replicated, on_divergence, plan.start_from, plan.source
        )
        places = plan.output, saved_models
        run = train_recipe.train(chosen, splits, *places, plan.seed, 0, resume, further)
    if run.metrics is None:  # Only the first worker writes and reports.
        return
    if json_output:
        written = {"folder": str(run.folder), "saved_model": str(run.exported)}
        options.print_json({**run.metrics, **written})
    else:
        _print_run(run, chosen)


def _plan(recipe, changes, source, seed, output, resume, start_from):
    """Returns what to train, and checks that the run folder and the data set can be."""
    from tfnvp.runs import resuming
    from tfnvp.runs.folder import RunFolder, plain_name

    plan = resuming.plan(recipe, changes, source, seed, output, resume, start_from)
    if plan.output is not None:
        plain_name(plan.output.resolve().name)
        if not resume:
            RunFolder(plan.output).require_new()
    named = Source(**plan.source)
    if not named.names_data and plan.recipe.dataset in ("table", "images"):
        raise ValueError(
            f"the recipe {plan.recipe.name} has no data set of its own: give "
            f"--{plan.recipe.dataset}"
        )
    if not named.names_files:
        files.require_dataset(named.dataset or plan.recipe.dataset, named.data_dir)
    return plan


def _within_minutes(plan, recipe, splits, minutes, shown):
    """Returns the recipe with the epochs that end in time; a resumed run keeps its epochs."""
    from tfnvp.runs.dry_run import within_minutes

    if plan.is_resumed:
        shown.print(f"epochs       {recipe.epochs}, as when the run began")
        return recipe
    recipe = within_minutes(recipe, splits, minutes, plan.seed)
    shown.print(f"epochs       {recipe.epochs} for {minutes:g} minutes (at least 1)")
    return recipe


def _start(strategy):
    """Imports TensorFlow, and returns the strategy of a name."""
    options.import_tensorflow()
    from tfnvp import distribute

    return distribute.make_strategy(strategy)


def _recipe_name(model, recipe):
    """Returns the name of the recipe that the options name, or None."""
    if model is not None and recipe is not None:
        raise ValueError("give --model or --recipe, not both")
    if model is not None:
        return tfnvp.recipes.default(model=model).name
    return recipe


def _print_run(run, recipe):
    from tfnvp.runs.folder import RunFolder

    if run.metrics["epochs"] < recipe.epochs:
        console.print(
            f"stopped      after epoch {run.metrics['epochs']}: validation was no better for "
            f"{recipe.patience} epochs; the weights of epoch {run.metrics['best_epoch']} are kept"
        )
    print_likelihood(run.metrics["test"], "test")
    console.print(f"run folder   {run.folder}  ({', '.join(RunFolder(run.folder).results())})")
    console.print(f"SavedModel   {run.exported}")
