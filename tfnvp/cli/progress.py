"""What `tfnvp train` shows: its progress, or an estimate of what it needs."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfnvp.cli.options import console, messages, print_json

if TYPE_CHECKING:
    from tfnvp.data import Splits
    from tfnvp.recipes import Recipe

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@contextlib.contextmanager
def training_progress(
    recipe: "Recipe", splits: "Splits", console: Console | None
) -> Iterator[list[Any]]:
    """Gives the Keras callbacks that show progress: a bar on terminals, ten lines in log files.

    Args:
      recipe: what is trained.
      splits: the data.
      console: where progress is shown, or None to show nothing.
    """
    import keras

    if console is None:
        yield []
        return

    epochs = recipe.epochs

    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    silent = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=silent) as progress:
        task = progress.add_task("epochs", total=epochs, losses="")

        def on_train_begin(logs):
            console.print(
                f"training     {recipe.name} on {len(splits.train)} rows of {splits.name}; the "
                "first epoch compiles, which takes longer"
            )

        def on_epoch_end(epoch, logs):
            losses = _losses(logs)
            progress.update(task, completed=epoch + 1, losses=losses)
            if silent and (epoch == 0 or (epoch + 1) % max(1, epochs // 10) == 0):
                console.print(f"epoch {epoch + 1}/{epochs}   {losses}")

        def on_train_end(logs):
            console.print("evaluating   and exporting, which takes minutes for convolutions")

        yield [
            keras.callbacks.LambdaCallback(
                on_train_begin=on_train_begin, on_epoch_end=on_epoch_end, on_train_end=on_train_end
            )
        ]


def _losses(logs):
    unit = "bits_per_dim" if "bits_per_dim" in logs else "loss"
    name = "bits/dim" if unit == "bits_per_dim" else "nats"
    shown = {"training": logs.get(unit), "validation": logs.get(f"val_{unit}")}
    # In nats it is the mean of -log p: without the word, its sign would look wrong.
    loss = " loss" * (unit == "loss")
    return "   ".join(
        f"{part}{loss} {value:.3f} {name}" for part, value in shown.items() if value is not None
    )


def print_dry_run(recipe: "Recipe", splits: "Splits", seed: int, json_output: bool) -> None:
    """Prints an estimate of what a training needs."""
    from tfnvp.runs.dry_run import dry_run

    messages.print(f"trying       a few steps of {recipe.name}, and compiling, which takes longer")
    with console.status("a few steps"):
        found = dry_run(recipe, splits, seed)
    if json_output:
        print_json(found)
        return
    memory = {name: found[f"bytes_{name}"] for name in ("weights", "gradients", "optimizer")}
    memory[f"activations of {found['batch_size']} rows"] = found["bytes_activations"]
    console.print(f"parameters   {found['parameters']:,}")
    parts = ", ".join(f"{name} {_size(value)}" for name, value in memory.items())
    console.print(f"memory       about {_size(sum(memory.values()))}: {parts}")
    step = f"{1000 * found['seconds_per_step']:.1f} ms"
    console.print(f"step         {step}, {found['steps_per_epoch']} steps an epoch")
    console.print(f"epoch        {_duration(found['seconds_per_epoch'])}, validation included")
    longest, epochs = _duration(found["seconds_at_most"]), found["epochs"]
    count = f"{epochs} epoch{'s' * (epochs != 1)}"
    console.print(f"training     at most {longest} for {count} and compiling; nothing written")


def _size(number):
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            return f"{number:.3g} {unit}"
        number /= 1000


def _duration(seconds):
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
