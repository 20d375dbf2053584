"""Keras callbacks that observe a flow while it trains, or protect the training.

`Backup` and `RollBackOnNonFinite` let training survive. The others change neither weights nor
random numbers: training with them ends at the same weights as without. Where weights are averaged,
put `keras.callbacks.SwapEMAWeights(swap_on_epoch=True)` before them, so that they see the averages;
put them before `CSVLogger`, `TensorBoard`, `EarlyStopping` and whatever else reads the logs that
they write.
"""

from tfnvp.callbacks.backup import Backup
from tfnvp.callbacks.monitors import BitsPerDim, LatentDiagnostics, SampleGrid
from tfnvp.fitting.divergence import RollBackOnNonFinite

__all__ = ["Backup", "BitsPerDim", "LatentDiagnostics", "RollBackOnNonFinite", "SampleGrid"]
