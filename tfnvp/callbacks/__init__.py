"""Keras callbacks that observe or protect the training of a flow.

`Backup` and `RollBackOnNonFinite` protect it from interruptions and divergence. The others change
neither weights nor random numbers: training ends at the same weights with and without them. With
averaged weights, put `keras.callbacks.SwapEMAWeights(swap_on_epoch=True)` before them, so that they
use the averages. Put them before callbacks that read their logs, such as `CSVLogger`, `TensorBoard`
and `EarlyStopping`.
"""

from tfnvp.callbacks.backup import Backup
from tfnvp.callbacks.monitors import BitsPerDim, LatentDiagnostics, SampleGrid
from tfnvp.fitting.divergence import RollBackOnNonFinite

__all__ = ["Backup", "BitsPerDim", "LatentDiagnostics", "RollBackOnNonFinite", "SampleGrid"]
