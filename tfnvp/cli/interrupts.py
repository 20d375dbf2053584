"""How Ctrl-C ends a command."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

from tfnvp.runs.signals import handling

#: Exit code of a command that Ctrl-C has ended, as in shells.
INTERRUPTED = 130


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Lets Ctrl-C end the process at once while the block imports modules.

    Nothing is lost yet, and a `KeyboardInterrupt` within an import can become another error.
    """
    with handling(_end):
        yield


def end_training_by_sigterm() -> None:
    """Makes SIGTERM, which schedulers send, end a training as Ctrl-C does, with saved weights.

    SIGINT, and a SIGTERM that the process ignores, are left unchanged.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _end(*_):
    sys.stdout.flush()
    os._exit(INTERRUPTED)
