"""One library in a process of its own: warms up, then runs a block whenever it is asked.

`python -m benchmarks.worker --library L --work W --cells C1,C2`: answers with one JSON line when it
is ready, then reads names of cells from standard input and answers each with the milliseconds that
a step took. While it waits it is blocked on that read and takes no processor time.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import time

from benchmarks.workloads import WORKLOADS

_WARM_UP_BLOCKS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--work", required=True, choices=WORKLOADS)
    parser.add_argument("--cells", required=True)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    limit_threads(options.threads)
    answers = private_standard_output()
    work = WORKLOADS[options.work]
    names = options.cells.split(",")
    try:
        library = importlib.import_module(f"benchmarks.libraries.{options.library}")
        builders = {
            cell: getattr(library, cell.task)
            for cell in work.cells
            if cell.name in names and hasattr(library, cell.task) and work.kind in library.KINDS
        }
    except ImportError as error:
        return answer(answers, skipped=f"{type(error).__name__}: {error}")
    if not builders:
        return answer(answers, skipped=f"it has none of {options.cells}")
    blocks = {cell.name: build(work, cell) for cell, build in builders.items()}
    for block in blocks.values():
        for _ in range(_WARM_UP_BLOCKS):
            block()
    steps = {cell.name: cell.steps for cell in work.cells}
    answer(answers, versions=versions(library), modes={n: mode(b) for n, b in blocks.items()})
    for line in sys.stdin:
        name = line.strip()
        start = time.perf_counter()
        # A block that knows better what belongs to it returns its own seconds.
        seconds = blocks[name]() or time.perf_counter() - start
        answer(answers, milliseconds=1000 * seconds / steps[name], peak_mib=peak_mib())


def limit_threads(threads):
    """Gives this process so many processors, and the libraries that count otherwise the number."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    # Threads that wait must sleep, not spin: somebody else is being measured.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def private_standard_output():
    """Keeps standard output for answers; whatever libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def mode(block):
    return getattr(block, "mode", "")


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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
