"""Interleaved measuring: all libraries wait in their own processes and run one at a time."""

import json
import os
import pathlib
import platform
import random
import re
import subprocess
import sys
import tempfile
import time

from benchmarks.libraries import AVERAGED, LABELLED, OURS, PIPELINES

_ROOT = pathlib.Path(__file__).parent.parent
_IN_THIS_ENVIRONMENT = {*OURS, *LABELLED, *PIPELINES, *AVERAGED, "floor_tensorflow", "tfp"}
_IDLE_LIMIT = 0.02
# What decides how fast matrix products can be.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Worker:
    """A `benchmarks.worker` process and the conversation with it."""

    def __init__(self, library, work, cells, python, threads, *options):
        self.library = library
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 (closed by `stop`)
        names = ",".join(cell.name for cell in cells)
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.worker", "--library", library, "--work", work.name]
            + ["--cells", names, "--threads", str(threads), *options],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def read(self):
        """Returns the next answer, a dict; `skipped` in it says why there is none."""
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._log.seek(0)
        last = self._log.read().strip().splitlines()[-3:]
        return {"skipped": "the worker ended: " + " | ".join(last)}

    def run(self, cell):
        """Runs one block of a cell and returns the answer."""
        self._process.stdin.write(cell.name + "\n")
        self._process.stdin.flush()
        return self.read()

    def processor_seconds(self):
        """Processor time that the process has taken so far; None where the system has no /proc."""
        try:
            fields = pathlib.Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1]
        except OSError:
            return None
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._log.close()


def measure(work, libraries, cells, rounds, pythons, threads=2, seed=0, say=print):
    """Times cells of one workload in all libraries.

    Args:
      work: `benchmarks.workloads.Workload`.
      libraries: names of adaptors in `benchmarks.libraries`.
      cells: the cells of `work` to time.
      rounds: how many blocks of each cell of each library.
      pythons: function from a library's name to the Python interpreter that has it.
      threads: processors of each worker.
      seed: of the order within rounds.
      say: function that tells the user a line.

    Returns:
      List of dicts, one for each cell and library, with the milliseconds of a step in every
      block.
    """
    workers, ready = {}, {}
    try:
        for name in libraries:
            worker = Worker(name, work, cells, pythons(name), threads)
            workers[name] = worker
            answer = worker.read()
            if "skipped" in answer:
                say(f"{work.name}: {name} left out: {answer['skipped']}")
                workers.pop(name).stop()
            else:
                worker.cells = answer["modes"]
                say(f"{work.name}: {name} is warm {answer['modes']}")
                ready[name] = answer
        idle = _idle_shares(workers, say)
        answers = _rounds(work, workers, cells, rounds, random.Random(seed))
    finally:
        for worker in workers.values():
            worker.stop()
    machine = {"processor": processor_name(), "threads": threads}
    return [
        {
            "work": work.name,
            "cell": cell.name,
            "library": name,
            "milliseconds": [round(a["milliseconds"], 5) for a in answers[name, cell]],
            "peak_mib": round(max(a["peak_mib"] for a in answers[name, cell])),
            "mode": ready[name]["modes"][cell.name],
            "versions": ready[name]["versions"],
            "operations": work.operations(cell),
            "steps": cell.steps,
            "idle_share": idle[name],
            **machine,
        }
        for name in workers
        for cell in cells
        if (name, cell) in answers
    ]


def _rounds(work, workers, cells, rounds, order):
    """Asks every worker for every cell once a round, in an order that is always another."""
    answers = {}
    # The first round does not count: it brings back what the system took from those who waited.
    for counts in [False, *[True] * rounds]:
        turns = [
            (name, cell)
            for name, worker in workers.items()
            for cell in cells
            if cell.name in worker.cells
        ]
        order.shuffle(turns)
        for name, cell in turns:
            answer = workers[name].run(cell)
            if "skipped" in answer:
                raise RuntimeError(f"{work.name} {cell.name}: {name} failed: {answer['skipped']}")
            if counts:
                answers.setdefault((name, cell), []).append(answer)
    return answers


def _idle_shares(workers, say, seconds=1.0):
    """Share of a processor that each worker takes while it waits; it should be none."""
    before = {name: worker.processor_seconds() for name, worker in workers.items()}
    time.sleep(seconds)
    shares = {}
    for name, worker in workers.items():
        after = worker.processor_seconds()
        shares[name] = None if after is None else round((after - before[name]) / seconds, 3)
        if shares[name] and shares[name] > _IDLE_LIMIT:
            say(f"warning: {name} takes {shares[name]:.0%} of a processor while it waits")
    return shares


def first_steps(work, libraries, rounds, pythons, threads=2, say=print):
    """Seconds from the start of a process to the end of its first training step.

    Args:
      work: `benchmarks.workloads.Workload`, of which the first cell is taken.
      libraries: names of adaptors in `benchmarks.libraries`.
      rounds: how many processes of each library, one after the other.
      pythons: function from a library's name to the Python interpreter that has it.
      threads: processors of each process.
      say: function that tells the user a line.

    Returns:
      List of dicts, one for each process.
    """
    answers = []
    for _ in range(rounds):
        for name in list(libraries):
            started = ("--started", repr(time.time()))
            worker = Worker(name, work, work.cells[:1], pythons(name), threads, *started)
            answer = worker.read()
            worker.stop()
            if "skipped" in answer:
                say(f"{work.name}: {name} left out: {answer['skipped']}")
                libraries = [other for other in libraries if other != name]
            else:
                answers.append({"work": work.name, "library": name, **answer})
    return answers


def processor_name():
    """What the system calls its processor."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    wide = [f for f in _FLAGS if flags and f in flags[1].split()]
    return " ".join([name[1] if name else platform.machine(), *wide])


def interpreter(library, peers_python=None):
    """The Python that has a library: this one for TensorFlow, their own for other libraries."""
    return sys.executable if library in _IN_THIS_ENVIRONMENT or not peers_python else peers_python
