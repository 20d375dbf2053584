"""Which variables of an event pass a coupling unchanged, and which it moves.

A partition cuts an event ``x`` in two: the *passed* part conditions the coupling,
the *moved* part is transformed by it. ``split`` and ``merge`` are exact inverses of
one another and select by index, so a conditioner never sees padded zeros (except for
``Checkerboard``, whose passed part stays an image).
"""

from tfnvp.partitions.base import Partition
from tfnvp.partitions.images import Channels, Checkerboard, PackedCheckerboard, Stripes
from tfnvp.partitions.vectors import EvenOdd, Mask, MoveAll, RandomHalves, Split

__all__ = [
    "Channels",
    "Checkerboard",
    "EvenOdd",
    "Mask",
    "MoveAll",
    "PackedCheckerboard",
    "Partition",
    "RandomHalves",
    "Split",
    "Stripes",
]
