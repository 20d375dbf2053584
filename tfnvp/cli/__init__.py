"""The command line. TensorFlow is imported by the commands, never for their help."""

from collections.abc import Sequence
from typing import NoReturn

from tfnvp.cli.interrupts import INTERRUPTED, ending_at_once

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command: exit code 0 for success, 2 for bad use, 1 for work that failed.

    Ctrl-C ends it with 130, but a training with 1, once the weights are saved.

    Args:
      arguments: the words of the command. Default: those of the process.
    """
    try:
        with ending_at_once():
            from tfnvp.cli import app
        app.main(arguments)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
