"""What `tfnvp train` shows: its progress, or an estimate of what it needs."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tfnvp.cli.options import console, messages, print_json

if TYPE_CHECKING:
    from tfnvp.data import Splits
    from tfnvp.recipes import Recipe

_UNITS = ("bytes", "KB", "MB", "GB", "TB")


@contextlib.contextmanager
def training_progress(
    recipe: "Recipe", splits: "Splits", console: Console | None
) -> Iterator[list[Any]]:
    """Gives the Keras callbacks that show progress: about ten lines, and a bar on terminals.

    The bar moves with every program of several steps: batches, loss so far, learning rate, and the
    time that is left.

    Args:
      recipe: what is trained.
      splits: the data.
      console: where progress is shown, or None to show nothing.
    """
    import keras

    if console is None:
        yield []
        return

    epochs, steps = recipe.epochs, math.ceil(len(splits.train) / recipe.batch_size)
    silent, position = not console.is_terminal, _Position(epochs, steps)
    place, loss = TextColumn("{task.fields[place]}"), TextColumn("{task.fields[loss]}")
    columns = place, BarColumn(None), loss, TimeRemainingColumn()
    how = {"console": console, "transient": True, "expand": True}
    show = Progress(*columns, disable=silent, **how)
    with show as progress:
        task = progress.add_task("batches", total=epochs * steps, **position.fields(None, None))

        def on_train_begin(logs):
            console.print(
                f"training     {recipe.name} on {len(splits.train)} rows of {splits.name}; the "
                "first epoch compiles, which takes longer"
            )

        def on_epoch_begin(epoch, logs):
            if position.begin(epoch):  # A resumed run has no speed yet.
                progress.reset(task, completed=epoch * steps)

        def on_train_batch_end(batch, logs):
            position.batch = min(batch + 1, steps)
            if not silent:
                fields = position.fields(logs, callback.model.optimizer)
                progress.update(task, completed=position.done, **fields)

        def on_epoch_end(epoch, logs):
            progress.update(task, completed=(epoch + 1) * steps)
            if epoch == 0 or (epoch + 1) % max(1, epochs // 10) == 0:
                console.print(f"epoch {epoch + 1}/{epochs}   {_losses(logs)}")

        def on_train_end(logs):
            console.print("evaluating   and exporting, which takes minutes for convolutions")

        callback = keras.callbacks.LambdaCallback(
            on_epoch_begin=on_epoch_begin,
            on_epoch_end=on_epoch_end,
            on_train_begin=on_train_begin,
            on_train_end=on_train_end,
        )
        callback.on_train_batch_end = on_train_batch_end
        callback.async_safe = True  # Steps still run together in one program.
        yield [callback]


@dataclasses.dataclass
class _Position:
    """Where a training is, and the texts of its bar."""

    epochs: int
    steps: int
    epoch: int | None = None
    batch: int = 0

    def begin(self, epoch):
        """Begins an epoch, and returns whether it is the first one."""
        is_first, self.epoch, self.batch = self.epoch is None, epoch, 0
        return is_first

    @property
    def done(self):
        return self.epoch * self.steps + self.batch

    def fields(self, logs, optimizer):
        epoch = 0 if self.epoch is None else self.epoch
        place = f"epoch {epoch + 1}/{self.epochs} batch {self.batch}/{self.steps}"
        if not logs:
            return {"place": place, "loss": "compiling"}
        name, unit = ("bits_per_dim", "bits/dim") if "bits_per_dim" in logs else ("loss", "nats")
        rate = float(optimizer.learning_rate)
        return {"place": place, "loss": f"{float(logs[name]):.3f} {unit} rate {rate:.1e}"}


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
