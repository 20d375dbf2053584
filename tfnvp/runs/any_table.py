"""One setting for any table: a flow over a mixture of Gaussians, trained on noisy rows."""

import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfnvp import recipes
from tfnvp.arguments import check_int, check_one_of, is_number
from tfnvp.bases.gaussian_mixture import (
    COMPONENTS,
    ITERATIONS,
    LEAST_ROWS,
    as_base,
    choose_mixture,
    fit_mixture,
)
from tfnvp.bases.named import BASES
from tfnvp.bijectors import Standardization
from tfnvp.data.division import row_hashes
from tfnvp.data.pipeline import noisy_batches
from tfnvp.flows import Flow
from tfnvp.inputs.spec import DataSpec
from tfnvp.runs.build import compile_flow

#: Standard deviations of the noise among which held-out rows choose, in standardised units.
NOISES = (0.4, 0.2, 0.1, 0.05, 0.02)

#: With fewer different rows than this a table is small.
SMALL = 1000

_BATCH_SIZE = 64

# For threads that fit at the same time: Python's generator is one for all.
_GENERATOR = threading.Lock()

_MIXTURE = "gaussian_mixture"

# Rows that the base is fitted to.
_ROWS_FOR_BASE = 10_000

# Of rows of unequal weights each is drawn so often, on average.
_DRAWS = 20

# Of the mixture that only chooses the noise.
_COMPONENTS_FOR_NOISE = (8,)

# Of the mixture, whose covariances need an inverse.
_SMALLEST_RIDGE = 1e-6

# With fewer steps in all, XLA takes longer to compile them than it saves. Its programs stay in
# memory, so that many fits of small tables, as in a search, are better off without.
_STEPS_FOR_XLA = 2000


class TableSetting(NamedTuple):
    """How flows are fitted to a table.

    Attributes:
      base: "gaussian_mixture", or a base that the flow knows by name.
      couplings: int, or "auto": 4 of a small table, where more find no more outliers and take
        longer, and 8 of others.
      noise: float, 0 or more, standard deviation of the noise in units of those of the columns; or
        "auto".
      bandwidth: float, times Scott's rule for kernels, `n ** (-1 / (columns + 4))`, it is the noise
        of "auto"; None: held-out rows choose among `NOISES`.
      components: numbers of Gaussians of the base among which held-out rows choose.
      least_rows: how many rows a Gaussian has on average, at least.
      iterations: int, the most steps of expectation-maximisation before the flow is trained.
      ensemble: int, number of flows.
      steps: int, steps of each training, or "auto": see `steps_for`.
      validation_fraction: share of the rows, between 0 and 1, that is held out for choices.
      seed: int, of weights, rows and noise.
    """

    base: str = "gaussian_mixture"
    couplings: int | str = "auto"
    noise: float | str = "auto"
    bandwidth: float | None = None
    components: Sequence[int] = COMPONENTS
    least_rows: int = LEAST_ROWS
    iterations: int = ITERATIONS
    ensemble: int = 1
    steps: int | str = "auto"
    validation_fraction: float = 0.1
    seed: int = 0


_DEFAULT = TableSetting()


class FittedTable(NamedTuple):
    """What `fit_table` returns.

    Attributes:
      flows: list of the flows of the ensemble.
      noise: standard deviation of the noise, in standardised units.
      steps: number of steps.
    """

    flows: list[Flow]
    noise: float
    steps: int


def fit_table(
    make: Callable[..., Flow],
    rows: np.ndarray,
    sample_weight: np.ndarray | None = None,
    setting: TableSetting = _DEFAULT,
) -> FittedTable:
    """Fits new flows to any table, whether it has thirty rows or a hundred thousand.

    The base is a mixture of Gaussians, and couplings start as the identity: so the flow starts as
    a density that knows correlations and clusters. It maximises the mean of
    `log p(x + s * noise * e)` over rows `x` and normal noise `e`, with the standard deviations `s`
    of the columns. The noise keeps the density of few rows, of repeated values and of constant
    columns finite; its square is the ridge of the mixture. The number of components, and without a
    `bandwidth` the size of the noise, are those of the mixture that gives held-out rows the largest
    mean log-density; no flow is trained for the choice.

    The result depends on the contents of the rows, not on their order; a row of weight 2 counts as
    two equal rows. Optimizer and schedule are those of the recipe for tables.

    Args:
      make: returns a new flow from the arguments `couplings` and `base`: for vectors of as many
        numbers as there are columns, which it standardises.
      rows: `[n, columns]`, floats.
      sample_weight: `[n]`, 0 or more; only ratios matter. Default: equal weights.
      setting: `TableSetting`.

    Returns:
      `FittedTable`.

    Raises:
      ValueError: for arguments out of range, and data that flows do not accept.

    >>> import functools, numpy as np, tfnvp
    >>> make = functools.partial(tfnvp.RealNVP, 2, hidden_units=(8,))
    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> fitted = fit_table(make, rows, setting=TableSetting(couplings=2, noise=0.1, steps=20))
    >>> fitted.flows[0].log_prob(rows).shape.as_list(), fitted.noise
    ([50], 0.1)

    Source: tfnvp; Bishop 1995 (Training with noise is equivalent to Tikhonov regularization); Scott
    1992 (Multivariate Density Estimation).
    """
    _check(setting)
    spec = DataSpec(np.shape(rows)[1:])
    rows, _, sample_weight = spec.check(rows, None, sample_weight, training=True)
    rows, weight = _different(rows.astype("float32"), sample_weight)
    steps = steps_for(*rows.shape) if setting.steps == "auto" else int(setting.steps)
    flows, noise = _make(make, rows, weight, setting)
    _train(flows, rows, weight, noise, steps, setting.seed)
    return FittedTable(flows, float(noise), steps)


