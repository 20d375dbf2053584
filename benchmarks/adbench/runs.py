"""One method on one set, in a process of its own: compiled programs of flows stay in memory.

`python -m benchmarks.adbench.runs --file F --setting S --method M --seeds 0,1` prints a JSON line
for each seed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import threadpoolctl
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks import worker
from benchmarks.adbench import data, detectors

_ROOT = pathlib.Path(__file__).parents[2]

#: What tells runs apart.
KEY = ("set", "setting", "method", "seed", "most_rows")


def measure(split, method, seed):
    """Fits a method to the training rows, and scores the test rows.

    Returns:
      Dictionary of numbers of rows, columns and anomalies, ROC-AUC, average precision, seconds of
      fit and of scoring, what the method chose, and versions.
    """
    module = detectors.module_of(method)
    fit = getattr(module, method)
    novelty = split.test is not split.train
    start = time.perf_counter()
    score, chosen = fit(split.train, seed, novelty)
    fitted = time.perf_counter()
    scores = np.asarray(score(split.test), "float64")
    ended = time.perf_counter()
    # The metrics take no infinity, which rows far from all others may have. NaN is an error.
    scores = np.clip(scores, *(np.finfo("float64").max * np.array([-1, 1])))
    return {
        "train_rows": len(split.train),
        "test_rows": len(split.test),
        "columns": split.test.shape[1],
        "anomalies": int(split.labels.sum()),
        "roc_auc": float(roc_auc_score(split.labels, scores)),
        "average_precision": float(average_precision_score(split.labels, scores)),
        "fit_seconds": fitted - start,
        "score_seconds": ended - fitted,
        **chosen,
        "versions": worker.versions(module),
    }


def run(path, setting, method, seeds, most_rows, threads):
    """Yields the answers of a process, one for each seed; the last one may be why it failed."""
    arguments = ["--file", path, "--setting", setting, "--method", method]
    arguments += ["--seeds", ",".join(map(str, seeds))]
    arguments += ["--most-rows", str(most_rows), "--threads", str(threads)]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.adbench.runs", *arguments],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield from map(json.loads, process.stdout)
        if process.wait() != 0:
            errors.seek(0)
            lines = errors.read().strip().splitlines()[-2:]
            yield {"skipped": " | ".join(lines) or f"exit status {process.returncode}"}


def main():
    """Answers on standard output with JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True)
    parser.add_argument("--setting", choices=data.SETTINGS, required=True)
    parser.add_argument("--method", choices=detectors.METHODS, required=True)
    parser.add_argument("--seeds", required=True)
    parser.add_argument("--most-rows", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    worker.limit_threads(options.threads)
    # Libraries that are loaded have counted the processors already.
    threadpoolctl.threadpool_limits(options.threads)
    answers = worker.private_standard_output()
    for seed in map(int, options.seeds.split(",")):
        split = data.split(options.file, options.setting, seed, options.most_rows)
        worker.answer(answers, seed=seed, **measure(split, options.method, seed))


if __name__ == "__main__":
    main()
