"""Why rows are unusual: how much their density rises when one variable takes another value."""

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfnvp import advice
from tfnvp.arguments import check_int
from tfnvp.quantization import EVALUATION_NOISE, dequantize
from tfnvp.scoring.scores import checked_rows

if TYPE_CHECKING:
    from tfnvp.flows import Flow

# The values that are tried are quantiles of so many samples, with a fixed seed.
_SAMPLES, _SEED = 1000, 0

# Levels of the quantiles: equal steps of a normal variable. So the values in the tails, which are
# likely where another variable is extreme, are as close to each other as those in the middle.
_QUANTILES = [statistics.NormalDist().cdf(step / 5) for step in range(-16, 17)]

# Grey levels with noise are below 1.
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))

# Numbers that are evaluated at a time.
_ELEMENTS = 2**20


class Explanation(NamedTuple):
    """What `replacement_gains` finds for each variable of each row.

    Attributes:
      gains: float32 `[n, *event_shape]`, in nats, 0 or more; NaN for rows without a score.
      values: `[n, *event_shape]`, in the type of the rows: the most likely values.
    """

    gains: np.ndarray
    values: np.ndarray

    def largest(self, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the variables with the largest gains of each row, the largest one first.

        Args:
          most: int, how many. If there are fewer variables, all are returned.

        Returns:
          Indices of variables, gains and values, each `[n, most]`.

        Raises:
          ValueError: if `most` is no positive int.

        >>> found = Explanation(np.array([[0.5, 0.0, 2.0]]), np.array([[1.0, 2.0, 3.0]]))
        >>> [part.tolist() for part in found.largest(2)]
        [[[2, 0]], [[2.0, 0.5]], [[3.0, 1.0]]]
        """
        check_int("most", most)
        gains, values = (part.reshape(len(part), -1) for part in self)
        which = np.argsort(-gains, axis=1, kind="stable")[:, :most]
        return which, *(np.take_along_axis(part, which, axis=1) for part in (gains, values))


def replacement_gains(flow: "Flow", rows: Any, condition: Any = None) -> Explanation:
    """Tells which variables make rows unusual, and which values would be likely instead.

    ::

        gain_j = max_v log p(x_1, .., x_{j-1}, v, x_{j+1}, .., x_d) - log p(x)

    The values `v` are that of the row, and 33 quantiles of the variable in 1000 samples of the
    flow: training rows are not needed. A value that is usual by itself, but not together with the
    others of its row, has a large gain; so has every other variable that alone can make the row
    usual.

    For each variable of each row, 34 log-densities are evaluated, in pieces of bounded size.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, *event_shape]`, as for `tfnvp.scoring.score`. Of whole grey levels, the values are
        grey levels, too, and get the same noise.
      condition: for conditional flows, as for `flow.log_prob`; it does not change.

    Returns:
      `Explanation`. A gain is infinite if only this variable is outside of the support; if several
      are, all gains are 0.

    Raises:
      ValueError: if `rows` have the wrong shape, or the condition does not fit.

    >>> import numpy as np, tfnvp
    >>> flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))  # Untrained: standard normal.
    >>> gains, values = replacement_gains(flow, [[0.0, 3.0]])
    >>> bool(abs(gains[0, 1] - 3.0**2 / 2) < 0.01), bool(abs(values[0, 1]) < 0.1)
    (True, True)

    Source: tfnvp; a counterfactual explanation by one variable (Wachter, Mittelstadt and Russell
    2017).
    """
    rows, whole = checked_rows(flow, rows)
    gains, values = np.full(rows.shape, np.nan, "float32"), np.array(rows)
    if whole.any():
        given = flow.data_spec.conditions_of(whole, len(rows), condition)
        gains[whole], values[whole] = _gains_and_values(flow, rows[whole], given)
    return Explanation(gains, values)


def _gains_and_values(flow, rows, condition):
    """Returns what `replacement_gains` does, of finite rows."""
    own = rows.reshape(len(rows), -1)
    scale = _Scale(flow, own)
    with np.errstate(over="ignore"):  # Rows beyond float32 have the density 0.
        data = scale.data(own).astype("float32")
    flow.data_spec.advise_on_rows(data.reshape(rows.shape))
    offered = scale.values(_quantiles(flow, condition, len(rows)))
    gains, values, tries = np.zeros(own.shape, "float32"), own.copy(), 1 + len(offered)
    size = max(1, _ELEMENTS // (own.shape[1] * tries))
    for first in range(0, len(rows), size):
        piece = np.arange(len(rows))[first : first + size]
        repeated = np.repeat(piece, tries)
        given = flow.data_spec.conditions_of(repeated, len(rows), condition)
        for j in range(own.shape[1]):
            replaced = data[repeated].reshape(len(piece), tries, -1)
            replaced[:, 1:, j] = scale.data(offered[:, j], (piece, j, np.newaxis))
            with advice.unsupported_rows_known():
                nats = flow.log_prob(replaced.reshape(-1, *flow.event_shape), given).numpy()
            gains[piece, j], best = _largest_rise(nats.reshape(len(piece), tries))
            values[piece, j] = np.where(best == 0, own[piece, j], offered[best - 1, j])
    return gains.reshape(rows.shape), values.reshape(rows.shape)


class _Scale:
    """The data of values: real numbers as they are, whole grey levels with noise.

    Args:
      flow: a `tfnvp.Flow`.
      rows: `[n, d]`. A variable of a row has the same noise, whatever its grey level.
    """

    def __init__(self, flow, rows):
        self._levels = flow.levels if rows.dtype.kind in "iub" else None
        if self._levels is not None:
            zeros = np.zeros_like(rows)
            self._noise = dequantize(zeros, self._levels, seed=(EVALUATION_NOISE, 0)).numpy()

    def data(self, values, where=...):
        """Returns the data of values; `where` chooses among variables of rows."""
        if self._levels is None:
            return values
        return np.minimum(values / self._levels + self._noise[where], _BELOW_ONE)

    def values(self, data):
        """Returns the values of data: the inverse of `data`."""
        if self._levels is None:
            return data
        return np.clip(np.floor(data * self._levels), 0, self._levels - 1)


def _quantiles(flow, condition, rows):
    """Returns quantiles of samples, for conditions each of which is that of some rows: `[33, d]`.

    They are samples, and not means of two, so that each lies in the support.
    """
    chosen = np.arange(_SAMPLES) % rows
    given = flow.data_spec.conditions_of(chosen, rows, condition)
    drawn = flow.sample(_SAMPLES, seed=_SEED, condition=given).numpy().reshape(_SAMPLES, -1)
    return np.sort(drawn, axis=0)[np.rint(np.multiply(_QUANTILES, _SAMPLES - 1)).astype(int)]


def _largest_rise(nats):
    """Returns by how much the largest of `[n, tries]` is above the first, and its place: `[n]`."""
    best = np.where(np.isnan(nats), -np.inf, nats).argmax(axis=1)  # The first of equal ones.
    own, largest = nats[:, 0], nats[np.arange(len(nats)), best]
    with np.errstate(invalid="ignore"):  # Of rows that have the density 0 with every value.
        return np.where(largest == own, 0.0, largest - own), best
