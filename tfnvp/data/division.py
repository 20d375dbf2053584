"""Which rows are for training, validation and test: a question of their contents, not their order.

Every row has a hash, a number from 0 to 2^64 that looks random. The lowest 80 % of the numbers are
for training, the next 10 % for validation, the rest for test. So a file that is sorted, or that
gets more rows, keeps its division, and equal rows are in one part.
"""

import math

import numpy as np

#: The value of `division` for rows divided by their contents. Runs and `Splits` without it were
#: divided by the order of the rows, or by the data set itself.
BY_CONTENT = "content"

#: Most different rows of which exactly a tenth is for test: by chance it would be too few, or none.
FEW = 200

# Values that are hashed at a time: they fit into the cache of a processor.
_VALUES = 2**18


def row_hashes(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns a hash of the contents of each row, the same on every machine.

    ::

        hash = mix(mix(seed) + sum_j c_j w_j)  mod 2^64

    over the words `w_j` of 32 bits of a row, with fixed odd numbers `c_j` and the last steps of
    SplitMix64 as `mix`. Rows are equal if their hashes are, up to a chance of about 2^-32; -0.0
    equals 0.0.

    Args:
      rows: `[n, ...]` of numbers. The hashes depend on the type, and the order of columns.
      seed: int, of other hashes.

    Returns:
      uint64 `[n]`.

    >>> row_hashes(np.float32([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])).tolist()
    [13168043988275763029, 13168043988275763029, 3771080630895193970]

    Source: Dietzfelbinger et al. 1997 (multilinear hashing); Steele, Lea and Flood 2014 (SplitMix).
    """
    rows = np.asarray(rows)
    hashes = np.empty(len(rows), "uint64")
    start = _mix(np.full(1, seed % 2**64, "uint64"))
    step = max(1, _VALUES // math.prod(rows.shape[1:]))
    for first in range(0, len(rows), step):
        words = _words(rows[first : first + step])
        factors = _mix(np.arange(1, words.shape[1] + 1, dtype="uint64")) | np.uint64(1)
        hashes[first : first + step] = _mix(start + words @ factors)
    return hashes


def cuts(share: float = 0.1, hashes: np.ndarray | None = None) -> np.ndarray:
    """Returns the hashes at which the validation rows and the test rows begin.

    Args:
      share: float, share of the validation rows, and of the test rows.
      hashes: those of all rows. If at most `FEW` differ, or a part would be empty, as of the
        training rows of another division, validation and test have exactly that share of them, and
        at least one. Default: those of many rows.

    Returns:
      uint64 `[2]`.

    Raises:
      ValueError: if fewer than three hashes differ.

    >>> few = row_hashes(np.arange(20.0).reshape(10, 2))
    >>> np.bincount(parts(few, cuts(hashes=few))).tolist()
    [8, 1, 1]
    """
    limits = np.array([int((1 - n * share) * 2**53) << 11 for n in (2, 1)], "uint64")
    if hashes is None:
        return limits
    hashes = different(hashes)
    if len(hashes) > FEW and np.bincount(parts(hashes, limits), minlength=3).all():
        return limits
    if len(hashes) < 3:
        raise ValueError(f"three parts need three different rows. Received: {len(hashes)}")
    held_out = max(1, int(share * len(hashes)))
    return hashes[[-2 * held_out, -held_out]]


def different(hashes: np.ndarray) -> np.ndarray:
    """Returns the different ones of some hashes, sorted; `np.unique` takes ten times as long.

    >>> different(np.array([3, 1, 3], "uint64")).tolist()
    [1, 3]
    """
    hashes = np.sort(hashes)
    return hashes[np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)]]


def parts(hashes: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Returns the part of each row: 0 for training, 1 for validation, 2 for test."""
    return np.searchsorted(cuts, hashes, side="right")


def _mix(numbers):
    """The last steps of SplitMix64: every bit of the result depends on every bit of a number."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def _words(rows):
    """Returns rows as words of 32 bits, `[n, words]`, -0.0 as 0.0."""
    rows = np.ascontiguousarray(rows, rows.dtype.newbyteorder("<")).reshape(len(rows), -1)
    if rows.dtype.kind == "f":
        rows = rows + rows.dtype.type(0)
    content = rows.view("uint8")
    if missing := -content.shape[1] % 4:
        content = np.pad(content, [(0, 0), (0, missing)])
    return content.view("<u4")
