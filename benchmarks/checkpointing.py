"""Measures what gradient checkpointing saves in memory and costs in time, on Real NVP for images.

    python -m benchmarks.checkpointing --blocks 4,8 --batches 32

Every line is a process of its own, which trains a 32x32x3 flow of 2 scales and 32 filters by `fit`
and prints the most memory that it took, and the median time of its steps after the first two.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time

from benchmarks.worker import limit_threads, peak_mib


def train(blocks, batch, checkpointing, steps):
    """Returns memory before training and at most, in MiB, and milliseconds of a step."""
    import keras
    import numpy as np

    import tfnvp

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            moments.append(time.perf_counter())

    keras.utils.set_random_seed(0)
    flow = tfnvp.ImageRealNVP(
        (32, 32, 3),
        base_filters=32,
        residual_blocks=blocks,
        gradient_checkpointing=checkpointing,
    )
    flow.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3)).astype("uint8")
    start, moments = peak_mib(), []
    batches = tfnvp.data.training_dataset(images, 256, batch, seed=0).repeat()
    flow.fit(batches, steps_per_epoch=steps, callbacks=[Clock()], verbose=0)
    return {
        "start_mib": round(start),
        "peak_mib": round(peak_mib()),
        "milliseconds": round(1000 * float(np.median(np.diff(moments)[1:]))),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", default="4", help="residual blocks of each network")
    parser.add_argument("--batches", default="32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        limit_threads(options.threads)
        blocks, batch, checkpointing = json.loads(options.one)
        print(json.dumps(train(blocks, batch, checkpointing, options.steps)))
        return
    sizes = [[int(n) for n in text.split(",")] for text in (options.blocks, options.batches)]
    for blocks, batch, checkpointing in itertools.product(*sizes, (False, True)):
        command = [sys.executable, "-m", "benchmarks.checkpointing"]
        command += ["--one", json.dumps([blocks, batch, checkpointing])]
        command += ["--steps", str(options.steps), "--threads", str(options.threads)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        case = {"blocks": blocks, "batch": batch, "checkpointing": checkpointing}
        print(json.dumps({**case, **json.loads(output.splitlines()[-1])}), flush=True)


if __name__ == "__main__":
    main()
