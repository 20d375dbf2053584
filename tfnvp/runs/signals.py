"""Handlers of Ctrl-C and SIGTERM; without TensorFlow, for the start of the command line."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handling(handler: Callable) -> Iterator[Callable[[], None]]:
    """Replaces the handlers of both signals that raise `KeyboardInterrupt`, within the block.

    All others are left unchanged: a signal that the process ignores is still ignored. Only the main
    thread has handlers, so another thread replaces none.

    Args:
      handler: as for `signal.signal`.

    Yields:
      A function that ends the replacement before the block ends.
    """
    raising, numbers = signal.default_int_handler, []
    if threading.current_thread() is threading.main_thread():
        signals = (signal.SIGINT, signal.SIGTERM)
        numbers = [number for number in signals if signal.getsignal(number) is raising]

    def replace(with_handler):
        for number in numbers:
            signal.signal(number, with_handler)

    replace(handler)
    try:
        yield lambda: replace(raising)
    finally:
        replace(raising)
