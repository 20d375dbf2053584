"""What `tfnvp train` shows: its progress, or an estimate of what it needs."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

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

    epochs, silent = recipe.epochs, not console.is_terminal
    columns = MofNCompleteColumn(), BarColumn(), "{task.fields[losses]}", TimeRemainingColumn()
    with Progress("epoch", *columns, console=console, transient=True, disable=silent) as progress:
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
                on_epoch_end=on_epoch_end, on_train_begin=on_train_begin, on_train_end=on_train_end
            )
        ]


def _losses(logs):
    # In nats it is the mean of -log p: without the word "loss", its sign would look wrong.
    key, before, unit = "loss", " loss", "nats"
    if "bits_per_dim" in logs:
        key, before, unit = "bits_per_dim", "", "bits/dim"
    values = {"training": logs.get(key), "validation": logs.get(f"val_{key}")}
    shown = {part: value for part, value in values.items() if value is not None}
    return "   ".join(f"{part}{before} {value:.3f} {unit}" for part, value in shown.items())


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
    parts = ", ".join(f"{name} {_size(value)}" for name, value in memory.items())
    milliseconds, epochs = 1000 * found["seconds_per_step"], found["epochs"]
    longest = f"{_duration(found['seconds_at_most'])} for {epochs} epoch{'s' * (epochs != 1)}"
    console.print(
        f"parameters   {found['parameters']:,}\n"
        f"memory       about {_size(sum(memory.values()))}: {parts}\n"
        f"step         {milliseconds:.1f} ms, {found['steps_per_epoch']} steps an epoch\n"
        f"epoch        {_duration(found['seconds_per_epoch'])}, validation included\n"
        f"training     at most {longest} and compiling; nothing written"
    )


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
