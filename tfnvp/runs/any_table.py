"""One setting for any table: noisy rows, of a size that held-out rows choose."""

import contextlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfnvp import recipes
from tfnvp.arguments import check_int, is_number
from tfnvp.bijectors import Standardization
from tfnvp.data.division import row_hashes
from tfnvp.data.pipeline import noisy_batches
from tfnvp.flows import Flow
from tfnvp.precision import location_and_scale
from tfnvp.runs.build import compile_flow

#: Standard deviations of the noise among which held-out rows choose, in standardised units. Of
#: equal ones the first is taken.
NOISES = (0.4, 0.2, 0.1, 0.05)

#: With fewer different rows than this a table is small.
SMALL = 1000

#: The noise of small tables. Their held-out rows are too few to tell the sizes apart, and each
#: trial takes as long as the training.
NOISE = 0.2

_BATCH_SIZE = 64

# With fewer steps in all, XLA takes longer to compile them than it saves. Its programs stay in
# memory, so that many fits of small tables, as in a search, are better off without.
_STEPS_FOR_XLA = 2000


class FittedTable(NamedTuple):
    """How a flow was fitted to a table.

    Attributes:
      noise: standard deviation of the noise, in standardised units.
      steps: number of steps.
    """

    noise: float
    steps: int


def fit_table(
    flow: Flow,
    rows: np.ndarray,
    sample_weight: np.ndarray | None = None,
    noise: float | str = "auto",
    steps: int | str = "auto",
    validation_fraction: float = 0.1,
    seed: int = 0,
    others: Sequence[Flow] = (),
) -> FittedTable:
    """Fits a new flow to any table, whether it has thirty rows or a hundred thousand.

    The flow maximises the mean of `log p(x + s * noise * e)` over rows `x` and normal noise `e`,
    with the standard deviations `s` of the columns. The noise keeps the density of few rows, of
    repeated values and of constant columns finite. With fewer than `SMALL` different rows
    its size is `NOISE`. Otherwise that of `NOISES` is taken which gives held-out rows, without
    noise, the largest mean log-density; then the flow is trained anew on all rows.

    The result depends on the contents of the rows, not on their order; a row of weight 2 counts as
    two equal rows. Optimizer and schedule are those of the recipe for tables.

    Args:
      flow: a `tfnvp.Flow` of vectors that has not been trained; it is compiled here.
      rows: `[n, columns]`, floats.
      sample_weight: `[n]`, 0 or more; only ratios matter. Default: equal weights.
      noise: float, 0 or more, or "auto".
      steps: int, steps of each training, or "auto": see `steps_for`.
      validation_fraction: share of the rows that is held out where the noise is chosen, between 0
        and 1.
      seed: int, of rows and noise.
      others: further flows of the same structure, for an ensemble. Each is trained from its own
        initial weights on other draws of rows and noise, by programs that are compiled once for
        all.

    Returns:
      `FittedTable`.

    Raises:
      ValueError: for arguments out of range, and data that the flow does not accept.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> fit_table(flow, rows, noise=0.1, steps=20)
    FittedTable(noise=0.1, steps=20)

    Source: tfnvp; Bishop 1995 (Training with noise is equivalent to Tikhonov regularization).
    """
    check_setting(noise, steps, validation_fraction)
    rows, _, sample_weight = flow.data_spec.check(rows, None, sample_weight, training=True)
    rows, weight = _different(rows.astype("float32"), sample_weight)
    steps = steps_for(*rows.shape) if steps == "auto" else int(steps)
    chooses = noise == "auto" and len(rows) >= SMALL
    trainings = 1 + len(others) + len(NOISES) * chooses
    training = _Training(flow, rows, steps, seed, trainings * steps >= _STEPS_FOR_XLA)
    if chooses:
        held_out = min(len(rows) - 1, max(1, round(validation_fraction * len(rows))))
        noise = _choose_noise(training, rows, weight, np.arange(held_out))
    elif noise == "auto":
        noise = NOISE
    training.run(rows, weight, noise)
    if others:
        training.run_others(others, rows, weight, noise)
    return FittedTable(float(noise), steps)


