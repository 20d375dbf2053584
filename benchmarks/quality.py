"""How likely libraries find held-out data after the same number of steps with the same networks.

`python -m benchmarks.quality --library L --task T --seed S --data FILE` trains one flow and prints
one JSON line. Every library gets the same batches, which the process that starts it makes: Adam at
1e-3, no schedule, weights after the last step.
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
_ARRAYS = ("batches", "test", "log_dets")


def _moons(seed):
    """20,000 points to train on, and 10,000 to test: always the same."""
    from sklearn.datasets import make_moons

    train, test = (
        make_moons(n, noise=0.05, random_state=state)[0] for n, state in ((20_000, 0), (10_000, 1))
    )
    generator = np.random.default_rng(seed)
    order = (row for _ in iter(int, 1) for row in np.split(generator.permutation(19_968), 78))
    return lambda: train[next(order)], test, np.zeros(len(test))


def _digits(seed):
    """8x8 digits with fresh noise, as logits; the log-dets of that are the same for everybody."""
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

    test = np.concatenate([digits.test] * _DRAWS)
    return batch, *logits(test, np.random.default_rng(0))


@dataclasses.dataclass(frozen=True)
class Task:
    """Data, a flow, and how many steps it gets.

    Args:
      work: the flow, as the adaptors of libraries build it.
      steps: int, how many batches of 256 it is trained on.
      data: function of the seed that returns `(batch, test, log_dets)`: a function that makes a
        batch, the rows to test on, and log-dets that belong to them.
    """

    work: Workload
    steps: int
    data: object

    def batches(self, seed):
        """Float32 `[steps, 256, dimensions]`, the test rows and their log-dets."""
        batch, test, log_dets = self.data(seed)
        batches = np.stack([batch() for _ in range(self.steps)])
        return batches.astype("float32"), test.astype("float32"), log_dets


def _work(name, dimensions, width):
    return Workload(
        name,
        f"{name}, 8 affine couplings of 2x{width}",
        "real_nvp",
        (dimensions,),
        8,
        (width,) * 2,
        (),
    )


TASKS = {
    "moons": Task(_work("moons", 2, 64), 2000, _moons),
    "digits": Task(_work("digits", 64, 128), 3000, _digits),
    "tiny": Task(_work("tiny", 2, 4), 3, _moons),
}


def measure(library, task, seed, batches, test, log_dets):
    """Trains in this process; returns what `python -m benchmarks.quality` prints."""
    adaptor = importlib.import_module(f"benchmarks.libraries.{library}")
    log_prob = adaptor.trained(TASKS[task].work, batches, seed)
    nats = np.asarray(log_prob(test), "float64") + log_dets
    # One test point may have several draws of noise.
    nats = nats.reshape((_DRAWS if task == "digits" else 1, -1)).mean(axis=0)
    result = {"library": library, "task": task, "seed": seed, "nats": float(-nats.mean())}
    result["standard_error"] = float(nats.std(ddof=1) / math.sqrt(len(nats)))
    if task == "digits":
        result["bits_per_dim"] = result["nats"] / (64 * math.log(2)) + math.log2(_LEVELS)
    return {**result, "versions": worker.versions(adaptor)}


def run(library, task, seed, python):
    """Measures in a process of the given Python; returns its answer, or why there is none."""
    arguments = ["--library", library, "--task", task, "--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data.npz"
        np.savez(data, **dict(zip(_ARRAYS, TASKS[task].batches(seed), strict=True)))
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
        unit = "bits_per_dim" if task == "digits" else "nats"
        of_task = [result for result in results if result["task"] == task]
        rows = []
        for library in dict.fromkeys(result["library"] for result in of_task):
            values = [result[unit] for result in of_task if result["library"] == library]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            rows.append((statistics.mean(values), spread, len(values), library))
        lines += [f"| {task} | {unit.replace('_', ' ')} | seeds |", "|---|---|---|"]
        lines += [
            f"| {library} | {mean:.3f} ± {spread:.3f} | {count} |"
            for mean, spread, count, library in sorted(rows)
        ]
        lines.append("")
    return "\n".join(lines)


def main():
    """Answers on standard output with one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--task", required=True, choices=TASKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    worker.limit_threads(2)
    answers = worker.private_standard_output()
    arrays = [np.load(options.data)[name] for name in _ARRAYS]
    result = measure(options.library, options.task, options.seed, *arrays)
    worker.answer(answers, **result)


if __name__ == "__main__":
    sys.exit(main())
