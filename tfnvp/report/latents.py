"""Sections on the latents: do they look like the base, and what does each layer do to volume?"""

import numpy as np
from scipy import stats

from tfnvp.bijectors import DiagonalScaling
from tfnvp.bijectors.compose import members
from tfnvp.report.charts import BLUE, ORANGE, chart
from tfnvp.report.section import Section

_QUANTILES = 200
_BASES = {"normal": stats.norm, "logistic": stats.logistic}


def latents(subject):
    """Quantiles of the latents of test data against those of the base."""
    z = subject.flow.encode(subject.test).numpy()
    z = z.reshape(len(z), -1)
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    expected = _base_quantiles(subject.flow, shares, subject.seed)
    pooled = np.quantile(z, shares)
    single = np.quantile(z, shares, axis=0)
    low, high = np.quantile(single, [0.05, 0.95], axis=1)

    def draw(axes):
        panel = axes[0, 0]
        panel.fill_between(expected, low, high, color=BLUE, alpha=0.25, linewidth=0)
        panel.plot(expected, pooled, ".", color=BLUE, markersize=3)
        panel.plot(expected, expected, color=ORANGE, linewidth=1)
        panel.set(xlabel="quantiles of the base", ylabel="quantiles of the latents")

    text = (
        "Points on the line: the latents of test data are distributed as the base, which is what "
        "training aims at. The band holds nine tenths of the single variables. A steeper course "
        "at the ends means tails heavier than the base's."
    )
    found = subject.diagnostics
    table = (
        ("mean, standard deviation", f"{z.mean():.3f}, {z.std():.3f}"),
        ("excess kurtosis of all latents together", f"{stats.kurtosis(z, axis=None):.3f}"),
        ("largest deviation of a mean from the base's", f"{found.latent_mean_deviation:.3f}"),
        ("largest deviation of a covariance", f"{found.latent_covariance_deviation:.3f}"),
        ("share of values that are not finite", f"{found.non_finite:.2g}"),
        *(
            (f"largest |log-det| of {name}", f"{value:.3g}")
            for name, value in found.largest_log_det.items()
        ),
    )
    label = "quantiles of latents against those of the base"
    return Section("Latents", text, ((chart("qq", label, draw, size=(4.2, 3.6)), ""),), table)


def _base_quantiles(flow, shares, seed):
    """Quantiles of all variables of the base together: by formula, or of draws."""
    if isinstance(flow.base, str):
        return _BASES[flow.base].ppf(shares)
    return np.quantile(flow.distribution.distribution.sample(10_000, seed=(5, seed)), shares)


def spectrum(subject):
    """The learned scales of a flow that ends in a diagonal rescaling, sorted, as in NICE."""
    scalings = [b for b in members(subject.flow.bijector) if isinstance(b, DiagonalScaling)]
    if not scalings:
        return None
    scales = np.sort(np.exp(np.ravel(scalings[-1].log_scale)))[::-1]

    def draw(axes):
        panel = axes[0, 0]
        panel.semilogy(np.arange(1, len(scales) + 1), scales, color=BLUE)
        panel.set(xlabel="latent variable, sorted", ylabel="scale σ")

    text = (
        "The standard deviation that the rescaling gives to each latent variable, 1 / S in NICE's "
        "notation. Variables with large scales carry the coarse content; those with scales near "
        "zero are directions in which the data does not vary."
    )
    label = "spectrum of the learned rescaling"
    table = (
        (
            "largest, median, smallest",
            f"{scales[0]:.3g}, {np.median(scales):.3g}, {scales[-1]:.3g}",
        ),
    )
    return Section("Learned rescaling", text, ((chart("spectrum", label, draw), ""),), table)
