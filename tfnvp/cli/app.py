"""The commands together, and how they end: exit codes, errors and warnings."""

import re
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from tfnvp._version import __version__
from tfnvp.cli import options
from tfnvp.cli.doctor import doctor
from tfnvp.cli.evaluate import evaluate
from tfnvp.cli.export import export
from tfnvp.cli.interrupts import end_training_by_sigterm
from tfnvp.cli.pictures import hierarchy, inpaint, interpolate, nearest, reconstruct
from tfnvp.cli.recipes import recipes
from tfnvp.cli.records import records
from tfnvp.cli.report import report
from tfnvp.cli.sample import sample
from tfnvp.cli.score import score
from tfnvp.cli.train import train

app = typer.Typer(
    name="tfnvp",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value):
    if value:
        options.console.print(f"tfnvp {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
):
    """Normalizing flows: train, evaluate, sample and export them."""


_WORK = (train, evaluate, export, records, recipes, doctor)
_PICTURES = (interpolate, inpaint, reconstruct, nearest, hierarchy)
for _command in (*_WORK, *_PICTURES, report, sample, score):
    app.command()(options.command(_command))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command; see `tfnvp.cli.main`."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    end_training_by_sigterm()

    def show(text, style):
        options.messages.print(with_flags(text, words), style=style)

    def warn(message, *_, **__):
        show(f"warning: {message}", "yellow")

    # Restores the function that shows warnings, for programs that call a command.
    with warnings.catch_warnings():
        warnings.showwarning = warn
        try:
            app(words, prog_name="tfnvp")
        except (OSError, RuntimeError, ImportError, ValueError, TypeError) as error:
            run = getattr(error, "unfinished_run", None)
            hint = f". `tfnvp train --resume --output {run}` continues it" if run else ""
            show(f"error: {error}{hint}", "red")
            failed = isinstance(error, (OSError, RuntimeError, ImportError))
            raise SystemExit(1 if failed else 2) from None


def with_flags(text: str, words: Sequence[str]) -> str:
    """Returns a message of the library with the flags of a command for names of arguments.

    Args:
      text: the message, with names of arguments in backticks.
      words: the words of the command.

    >>> with_flags("`skip_bad` leaves them out, `levels=2` makes two", ["train", "--epochs", "3"])
    '`--skip-bad` leaves them out, `--levels 2` makes two'
    """
    commands = typer.main.get_command(app).commands
    command = next((commands[word] for word in words if word in commands), None)
    given = [p for p in command.params if p.param_type_name == "option"] if command else []
    flags = {option.name: max(option.opts, key=len) for option in given}
    if "image_size" in flags:
        flags["size"] = flags["image_size"]  # The name of the library's argument.

    def flag(match):
        name, value = match.groups()
        if name not in flags:
            return match.group()
        return f"`{flags[name]}`" if value in (None, "True") else f"`{flags[name]} {value}`"

    return re.sub(r"`(\w+)(?:=([^`]*))?`", flag, text)
