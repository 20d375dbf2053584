"""Patches of grey images as rows of a table, as the BSDS300 benchmark has them."""

import numpy as np


def patches_to_rows(patches, seed=0):
    """Prepares patches as the density benchmark does.

    Pixels are dequantized and scaled to [0, 1], the mean of each patch is subtracted, and the last
    pixel, which then follows from the others, is left out.

    Args:
      patches: uint8 `[n, height, width]` or `[n, pixels]`.
      seed: int, of the dequantization noise.

    Returns:
      float32 `[n, pixels - 1]`.

    Raises:
      TypeError: if the patches are not uint8.

    >>> import numpy as np
    >>> patches_to_rows(np.zeros((2, 8, 8), "uint8")).shape
    (2, 63)

    Source: Zoran and Weiss 2011; Uria, Murray and Larochelle 2013, section 4.2.
    """
    patches = np.asarray(patches)
    if patches.dtype != np.uint8:
        raise TypeError(f"`patches` must be uint8. Received: {patches.dtype}")
    pixels = patches.reshape(len(patches), -1)
    rows = (pixels + np.random.default_rng(seed).uniform(size=pixels.shape)) / 256
    return (rows - rows.mean(axis=1, keepdims=True))[:, :-1].astype("float32")
