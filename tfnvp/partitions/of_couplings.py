"""The partitions of a stack of couplings on vectors."""

from collections.abc import Iterable, Sequence

import numpy as np

from tfnvp.partitions.base import Partition
from tfnvp.partitions.vectors import EvenOdd, Mask, MoveAll


def partitions_for(
    partition: Partition | Sequence[Partition] | str | None, couplings: int, size: int
) -> list[Partition]:
    """Returns a partition for each coupling: the given ones, or one alternating with its swap."""
    if size == 1 and (partition is None or partition == "random"):
        partition = MoveAll()
    if partition is None:
        partition = EvenOdd()
    if isinstance(partition, str):
        return _random_partitions(partition, couplings, size)
    if isinstance(partition, Partition):
        return [partition if i % 2 == 0 else partition.swap() for i in range(couplings)]
    partitions = list(partition) if isinstance(partition, Iterable) else []
    if len(partitions) != couplings or not all(isinstance(p, Partition) for p in partitions):
        raise ValueError(
            "`partition` must be a tfnvp.partitions.Partition or a sequence of one for each of "
            f"the {couplings} couplings. Received: {partition!r}"
        )
    return partitions


def _random_partitions(partition, couplings, size):
    """Returns random halves, each followed by its swap; the same arguments give the same halves."""
    if partition != "random":
        raise ValueError(
            '`partition` must be "random", a tfnvp.partitions.Partition or a sequence of them. '
            f"Received: {partition!r}"
        )
    generator = np.random.RandomState(0)
    masks = [
        Mask(np.argsort(generator.uniform(size=size)) < (size + 1) // 2)
        for _ in range(0, couplings, 2)
    ]
    return [mask for half in masks for mask in (half, half.swap())][:couplings]
