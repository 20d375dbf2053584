"""tfnvp, evaluated with an exponential moving average of its weights."""

import numpy as np

import tfnvp
from benchmarks.libraries.tfnvp import KINDS, PACKAGES
from benchmarks.libraries.tfnvp import trained as trained_by

__all__ = ["KINDS", "PACKAGES", "trained"]


def trained(work, parts, seed):
    # `fit` ends with the averages in place of the weights: each budget is trained from the start.
    for count in range(1, len(parts) + 1):
        optimizer = tfnvp.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.99)
        yield from trained_by(work, [np.concatenate(parts[:count])], seed, optimizer)
