"""What the sections of a report are computed from."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from tfnvp.data import Splits
from tfnvp.flows import Flow
from tfnvp.flows.diagnostics import Diagnostics, judged_latents
from tfnvp.plotting import has_picture
from tfnvp.quantization import REPORT_NOISE, dequantize


@dataclasses.dataclass(frozen=True)
class ReportData:
    """A flow, at most `rows` rows of each split of its data (dequantized), and its run folder.

    Args:
      flow: a `tfnvp.Flow` without condition.
      splits: `tfnvp.data.Splits`, or None for the flow's own samples instead.
      other: `tfnvp.data.Splits` of another data set of the same shape, or None.
      folder: run folder, or None.
      rows: int.
      seed: int, seed of the choice of rows and of all noise.
    """

    flow: Flow
    splits: Splits | None
    other: Splits | None
    folder: pathlib.Path | None
    rows: int
    seed: int

    @property
    def is_images(self) -> bool:
        """Whether data points are images that can be drawn."""
        return has_picture(self.flow.event_shape) and not self.is_plane

    @property
    def is_plane(self) -> bool:
        """Whether data points are points in the plane."""
        return self.flow.event_shape == (2,)

    @property
    def columns(self) -> Sequence[str]:
        """Names of the variables of a vector."""
        named = self.splits.columns if self.splits else None
        return named or [f"x{i + 1}" for i in range(self.flow.event_size)]

    @functools.cached_property
    def train(self) -> np.ndarray:
        """Training rows."""
        return self.take(self.splits)

    @functools.cached_property
    def test(self) -> np.ndarray:
        """Test rows; without data, samples of the flow."""
        return self.samples if self.splits is None else self.take(self.splits, "test")

    @functools.cached_property
    def samples(self) -> np.ndarray:
        """Samples of the flow."""
        return self.flow.sample(self.rows, seed=self.seed).numpy()

    @functools.cached_property
    def test_log_prob(self) -> np.ndarray:
        """Log-densities of the test rows, in nats."""
        return self.flow.log_prob(self.test).numpy()

    @functools.cached_property
    def judged(self) -> tuple[np.ndarray, np.ndarray]:
        """Test rows with a density, and their latents."""
        z, judged = judged_latents(self.flow, self.test)
        return self.test[judged], z

    @functools.cached_property
    def diagnostics(self) -> Diagnostics | None:
        """The result of `flow.check` on the test rows; None for a single one."""
        return self.flow.check(self.test) if len(self.test) > 1 else None

    def take(self, splits: Splits, part: str = "train") -> np.ndarray:
        """Returns random rows of a part, dequantized where the flow has grey levels."""
        chosen = splits.source(part).take(self.rows, self.seed)
        if self.flow.levels is None:
            return chosen
        return dequantize(chosen, self.flow.levels, seed=(REPORT_NOISE, self.seed)).numpy()

    def likelihood(self, log_prob: np.ndarray) -> np.ndarray:
        """Converts log-densities in nats to `unit`."""
        return log_prob if self.flow.levels is None else self.flow.bits_per_dim(log_prob)

    @property
    def unit(self) -> str:
        """The unit in which the report shows likelihoods."""
        return "log-density, nats" if self.flow.levels is None else "bits per dimension"
