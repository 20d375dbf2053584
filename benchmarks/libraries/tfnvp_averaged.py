"""tfnvp, evaluated with an exponential moving average of its weights."""

import tfnvp
from benchmarks.libraries.tfnvp import KINDS, PACKAGES
from benchmarks.libraries.tfnvp import trained as trained_by

__all__ = ["KINDS", "PACKAGES", "trained"]


def trained(work, batches, seed):
    optimizer = tfnvp.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.99)
    return trained_by(work, batches, seed, optimizer)
