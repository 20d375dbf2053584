"""Trains a small flow for many steps, and fails if memory grows or a number is not finite.

    python benchmarks/soak.py --steps 20000 --output soak.jsonl

Between training steps it evaluates, samples and saves, as long-lived programs do. Every line of the
output has the step, the resident memory in MiB and the loss in nats.
"""

import argparse
import gc
import json
import math
import pathlib
import sys
import tempfile

import keras
import numpy as np
from sklearn.datasets import make_moons

import tfnvp

# The allocator keeps freed pages for a while; a leak of 1 KiB a step would be 20 MiB.
TOLERANCE_MIB = 15.0


def resident_mib():
    """Memory of this process that is in RAM, in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def soak(steps, every, output):
    keras.utils.set_random_seed(0)
    x = make_moons(10_000, noise=0.05, random_state=0)[0].astype("float32")
    flow = tfnvp.RealNVP(2, couplings=4, hidden_units=(32, 32))
    flow.compile(keras.optimizers.Adam(1e-3))
    batches = tfnvp.data.training_dataset(x, None, 256, seed=0).repeat()
    readings = []
    with tempfile.TemporaryDirectory() as folder, output.open("w") as file:
        for step in range(every, steps + 1, every):
            loss = flow.fit(batches, steps_per_epoch=every, verbose=0).history["loss"][0]
            for _ in range(20):
                values = [flow.log_prob(x[:1000]), flow.sample(1000), flow.encode(x[:100])]
            flow.save(f"{folder}/flow.keras")
            if not (math.isfinite(loss) and all(np.isfinite(v).all() for v in values)):
                return f"a number is not finite at step {step}"
            gc.collect()
            readings.append(resident_mib())
            line = {"step": step, "resident_mib": round(readings[-1], 1), "loss": loss}
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(json.dumps(line), flush=True)
    # The first third fills caches and pools.
    third = len(readings) // 3
    growth = np.mean(readings[-third:]) - np.mean(readings[third : 2 * third])
    print(json.dumps({"growth_mib": round(float(growth), 2), "tolerance_mib": TOLERANCE_MIB}))
    return f"memory grew by {growth:.1f} MiB" if growth > TOLERANCE_MIB else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=500, help="steps between two readings")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("soak.jsonl"))
    arguments = parser.parse_args()
    sys.exit(soak(arguments.steps, arguments.every, arguments.output))
