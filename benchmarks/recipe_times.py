"""How long the recipes train on this machine: a few steps on random rows, times all steps."""

import json
import math
import subprocess
import sys

import numpy as np

from tfnvp.data.splits import Splits
from tfnvp.recipes import PARAMETERS, get

#: Training rows, as the recipes divide them, and shape of each data set.
DATA = {
    "digits": (1437, (8, 8)),
    "mnist": (50_000, (28, 28, 1)),
    "fashion_mnist": (50_000, (28, 28, 1)),
    "tfd": (102_236, (48, 48, 1)),
    "svhn_cropped": (68_257, (32, 32, 3)),
    "cifar10": (45_000, (32, 32, 3)),
    "lfw": (10_586, (32, 32, 3)),
    "celeb_a": (162_770, (64, 64, 3)),
    "imagenet32": (1_276_149, (32, 32, 3)),
    "imagenet64": (1_276_149, (64, 64, 3)),
    "lsun_bedroom": (3_032_042, (64, 64, 3)),
    "lsun_tower": (707_264, (64, 64, 3)),
    "lsun_church": (125_227, (64, 64, 3)),
    "power": (1_659_917, (6,)),
    "gas": (852_174, (8,)),
    "hepmass": (315_123, (21,)),
    "miniboone": (29_556, (43,)),
    "bsds300": (1_000_000, (63,)),
}
# Time for one recipe; those that need longer for a few steps have no figure.
_SECONDS = 240
# Rows beyond the steps that `dry_run` times are not needed.
_ROWS = 12_000


def minutes(name: str) -> float:
    """Returns the minutes that all epochs of a recipe take here, from a few steps."""
    from tfnvp.runs.dry_run import dry_run

    recipe = get(name)
    n, shape = DATA[recipe.dataset]
    levels = (17 if recipe.dataset == "digits" else 256) if len(shape) > 1 else None
    generator = np.random.default_rng(0)
    size = (min(n, _ROWS), *shape)
    rows = generator.normal(size=size).astype("float32")
    if levels:
        rows = generator.integers(0, levels, size).astype("uint8")
    measured = dry_run(recipe, Splits(name, rows, rows[:500], rows[:500], levels))
    if n <= _ROWS:
        return measured["seconds_at_most"] / 60
    # Validation takes little beside.
    steps = recipe.epochs * math.ceil(n / recipe.batch_size)
    return (measured["seconds_to_compile"] + steps * measured["seconds_per_step"]) / 60


def all_minutes():
    """Prints the minutes of each recipe as TOML, each measured in a process of its own."""
    for name in PARAMETERS:
        command = [sys.executable, "-c", _PROGRAM, name]
        try:
            run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if run.returncode == 0:
            print(f"{name} = {json.loads(run.stdout.splitlines()[-1]):.3g}", flush=True)


_PROGRAM = "import sys; from benchmarks.recipe_times import minutes; print(minutes(sys.argv[1]))"
