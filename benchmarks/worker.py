"""One library in a process of its own: warms up, then runs a block whenever it is asked.

`python -m benchmarks.worker --library L --work W --cells C1,C2`: answers with one JSON line when it
is ready, then reads names of cells from standard input and answers each with the milliseconds that
a step took. While it waits it is blocked on that read and takes no processor time.

With `--started SECONDS`, the time of its start, it takes one step of the first cell instead, as
early as it can, and answers when that was.
"""

import argparse
import contextlib
import dataclasses
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time

from benchmarks.libraries import fastest
from benchmarks.workloads import SCALING, WORKLOADS

_WARM_UP_BLOCKS = 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--cells", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--started", type=float)
    options = parser.parse_args()
    limit_threads(options.threads)
    answers = private_standard_output()
    work = {**WORKLOADS, **SCALING}[options.work]
    try:
        library = importlib.import_module(f"benchmarks.libraries.{options.library}")
    except ImportError as error:
        return answer(answers, skipped=f"{type(error).__name__}: {error}")
    cells = [
        cell
        for cell in work.cells
        if cell.name in options.cells.split(",")
        and work.kind in library.KINDS
        and hasattr(library, cell.task)
    ]
    if not cells:
        return answer(answers, skipped=f"it has none of {options.cells}")
    if options.started is not None:
        return answer(answers, **first_step(library, work, cells[0], options.started))
    return answer_requests(answers, library, work, cells)


def answer_requests(answers, library, work, cells):
    """Warms up, says so, and runs the blocks that are asked for until the input ends."""
    blocks = {cell.name: getattr(library, cell.task)(work, cell) for cell in cells}
    for block in blocks.values():
        for _ in range(_WARM_UP_BLOCKS):
            block()
    modes = {name: getattr(block, "mode", "") for name, block in blocks.items()}
    answer(answers, versions=versions(library), modes=modes)
    steps = {cell.name: cell.steps for cell in cells}
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        # A block that knows better what belongs to it returns its own seconds.
        seconds = blocks[name]() or time.perf_counter() - start
        answer(answers, milliseconds=1000 * seconds / steps[name], peak_mib=peak_mib())


def first_step(library, work, cell, started):
    """Seconds from the start of the process to imports, to a flow, to the end of its first step."""
    imported = time.time()
    # The mode that a user would write down, at its first call.
    fastest.TRIALS = 0
    block = getattr(library, cell.task)(work, dataclasses.replace(cell, steps=1))
    built = time.time()
    block()
    seconds = [moment - started for moment in (imported, built, time.time())]
    names = ("imported", "built", "first_step")
    return {
        **{name: round(value, 3) for name, value in zip(names, seconds, strict=True)},
        "peak_mib": round(peak_mib()),
        "mode": getattr(block, "mode", ""),
        "versions": versions(library),
    }


def limit_threads(threads):
    """Gives this process so many processors, and the libraries that count otherwise the number."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def private_standard_output():
    """Keeps standard output for answers; whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def answer(stream, **values):
    print(json.dumps(values), file=stream, flush=True)


def versions(library):
    """Versions of what is installed; a checkout that is not has none."""
    found = {}
    for name in library.PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def peak_mib():
    """The most memory the process has taken so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
