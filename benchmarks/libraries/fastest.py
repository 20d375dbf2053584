"""Which of several ways to run the same thing is the fastest: each library gets its best mode."""

import sys
import time

#: Blocks that each mode is given; with none, the first mode is taken untried.
TRIALS = 2


def fastest(variants):
    """Returns the fastest of some functions without arguments, with its name as `mode`.

    Args:
      variants: dict from a mode's name to a function that runs a block in it. A mode that fails
        is passed over, unless all fail.
    """
    if not TRIALS:
        mode = next(iter(variants))
        return with_mode(variants[mode], mode)
    seconds, failure = {}, None
    for mode, block in variants.items():
        try:
            seconds[mode] = _best_time(block)
        except Exception as error:  # A compiler's failure can have any type.
            print(f"{mode}: {type(error).__name__}: {error}", file=sys.stderr)
            failure = error
    if not seconds:
        raise failure
    mode = min(seconds, key=seconds.get)
    return with_mode(variants[mode], mode)


def with_mode(block, mode):
    """Returns the function with its mode told to the worker."""
    block.mode = mode
    return block


def _best_time(block):
    block()
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        block()
        times.append(time.perf_counter() - start)
    return min(times)
