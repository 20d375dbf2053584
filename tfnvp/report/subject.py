"""What a report is about: a flow, the data it is held against, and the run it came from."""

import dataclasses
import functools
import pathlib

import numpy as np

from tfnvp.data import Splits, dequantize
from tfnvp.flows import Flow


@dataclasses.dataclass(frozen=True)
class Subject:
    """A flow with its data, at most `rows` of each split, quantized data dequantized.

    Args:
      flow: a `tfnvp.Flow` without condition.
      splits: `tfnvp.data.Splits`, or None; then the flow is looked at by its own samples.
      other: `tfnvp.data.Splits` of other data of the same shape, or None.
      folder: run folder with `history.csv` and the rest, or None.
      rows: int.
      seed: int, of all noise and choices.
    """

    flow: Flow
    splits: Splits | None
    other: Splits | None
    folder: pathlib.Path | None
    rows: int
    seed: int

    @property
    def is_images(self):
        """Whether data points are pictures."""
        return len(self.flow.event_shape) >= 2

    @property
    def is_plane(self):
        """Whether data points are points in the plane."""
        return self.flow.event_shape == (2,)

    @property
    def columns(self):
        """Names of the variables of a vector."""
        named = self.splits.columns if self.splits else None
        return named or [f"x{i + 1}" for i in range(self.flow.event_size)]

    @functools.cached_property
    def train(self):
        """Training rows, or None where they are a stream."""
        rows = self.splits.train
        return self.take(rows) if isinstance(rows, np.ndarray) else None

    @functools.cached_property
    def test(self):
        """Test rows; without data, samples of the flow."""
        return self.samples if self.splits is None else self.take(self.splits.test)

    @functools.cached_property
    def samples(self):
        """Samples of the flow."""
        return self.flow.sample(self.rows, seed=self.seed).numpy()

    @functools.cached_property
    def test_log_prob(self):
        """Log-densities of the test rows, in nats."""
        return self.flow.log_prob(self.test).numpy()

    @functools.cached_property
    def diagnostics(self):
        """`flow.check` of the test rows."""
        return self.flow.check(self.test)

    def take(self, stored):
        """Rows by chance, as the flow takes them."""
        generator = np.random.default_rng(self.seed)
        chosen = stored[generator.permutation(len(stored))[: self.rows]]
        if self.flow.levels is None:
            return chosen
        return dequantize(chosen, self.flow.levels, seed=(4, self.seed)).numpy()

    def likelihood(self, log_prob):
        """Log-densities in the unit that they are shown in: bits per dimension, or nats."""
        return log_prob if self.flow.levels is None else self.flow.bits_per_dim(log_prob)

    @property
    def unit(self):
        """Name of that unit."""
        return "log-density, nats" if self.flow.levels is None else "bits per dimension"