@contextlib.contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Within it, new layers have the same initial weights for the same seed.

    Keras draws their seeds from Python's generator, whose state is as before afterwards.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def check_setting(noise: Any, steps: Any, validation_fraction: Any) -> None:
    """Raises `ValueError` for arguments of `fit_table` that are out of range."""
    if noise != "auto" and not (is_number(noise) and 0 <= noise < math.inf):
        raise ValueError(f'`noise` must be "auto" or a number of 0 or more. Received: {noise!r}')
    if steps != "auto":
        check_int("steps", steps)
    if not (is_number(validation_fraction) and 0 < validation_fraction < 1):
        raise ValueError(
            f"`validation_fraction` must be between 0 and 1. Received: {validation_fraction!r}"
        )


def steps_for(rows: int, columns: int) -> int:
    """Returns how many steps a table is trained for: more for more different rows to a column.

    >>> [steps_for(rows, 20) for rows in (33, 1000, 100_000)]
    [77, 424, 3000]
    """
    return min(3000, max(60, int(60 * math.sqrt(rows / columns))))


def couplings_for(rows: np.ndarray) -> int:
    """Returns how many couplings the flow of a table has: 4 of a small one, where more find no more
    outliers and take longer, and 8 of others.

    >>> couplings_for(np.random.default_rng(0).normal(size=(100, 3)))
    4
    """
    return 4 if len(np.unique(row_hashes(rows.astype("float32")))) < SMALL else 8


def _different(rows, sample_weight):
    """Returns different rows in the order of their hashes, and their weights, all above 0."""
    hashes, first, which = np.unique(row_hashes(rows), return_index=True, return_inverse=True)
    weight = np.bincount(which, weights=sample_weight, minlength=len(hashes)).astype("float64")
    return rows[first[weight > 0]], weight[weight > 0]


def _choose_noise(training, rows, weight, out):
    """Returns the noise whose flow gives held-out rows, without noise, the largest density."""
    rest = np.delete(np.arange(len(rows)), out)
    means = []
    for noise in NOISES:
        training.run(rows[rest], weight[rest], noise)
        # A density of 0 is as bad as any number can be.
        means.append(weight[out] @ np.nan_to_num(training.flow.log_prob(rows[out]).numpy()))
    return NOISES[int(np.argmax(means))]


class _Training:
    """Trains one flow again and again from the same start, by programs that are compiled once."""

    def __init__(self, flow, rows, steps, seed, in_xla):
        self.flow, self._steps, self._seed = flow, steps, seed
        flow.adapt(rows)
        parts = (part for part in flow.bijector.submodules if isinstance(part, Standardization))
        standardization = next(parts, None)
        if standardization is None:
            self._scale = location_and_scale(rows)[1]
        else:
            self._scale = standardization.deviation.numpy()
        recipe = recipes.default("table").replace(epochs=1, batch_size=_BATCH_SIZE)
        optimizer = compile_flow(flow, recipe, steps * _BATCH_SIZE)
        if not in_xla:
            flow.compile(optimizer, jit_compile=False)
        optimizer.build(flow.trainable_variables)
        self._start = flow.get_weights()

    def run_others(self, others, rows, weight, noise):
        """Trains flows of the same structure, each from its own start."""
        trained = self.flow.get_weights()
        for i, other in enumerate(others, 1):
            other.adapt(rows)
            self.run(rows, weight, noise, other.get_weights(), self._seed + i)
            other.set_weights(self.flow.get_weights())
        self.flow.set_weights(trained)

    def run(self, rows, weight, noise, start=None, seed=None):
        self.flow.set_weights(self._start if start is None else start)
        seed = self._seed if seed is None else seed
        for variable in self.flow.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        deviation = noise * self._scale
        batches = noisy_batches(rows, weight, deviation, _BATCH_SIZE, self._steps, seed)
        self.flow.fit(batches, verbose=0)
