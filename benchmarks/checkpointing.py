"""Measures what gradient checkpointing saves in memory and costs in time, on Real NVP for images.

Every case is a process of its own, which trains a 32x32x3 flow of 2 scales and 32 filters by `fit`
and says the most memory that it took, and the median time of its steps after the first two.
"""

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


def measure(blocks, batches, steps, threads=2):
    """Yields what `train` returns for every size, without and with checkpointing.

    Args:
      blocks: numbers of residual blocks of each network.
      batches: sizes of batches.
      steps: of each training.
      threads: processors of each process.
    """
    for n, batch, checkpointing in itertools.product(blocks, batches, (False, True)):
        case = {"blocks": n, "batch": batch, "checkpointing": checkpointing, "steps": steps}
        command = [sys.executable, "-m", "benchmarks.checkpointing", str(threads), json.dumps(case)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        yield case | json.loads(output.splitlines()[-1])


def markdown(answers):
    """A table of both ways beside each other."""
    lines = [
        "| residual blocks | batch | stored: MiB, ms | recomputed: MiB, ms | memory | time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for stored, again in zip(answers[::2], answers[1::2], strict=True):
        used = [answer["peak_mib"] - answer["start_mib"] for answer in (stored, again)]
        times = [answer["milliseconds"] for answer in (stored, again)]
        lines.append(
            f"| {stored['blocks']} | {stored['batch']} | {used[0]}, {times[0]} | "
            f"{used[1]}, {times[1]} | × {used[1] / used[0]:.2f} | × {times[1] / times[0]:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    limit_threads(int(sys.argv[1]))
    print(json.dumps(train(**json.loads(sys.argv[2]))))
