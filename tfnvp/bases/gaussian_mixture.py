"""A learned base: a mixture of Gaussians with full covariances."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_probability as tfp

from tfnvp.arguments import check_int, is_number, unmasked
from tfnvp.bases.unbatched import Unbatched

tfd = tfp.distributions

#: Numbers of components among which held-out rows choose.
COMPONENTS = (1, 2, 4, 8, 16, 32, 64)

# The ridge is chosen for so many.
_FEW = 8

#: A component has at least so many rows, on average.
LEAST_ROWS = 4

# Numbers in the covariances of all components: many columns get fewer components.
_NUMBERS = 4_000_000

# A choice among more rows would take longer than the training of a flow.
_ROWS_FOR_CHOICE = 10_000

# Fewer rows are divided several times, since each division holds out few.
_FEW_ROWS = 1000
_DIVISIONS = 5

# Standard deviations of the Gaussian for rows far from all others, in units of those of all rows.
_WIDE = 5.0

#: The most iterations of expectation-maximisation, and those that are enough to compare candidates.
ITERATIONS = 100
_FEW_ITERATIONS = 10


class GaussianMixture(Unbatched):
    """A mixture of Gaussians with full covariances.

    ::

        p(z) = sum_k w_k N(z; m_k, C_k),    w = softmax(logits),    P_k P_k' = inverse of C_k

        log N(z; m_k, C_k) = sum_d log |P_kdd| - |(z - m_k) P_k|^2 / 2 - D/2 log(2 pi)

    Unlike `tfd.MixtureSameFamily` of `tfd.MultivariateNormalTriL` it solves no equations for a
    density: each component is one product of matrices.

    Args:
      logits: `[k]`, logarithms of the weights of the components.
      loc: `[k, D]`, their means.
      precision_factor: `[k, D, D]`, upper triangular; the diagonal has no zero.

    Raises:
      ValueError: if the three do not have these shapes.

    >>> base = GaussianMixture([0.0], [[0.0, 0.0]], [[[1.0, 0.0], [0.0, 1.0]]])
    >>> print(f"{float(base.log_prob([0.0, 0.0])):.4f}")
    -1.8379

    Source: Bishop 2006 (Pattern Recognition and Machine Learning), section 9.2.
    """

    def __init__(self, logits: Any, loc: Any, precision_factor: Any):
        parameters = dict(locals())
        self.logits, self.loc, self.precision_factor = (
            value if isinstance(value, tf.Variable) else tf.constant(value, tf.float32)
            for value in (logits, loc, precision_factor)
        )
        shapes = [tuple(t.shape) for t in (self.logits, self.loc, self.precision_factor)]
        k, size = shapes[1] if len(shapes[1]) == 2 else (None, None)
        if shapes != [(k,), (k, size), (k, size, size)]:
            raise ValueError(
                "`logits`, `loc` and `precision_factor` must have the shapes [k], [k, D] and "
                f"[k, D, D]. Received: {shapes}"
            )
        super().__init__(self.loc.shape[-1:], parameters, "gaussian_mixture")

    def _log_prob(self, z):
        factor = tf.linalg.band_part(self.precision_factor, 0, -1)
        log_det = tf.reduce_sum(tf.math.log(tf.abs(tf.linalg.diag_part(factor))), axis=-1)
        constant = 0.5 * math.log(2.0 * math.pi) * self.loc.shape[-1]
        rows = tf.reshape(z, [1, -1, self.loc.shape[-1]])
        whitened = tf.matmul(rows - self.loc[:, tf.newaxis], factor)
        distances = tf.reduce_sum(whitened**2, axis=-1)
        log_weights = tf.nn.log_softmax(self.logits) + log_det - constant
        nats = tf.reduce_logsumexp(log_weights[:, tf.newaxis] - 0.5 * distances, axis=0)
        return tf.reshape(nats, tf.shape(z)[:-1])

    def _sample_n(self, n, seed=None):
        # Philox, as in `sample_base`: XLA's default would give other numbers.
        seed = tfp.random.sanitize_seed(seed)
        seeds = [tf.random.experimental.stateless_fold_in(seed, i, alg="philox") for i in (0, 1)]
        uniform = 1.0 - tf.random.stateless_uniform([n], seeds[0], alg="philox")
        noise = tf.random.stateless_normal([n, self.loc.shape[-1]], seeds[1], alg="philox")
        shares = tf.cumsum(tf.nn.softmax(self.logits))
        # `uniform` is above 0 and at most 1, and so never beyond the last share.
        which = tf.searchsorted(shares, uniform * shares[-1])
        component, place, shape = self._groups(which, n)
        grouped = tf.scatter_nd(place, noise, tf.concat([shape, noise.shape[1:]], axis=0))
        factor = tf.gather(self.precision_factor, component)
        # It reads the upper triangle only.
        solved = tf.linalg.triangular_solve(
            factor, tf.linalg.matrix_transpose(grouped), lower=False, adjoint=True
        )
        draws = tf.gather_nd(tf.linalg.matrix_transpose(solved), place)
        return draws + tf.gather(self.loc, which)

    def _groups(self, which, n):
        """Divides draws into groups of one component each, all of the same size.

        A matrix for each draw would need far more memory. Sizes depend on the numbers of draws and
        of components only, so that XLA knows them.

        Args:
          which: `[n]`, the component of each draw.
          n: number of draws.

        Returns:
          the component of each group, group and place `[n, 2]` of each draw, and the number and
          size of the groups.
        """
        components = self.loc.shape[0]
        size = tf.maximum(1, -(-n // components))
        # Of each component only the last group is not full.
        most = tf.minimum(n, 2 * components)
        order = tf.argsort(which, stable=True)
        first = tf.searchsorted(tf.gather(which, order), tf.range(components + 1))
        groups = tf.cumsum(-(-(first[1:] - first[:-1]) // size))
        component = tf.searchsorted(groups, tf.range(most), side="right")
        place = tf.argsort(order) - tf.gather(first, which)
        before = tf.gather(tf.concat([[0], groups], axis=0), which)
        place = tf.stack([before + place // size, place % size], axis=-1)
        return tf.minimum(component, components - 1), place, tf.stack([most, size])

    def _mean(self):
        return tf.linalg.matvec(self.loc, tf.nn.softmax(self.logits), transpose_a=True)


def gaussian_mixture(
    z: npt.ArrayLike,
    components: int | str = "auto",
    ridge: float | Sequence[float] = (1e-2, 1e-4, 1e-6),
    seed: int = 0,
) -> GaussianMixture:
    """Returns a learned base: a mixture of Gaussians, fitted to latents by scikit-learn.

    A flow whose couplings start as the identity starts as this mixture, and so as a density
    that knows correlations and clusters. One more Gaussian is five times as wide as all rows and
    has the weight of one row, so that no row near them has a density of almost zero.

    Args:
      z: `[n, D]`, latents, such as `flow.encode(x)` of a flow that is adapted to its data.
      components: int, number of components, or "auto": held-out rows choose. There are at most as
        many as rows, and fewer where the covariances would have more than four million numbers.
      ridge: float, above 0, what is added to the variances of each component; of several ones
        held-out rows choose.
      seed: int.

    Returns:
      `GaussianMixture` with three variables.

    Raises:
      ValueError: if `z` is no matrix of finite numbers, `components` is below 1, or a ridge is not
        above 0.

    >>> import numpy as np, tfnvp
    >>> z = np.random.default_rng(0).normal(size=(1000, 2)).astype("float32")
    >>> base = tfnvp.bases.gaussian_mixture(z, components=3)
    >>> flow = tfnvp.RealNVP(2, couplings=4, hidden_units=(8,), base=base)
    >>> flow.log_prob(z).shape.as_list()
    [1000]

    Source: `sklearn.mixture.GaussianMixture`; Izmailov et al. 2020 (Semi-Supervised Learning with
    Normalizing Flows), whose base it is.
    """
    z = np.asarray(unmasked(z), "float64")
    if z.ndim != 2 or not len(z) or not np.isfinite(z).all():
        raise ValueError(f"`z` must be [n, D], of finite numbers. Received: shape {z.shape}")
    ridges = (ridge,) if is_number(ridge) else tuple(ridge or ())
    if not (ridges and all(is_number(value) and 0 < value < math.inf for value in ridges)):
        raise ValueError(f"`ridge` must be above 0 and finite. Received: {ridge!r}")
    if components != "auto":
        check_int("components", components)
    counts, least_rows = (COMPONENTS, LEAST_ROWS) if components == "auto" else ((components,), 1)
    chosen = choose_mixture(z, counts, ridges, least_rows, seed=seed)
    return as_base(fit_mixture(z, *chosen, seed), z)


def as_base(fitted: Any, z: np.ndarray) -> GaussianMixture:
    """Returns a mixture that scikit-learn fitted to `[n, D]`, as a base with its own variables.

    One Gaussian is added, `_WIDE` times as wide as all rows, with the weight of one row. Without
    it single rows that are far from all others decide the mean likelihood of new rows.
    """
    rows = _effective_rows(_different(z)[1])
    covariance = np.atleast_2d(np.cov(z.T, bias=True)) + fitted.reg_covar * np.eye(z.shape[1])
    wide = np.linalg.inv(np.linalg.cholesky(_WIDE**2 * covariance)).T
    weights = np.append(fitted.weights_ * rows, 1.0) / (rows + 1.0)
    factors = np.append(fitted.precisions_cholesky_, wide[np.newaxis], axis=0)
    means = np.append(fitted.means_, z.mean(axis=0, keepdims=True), axis=0)
    return GaussianMixture(
        tf.Variable(np.log(weights), dtype=tf.float32, name="logits"),
        tf.Variable(means, dtype=tf.float32, name="loc"),
        tf.Variable(factors, dtype=tf.float32, name="precision_factor"),
    )


def choose_mixture(
    z: np.ndarray,
    counts: Sequence[int] = COMPONENTS,
    ridges: Sequence[float] = (1e-2, 1e-4, 1e-6),
    least_rows: int = LEAST_ROWS,
    held_out: float = 0.1,
    seed: int = 0,
) -> tuple[int, float]:
    """Returns the number of components and the ridge of the largest held-out likelihood.

    First the ridge, for a few components; then the number of components with it. Candidates are
    tried in their order, up to the first one that is worse than the one before.

    Equal rows are held out together: a row that is also in the fitted part would favour many narrow
    components.

    Args:
      z: `[n, D]`. Candidates are compared on at most `_ROWS_FOR_CHOICE` of them.
      counts: numbers of components, in ascending order. So many are used as keep the covariances
        below some millions of numbers.
      ridges: as for `gaussian_mixture`.
      least_rows: how many rows a component has on average, at least. It takes precedence over
        `counts`. Rows that are repeated unequally often count as fewer.
      held_out: share of the different rows, above 0 and below 1. Few rows are divided several
        times.
      seed: int.
    """
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, cross_val_score

    shuffled = np.random.default_rng(seed).permutation(z)[:_ROWS_FOR_CHOICE]
    which, repeats = _different(shuffled)
    rows = int(_effective_rows(repeats) * len(z) / len(shuffled))
    most = max(1, min(rows // least_rows, _NUMBERS // z.shape[1] ** 2))
    counts = sorted({min(count, most) for count in counts})
    divisions = 1 if len(repeats) >= _FEW_ROWS else _DIVISIONS
    rest = len(repeats) - math.ceil(held_out * len(repeats))
    if rest < 2 or len(counts) == len(ridges) == 1:
        return counts[0], ridges[0]
    if len(repeats) == len(shuffled):
        which, division = None, ShuffleSplit
    else:
        division = GroupShuffleSplit
    division = division(divisions, test_size=held_out, random_state=seed)

    def nats(count, ridge):
        with _without_warnings():
            mixture = _mixture(min(count, rest), ridge, seed, _FEW_ITERATIONS)
            return np.mean(cross_val_score(mixture, shuffled, groups=which, cv=division))

    def best(candidates, nats):
        chosen, largest = candidates[0], -math.inf
        for candidate in candidates if len(candidates) > 1 else ():
            found = nats(candidate)
            if found <= largest:
                break
            chosen, largest = candidate, found
        return chosen

    few = max(count for count in counts if count <= max(_FEW, counts[0]))
    ridge = best(ridges, lambda ridge: nats(few, ridge))
    return best(counts, lambda count: nats(count, ridge)), ridge


def fit_mixture(
    z: np.ndarray, components: int, ridge: float, seed: int, iterations: int = ITERATIONS
) -> Any:
    """Returns scikit-learn's mixture of Gaussians with full covariances, fitted to `[n, D]`."""
    z = np.repeat(z, 2, axis=0) if len(z) == 1 else z  # It takes two rows or more.
    with _without_warnings():
        return _mixture(components, ridge, seed, iterations).fit(z)


def _different(z):
    """Returns which different row each one is, and how often there is each different one."""
    return np.unique(z, axis=0, return_inverse=True, return_counts=True)[1:]


def _effective_rows(repeats):
    """Returns how many rows that are there once say as much: Kish's effective sample size.

    Their number without repetitions, and with equally many of each.
    """
    return repeats.sum() ** 2 / np.square(repeats).sum()


def _mixture(components, ridge, seed, iterations):
    from sklearn.mixture import GaussianMixture as Mixture

    return Mixture(components, reg_covar=ridge, random_state=seed, max_iter=iterations)


def _without_warnings():
    """A context without the warning that few iterations do not converge."""
    from sklearn.exceptions import ConvergenceWarning

    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