def steps_for(rows: int, columns: int) -> int:
    """Returns how many steps a table is trained for: more for more different rows to a column.

    >>> [steps_for(rows, 20) for rows in (33, 1000, 100_000)]
    [77, 424, 3000]
    """
    return min(3000, max(60, int(60 * math.sqrt(rows / columns))))


def _check(setting):
    """Raises `ValueError` for values that are out of range."""
    check_one_of("base", setting.base, (_MIXTURE, *BASES))
    if setting.couplings != "auto":
        check_int("couplings", setting.couplings)
    if setting.noise != "auto" and not (is_number(setting.noise) and 0 <= setting.noise < math.inf):
        raise ValueError(
            f'`noise` must be "auto" or a number of 0 or more. Received: {setting.noise!r}'
        )
    check_int("ensemble", setting.ensemble)
    if setting.steps != "auto":
        check_int("steps", setting.steps)
    fraction = setting.validation_fraction
    if not (is_number(fraction) and 0 < fraction < 1):
        raise ValueError(f"`validation_fraction` must be between 0 and 1. Received: {fraction!r}")


def _different(rows, sample_weight):
    """Returns different rows in the order of their hashes, and their weights, all above 0."""
    hashes, first, which = np.unique(row_hashes(rows), return_index=True, return_inverse=True)
    weight = np.bincount(which, weights=sample_weight, minlength=len(hashes)).astype("float64")
    return rows[first[weight > 0]], weight[weight > 0]


def _make(make, rows, weight, setting):
    """Returns new flows, and the noise to train them with."""
    couplings = setting.couplings
    if couplings == "auto":
        couplings = 4 if len(rows) < SMALL else 8
    noises = _noises(*rows.shape, setting)
    ridges = [max(_SMALLEST_RIDGE, noise**2) for noise in noises]
    mixed = setting.base == _MIXTURE
    with _seeded_weights(setting.seed):
        plain = make(couplings=couplings, base="normal" if mixed else setting.base)
        weighted = rows[_drawn(weight, most=max(len(rows), _ROWS_FOR_BASE))]
        plain.adapt(weighted)
        # Equal rows need equal latents: once each. Not by `encode`, which would compile a program.
        places, repeats = np.unique(_drawn(weight, most=_ROWS_FOR_BASE), return_counts=True)
        z = plain.bijector.inverse(tf.constant(rows[places])).numpy().astype("float64")
        z = np.repeat(z, repeats, axis=0)
        components, ridge = choose_mixture(
            z,
            setting.components if mixed else _COMPONENTS_FOR_NOISE,
            ridges,
            setting.least_rows,
            setting.validation_fraction,
            setting.seed,
        )
        if mixed:
            fitted = fit_mixture(z, components, ridge, setting.seed, setting.iterations)
            flows = [
                make(couplings=couplings, base=as_base(fitted, z)) for _ in range(setting.ensemble)
            ]
        else:
            others = range(1, setting.ensemble)
            flows = [plain, *(make(couplings=couplings, base=setting.base) for _ in others)]
    for flow in flows:
        flow.adapt(weighted)
    return flows, noises[ridges.index(ridge)]


def _noises(rows, columns, setting):
    if setting.noise != "auto":
        return (setting.noise,)
    if setting.bandwidth is None:
        return NOISES
    return (setting.bandwidth * rows ** (-1 / (columns + 4)),)


def _drawn(weight, most):
    """Returns places of rows, in order, each about as often as its weight says."""
    draws = len(weight) if np.ptp(weight) == 0 else _DRAWS * len(weight)
    draws = min(draws, most)
    ends = np.cumsum(weight)
    shares = (np.arange(draws) + 0.5) / draws
    return np.searchsorted(ends, shares * ends[-1], side="right")


def _train(flows, rows, weight, noise, steps, seed):
    """Trains flows of one structure, by programs of the first one that are compiled once."""
    first = flows[0]
    recipe = recipes.default("table").replace(epochs=1, batch_size=_BATCH_SIZE)
    optimizer = compile_flow(first, recipe, steps * _BATCH_SIZE)
    if steps * len(flows) < _STEPS_FOR_XLA:
        first.compile(optimizer, jit_compile=False)
    optimizer.build(first.trainable_variables)
    parts = first.bijector.submodules
    standardization = next(part for part in parts if isinstance(part, Standardization))
    deviation = noise * standardization.deviation.numpy()
    trained = []
    for i, flow in enumerate(flows):
        first.set_weights(flow.get_weights())
        for variable in optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        first.fit(noisy_batches(rows, weight, deviation, _BATCH_SIZE, steps, seed + i), verbose=0)
        trained.append(first.get_weights())
    for flow, weights in zip(flows, trained, strict=True):
        flow.set_weights(weights)


@contextlib.contextmanager
def _seeded_weights(seed: int) -> Iterator[None]:
    """Within it, new layers have the same initial weights for the same seed.

    Keras draws their seeds from Python's generator, whose state is as before afterwards.
    """
    with _GENERATOR:
        state = random.getstate()
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(state)
