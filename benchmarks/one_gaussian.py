"""One Gaussian with full covariance on images: what a flow on them has to be better than."""

import math

import numpy as np
import tensorflow as tf

from tfnvp.bijectors import Logit
from tfnvp.data import dequantize
from tfnvp.quantization import bits_per_dim as in_bits

# Ridges on the covariance, of which validation images choose.
_RIDGES = (0.0, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def bits_per_dim(splits, alpha=None, seed=0):
    """Mean and standard error over the test images, one draw of noise for each.

    Args:
      splits: `tfnvp.data.Splits` of whole grey levels.
      alpha: float, for a Gaussian over logits `logit(alpha + (1 - 2 alpha) x)`, whose log-det
        counts; or None for one over pixels in [0, 1].
      seed: int, of the noise.

    Returns:
      `(mean, standard error, ridge)`, the former in bits per dimension.
    """
    train, _ = _in_space(splits.train, splits.levels, alpha, (seed, 0))
    mean = train.mean(axis=0)
    variances, axes = np.linalg.eigh(np.cov(train.T, ddof=0))

    def bits(images, part):
        x, log_det = _in_space(images, splits.levels, alpha, (seed, part))
        squares = ((x - mean) @ axes) ** 2
        for ridge in _RIDGES:
            ridged = np.maximum(variances, 0.0) + ridge
            if ridged.min() > 0:
                log_normal = squares @ (1 / ridged) + np.log(2 * math.pi * ridged).sum()
                nats = log_det - 0.5 * log_normal
                yield ridge, in_bits(nats, splits.levels, x.shape[1])

    ridge = min(bits(splits.validation, 1), key=lambda found: found[1].mean())[0]
    tested = dict(bits(splits.test, 2))[ridge]
    return float(tested.mean()), float(tested.std(ddof=1) / math.sqrt(len(tested))), ridge


def _in_space(images, levels, alpha, seed):
    """Returns dequantized images `[n, D]`, or their logits, and the log-det of the way there."""
    x = tf.reshape(dequantize(images, levels, seed=seed), (len(images), -1))
    if alpha is None:
        return x.numpy().astype("float64"), 0.0
    logit = Logit(alpha)
    log_det = logit.forward_log_det_jacobian(x, event_ndims=1).numpy().astype("float64")
    return logit.forward(x).numpy().astype("float64"), log_det
