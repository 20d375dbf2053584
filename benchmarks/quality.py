"""How likely libraries find held-out data after the same number of steps with the same networks.

`python -m benchmarks.quality --library L --kind K --task T --seed S --data FILE` trains one flow
and prints one JSON line. Every library gets the same batches, which the process that starts it
makes, and Adam at 1e-3 without a schedule. Where a task has several budgets, training goes on from
one to the next, as long as validation data likes the longer one better: small data is overfitted
long before the last.
"""

import argparse
import dataclasses
import importlib
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import worker
from benchmarks.workloads import Workload

_ROOT = pathlib.Path(__file__).parent.parent
_ALPHA = 0.05
_LEVELS = 17
_DRAWS = 10
#: Kinds of flows, and what their couplings are called.
KINDS = {"real_nvp": "affine", "neural_spline": "spline"}
_ARRAYS = ("batches", "budgets", "validation", "test", "log_dets")
_GROWING = (94, 188, 375, 750, 1500, 3000)


def _moons(seed):
    """20,000 points to train on, and 10,000 to test: always the same."""
    from sklearn.datasets import make_moons

    train, test = (
        make_moons(n, noise=0.05, random_state=state)[0] for n, state in ((20_000, 0), (10_000, 1))
    )
    generator = np.random.default_rng(seed)
    order = (row for _ in iter(int, 1) for row in np.split(generator.permutation(19_968), 78))
    return lambda: train[next(order)], test[:0], test, np.zeros(len(test))


def _digits(seed):
    """8x8 digits with fresh noise, as logits; all libraries use the same log-dets."""
    from tfnvp.data import load_digits

    digits = load_digits()
    generator = np.random.default_rng(seed)

    def logits(images, generator):
        x = images.reshape(len(images), -1)
        x = _ALPHA + (1 - 2 * _ALPHA) * (x + generator.uniform(size=x.shape)) / _LEVELS
        log_dets = math.log(1 - 2 * _ALPHA) - np.log(x) - np.log1p(-x)
        return np.log(x) - np.log1p(-x), log_dets.sum(axis=1)

    def batch():
        rows = generator.choice(len(digits.train), 256, replace=False)
        return logits(digits.train[rows], generator)[0]

    validation = logits(digits.validation, np.random.default_rng(1))[0]
    test = np.concatenate([digits.test] * _DRAWS)
    return batch, validation, *logits(test, np.random.default_rng(0))


def of_table(name, rows):
    """The task of a table, prepared as `benchmarks.tables` does, without regularisation."""

    def data(seed):
        # Needs tfnvp, which the environments of other libraries lack.
        from benchmarks import tables

        splits = tables.prepare(name, rows, seed=0)
        generator = np.random.default_rng(seed)
        count = len(splits.train)

        def batch():
            return splits.train[generator.choice(count, 256, replace=count < 256)]

        return batch, splits.validation, splits.test, np.zeros(len(splits.test))

    return Task(_GROWING, data)


