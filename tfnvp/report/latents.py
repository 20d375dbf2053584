"""Sections on the latents: their distribution against the base, and NICE's learned scales."""

import numpy as np
from scipy import stats

from tfnvp.bijectors import DiagonalScaling
from tfnvp.bijectors.compose import members
from tfnvp.quantization import BASE_SAMPLE
from tfnvp.report.charts import BLUE, ORANGE, Section, chart
from tfnvp.report.report_data import ReportData

_QUANTILES = 200
_BASES = {"normal": stats.norm, "logistic": stats.logistic}


def latents(report: ReportData) -> Section:
    """Plots quantiles of the latents of test data against those of the base."""
    z = report.judged[1].copy()
    if (angles := report.flow.angles) is not None:
        # As latents of the same probability.
        turns = (z[:, angles] / (2 * np.pi) + 0.5).clip(1e-7, 1 - 1e-7)
        z[:, angles] = _BASES[report.flow.base].ppf(turns)
    z = z.reshape(len(z), -1)
    shares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    expected = _base_quantiles(report.flow, shares, report.seed)
    pooled = np.quantile(z, shares)
    single = np.quantile(z, shares, axis=0)
    low, high = np.quantile(single, [0.05, 0.95], axis=1)

    def draw(panel):
        panel.fill_between(expected, low, high, color=BLUE, alpha=0.25, linewidth=0)
        panel.plot(expected, pooled, ".", color=BLUE, markersize=3)
        panel.plot(expected, expected, color=ORANGE, linewidth=1)
        panel.set(xlabel="quantiles of the base", ylabel="quantiles of the latents")

    text = (
        "Quantiles of the latents of test data against those of the base. Training aims at points "
        "on the line. The band contains the middle 90 % of the single variables. A curve that is "
        "steeper at its ends means tails that are heavier than those of the base."
    )
    text += " Angles are shown as latents of the same probability." * (angles is not None)
    table = (
        ("mean, standard deviation", f"{z.mean():.3f}, {z.std():.3f}"),
        ("excess kurtosis of all latents together", f"{stats.kurtosis(z, axis=None):.3f}"),
        ("rows of density 0, left out", str(len(report.test) - len(z))),
        *_checked(report.diagnostics),
    )
    label = "quantiles of latents against those of the base"
    return Section("Latents", text, ((chart("qq", label, draw, size=(4.2, 3.6)), ""),), table)


def _checked(found):
    """Returns the lines of a table on diagnostics, none without any."""
    if found is None:
        return ()
    means, covariances = found.latent_mean_deviation, found.latent_covariance_deviation
    return (
        ("largest deviation of a mean from the base's", f"{means:.3f}"),
        ("largest deviation of a covariance from the base's", f"{covariances:.3f}"),
        ("share of values that are not finite", f"{found.non_finite:.2g}"),
        *((f"largest |log-det| of {k}", f"{v:.3g}") for k, v in found.largest_log_det.items()),
        *((f"share of its largest scale: {k}", f"{v:.2f}") for k, v in found.scale_shares.items()),
    )


def _base_quantiles(flow, shares, seed):
    """Returns quantiles of all variables of the base together: exact ones, or those of samples."""
    if isinstance(flow.base, str):
        return _BASES[flow.base].ppf(shares)
    samples = flow.distribution.distribution.sample(10_000, seed=(BASE_SAMPLE, seed))
    return np.quantile(samples, shares)


def spectrum(report: ReportData) -> Section | None:
    """Plots the sorted scales of a flow with a diagonal rescaling; returns None for others."""
    scalings = [b for b in members(report.flow.bijector) if isinstance(b, DiagonalScaling)]
    if not scalings:
        return None
    scales = np.sort(np.exp(np.ravel(scalings[-1].log_scale)))[::-1]

    def draw(panel):
        panel.semilogy(np.arange(1, len(scales) + 1), scales, color=BLUE)
        panel.set(xlabel="latent variable, sorted", ylabel="scale σ")

    text = (
        "The standard deviation that the rescaling gives to each latent variable, 1 / S in the "
        "notation of NICE. Variables with large scales hold the coarse content; those with scales "
        "near zero are directions in which the data hardly varies."
    )
    label = "spectrum of the learned rescaling"
    extremes = f"{scales[0]:.3g}, {np.median(scales):.3g}, {scales[-1]:.3g}"
    table = (("largest, median, smallest", extremes),)
    return Section("Learned rescaling", text, ((chart("spectrum", label, draw), ""),), table)
