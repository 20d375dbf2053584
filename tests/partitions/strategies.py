"""Partitions of vectors, for Hypothesis."""

import numpy as np
from hypothesis import strategies as st

from tfnvp.partitions import EvenOdd, Mask, Split


@st.composite
def partitions(draw, size):
    swapped = draw(st.booleans())
    kind = draw(st.sampled_from(["split", "even_odd", "mask"]))
    if kind == "even_odd":
        return EvenOdd(swapped=swapped)
    if kind == "split":
        d = draw(st.integers(1, size - 1)) * draw(st.sampled_from([-1, 1]))
        return Split(d, swapped=swapped)
    mask = np.random.default_rng(draw(st.integers(0, 100))).random(size) < 0.5
    mask[0], mask[-1] = True, False  # Neither all true nor all false.
    return Mask(mask, swapped=swapped)