def work_of(task, dimensions, kind="real_nvp"):
    """The flow of a task, as the adaptors of libraries build it."""
    width, couplings = _WIDTHS.get(task, 128), 2 if task.startswith("tiny") else 8
    return Workload(
        task,
        f"{task}, {couplings} {KINDS[kind]} couplings of 2x{width}",
        kind,
        (dimensions,),
        couplings,
        (width,) * 2,
        (),
        bins=8,
    )


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, and how many steps a flow gets.

    Args:
      budgets: ints, on how many batches of 256 it is trained, ascending; validation rows choose.
      data: function of the seed that returns `(batch, validation, test, log_dets)`: a function that
        makes a batch, the rows to choose by, the rows to test on, and log-dets that belong to them.
    """

    budgets: tuple[int, ...]
    data: object

    def arrays(self, seed):
        """What `measure` takes: batches are float32 `[max(budgets), 256, dimensions]`."""
        batch, validation, test, log_dets = self.data(seed)
        batches = np.stack([batch() for _ in range(max(self.budgets))])
        rows = (part.astype("float32") for part in (validation, test))
        values = (batches.astype("float32"), np.array(self.budgets), *rows, log_dets)
        return dict(zip(_ARRAYS, values, strict=True))


TASKS = {
    "moons": Task((2000,), _moons),
    "digits": Task(_GROWING, _digits),
    "tiny": Task((3,), _moons),
    "tiny-digits": Task((1, 3), _digits),
}

_WIDTHS = {"moons": 64, "tiny": 4, "tiny-digits": 4}
_OF_DIGITS = ("digits", "tiny-digits")


def measure(library, task, seed, kind="real_nvp", **arrays):
    """Trains in this process; returns what `python -m benchmarks.quality` prints.

    Args:
      library: name of an adaptor in `benchmarks.libraries`.
      task: name of the task.
      seed: of the initial weights.
      kind: one of `KINDS`.
      **arrays: as `Task.arrays` makes them.
    """
    adaptor = importlib.import_module(f"benchmarks.libraries.{library}")
    if kind not in adaptor.KINDS:
        return {"skipped": f"it has no {KINDS[kind]} couplings"}
    batches, budgets, validation, test, log_dets = (arrays[name] for name in _ARRAYS)
    work = work_of(task, test.shape[1], kind)
    best = -math.inf
    # A longer budget goes on where a shorter one ended.
    parts = np.split(batches, budgets[:-1])
    for i, log_prob in enumerate(adaptor.trained(work, parts, seed)):
        # One budget alone has nothing to be chosen by.
        score = float(np.mean(log_prob(validation))) if len(budgets) > 1 else 0.0
        # Likelihoods of a flow that diverged are no number: that is its result, if it is the first.
        if i > 0 and not score > best:
            break
        best, chosen, nats = score, int(budgets[i]), np.asarray(log_prob(test), "float64")
    # One test point may have several draws of noise.
    nats = (nats + log_dets).reshape((_DRAWS if task in _OF_DIGITS else 1, -1)).mean(axis=0)
    result = {"library": library, "kind": kind, "task": task, "seed": seed, "steps": chosen}
    result["nats"] = float(-nats.mean())
    result["standard_error"] = float(nats.std(ddof=1) / math.sqrt(len(nats)))
    if task in _OF_DIGITS:
        result["bits_per_dim"] = result["nats"] / (64 * math.log(2)) + math.log2(_LEVELS)
    return {**result, "versions": worker.versions(adaptor)}


def run(library, kind, name, task, seed, python):
    """Measures in a process of the given Python; returns its answer, or why there is none."""
    arguments = ["--library", library, "--kind", kind, "--task", name, "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data.npz"
        np.savez(data, **task.arrays(seed))
        ended = subprocess.run(
            [python, "-m", "benchmarks.quality", *arguments, "--data", data],
            cwd=_ROOT,
            capture_output=True,
            text=True,
        )
    if ended.returncode == 0:
        return json.loads(ended.stdout)
    return {"skipped": " | ".join(ended.stderr.strip().splitlines()[-2:])}


def markdown(results):
    """Table of means over seeds, best first: nats, and the deviation over seeds."""
    lines = []
    for task in dict.fromkeys(result["task"] for result in results):
        unit = "bits_per_dim" if task in _OF_DIGITS else "nats"
        of_task = [result for result in results if result["task"] == task]
        flows = {}
        for result in of_task:
            flow = f"{result['library']}, {KINDS[result['kind']]}"
            flows.setdefault(flow, []).append(result)
        rows = []
        for flow, found in flows.items():
            values = [result[unit] for result in found]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            steps = ", ".join(dict.fromkeys(str(result["steps"]) for result in found))
            rows.append((statistics.mean(values), spread, len(values), flow, steps))
        lines += [f"| {task} | {unit.replace('_', ' ')} | seeds | steps |", "|---|---|---|---|"]
        for mean, spread, count, flow, steps in sorted(rows):
            lines.append(f"| {flow} | {mean:.3f} ± {spread:.3f} | {count} | {steps} |")
        lines.append("")
    return "\n".join(lines)


def main():
    """Answers on standard output with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--kind", choices=KINDS, default="real_nvp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    worker.limit_threads(2)
    answers = worker.private_standard_output()
    arrays = np.load(options.data)
    result = measure(options.library, options.task, options.seed, options.kind, **arrays)
    worker.answer(answers, **result)


if __name__ == "__main__":
    sys.exit(main())
