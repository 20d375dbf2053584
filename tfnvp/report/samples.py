"""Sections with samples, interpolations and reconstructions."""

import numpy as np
import tensorflow as tf
from matplotlib.ticker import MaxNLocator

from tfnvp.report.charts import BLUE, ORANGE, Section, chart, histograms, picture
from tfnvp.report.report_data import ReportData

_COLUMNS = 12  # Columns of a table that are drawn.
_POINTS = 120  # Points along each side of a picture of the density.
_SQUARE = (3.0, 2.8)


def samples(report: ReportData) -> Section | None:
    """Shows samples beside data; returns None for arrays that are no images."""
    if report.is_plane:
        return Section("Samples", "", _plane(report))
    if not report.is_images:
        return _marginals(report) if len(report.flow.event_shape) == 1 else None
    images, data = report.samples[:64], report.test[:64]
    figures = [(picture(images, "samples"), f"{len(images)} samples, not selected.")]
    if report.splits is not None:
        figures.append((picture(data, "data"), f"{len(data)} test images, for comparison."))
    return Section("Samples", "", tuple(figures))


def _plane(report):
    """Draws data, samples and density over the same part of the plane."""
    points = {"samples": report.samples}
    if report.splits is not None:
        points = {"data": report.test, **points}
    corners = np.quantile(np.concatenate(list(points.values())), [0.002, 0.998], axis=0)
    middle, half = corners.mean(axis=0), 0.62 * (corners[1] - corners[0])
    half = np.where(half > 0, half, 1.0)  # Of constant columns.
    lines = [np.linspace(m - h, m + h, _POINTS) for m, h in zip(middle, half, strict=True)]
    grid = np.stack(np.meshgrid(*lines), axis=-1).astype("float32").reshape(-1, 2)
    density = np.exp(report.flow.log_prob(grid).numpy()).reshape(_POINTS, _POINTS)
    style = {"s": 3, "alpha": 0.5, "linewidths": 0, "color": BLUE, "rasterized": True}

    def panel(name, values=None):
        def draw(axes):
            if values is None:
                axes.pcolormesh(*lines, density, cmap="viridis", rasterized=True, shading="nearest")
            else:
                axes.scatter(*values.T, **style)
            axes.set(xlim=lines[0][[0, -1]], ylim=lines[1][[0, -1]])
            axes.set_xlabel(report.columns[0], parse_math=False)
            axes.set_ylabel(report.columns[1], parse_math=False)

        return chart(name, name, draw, size=_SQUARE), name.capitalize()

    return *(panel(name, values) for name, values in points.items()), panel("density")


def _marginals(report):
    shown = min(_COLUMNS, report.flow.event_size)
    columns = min(shown, 4)
    rows = -(-shown // columns)
    bins = int(np.clip(np.sqrt(len(report.test)), 5, 30))

    def draw(*panels):
        for i, panel in enumerate(panels[:shown]):
            groups = {"samples": report.samples[:, i]}
            if report.splits is not None:
                groups["data"] = report.test[:, i]
            histograms(panel, groups, bins, report.columns[i])
            panel.xaxis.set_major_locator(MaxNLocator(3))
        for panel in panels[shown:]:
            panel.set_axis_off()
        handles = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(*handles, loc="outside upper right", ncols=2, fontsize=7)

    label = "histograms of the columns of data and samples"
    figure = chart("marginals", label, draw, rows, columns, (1.9 * columns, 1.5 * rows))
    caption = f"The first {shown} of {report.flow.event_size} columns."
    if report.splits is None or min(len(report.test), len(report.samples)) < 2:
        return Section("Samples", "", ((figure, caption),))
    with np.errstate(invalid="ignore"):  # Constant columns have no correlation.
        correlations = [np.corrcoef(x, rowvar=False) for x in (report.test, report.samples)]
    difference = np.nanmax(np.abs(correlations[0] - correlations[1]))
    table = (("largest difference between correlations of data and samples", f"{difference:.3f}"),)
    return Section("Samples", "", ((figure, caption),), table)


def interpolation(report: ReportData) -> Section | None:
    """Shows an interpolation between four images or, in the plane, a decoded grid of latents.

    Returns None for other data, and for fewer images.
    """
    if report.is_images and len(report.test) >= 4:
        grid = report.flow.interpolate(report.test[:4], 8, 8)
        source = "images of the test split" if report.splits else "samples"
        text = (
            f"Four {source} at the corners; between them, latents along quarter circles, decoded."
        )
        return Section("Interpolation", "", ((picture(grid, "interpolation"), text),))
    if report.is_plane:
        return Section("Deformation", "A grid of latents, decoded.", _deformation(report.flow))
    return None


def _deformation(flow):
    """Draws a grid of lines in latent space, and the same lines decoded."""
    along, across = np.linspace(-3.0, 3.0, 200), np.linspace(-3.0, 3.0, 25)
    one_way = np.stack(np.meshgrid(across, along, indexing="ij"), axis=-1)
    lines = np.concatenate([one_way, one_way[..., ::-1]]).astype("float32")
    decoded = tf.reshape(flow.decode(lines.reshape(-1, 2)), lines.shape).numpy()

    def panel(name, shown):
        def draw(axes):
            for i, line in enumerate(shown):
                axes.plot(*line.T, color=BLUE if i < len(across) else ORANGE, linewidth=0.6)

        return chart(name, name, draw, size=_SQUARE), name.capitalize()

    return panel("latents", lines), panel("decoded", decoded)


def reconstruction(report: ReportData) -> Section:
    """Shows the error of encoding and decoding, which comes only from rounding."""
    x, z = report.judged
    back = report.flow.decode(z).numpy()
    back = np.asarray(report.flow.data_spec.data_side.nearest(back, x))
    error = np.abs(back - x)
    largest = error.reshape(len(x), -1).max(axis=1)

    def draw(axes):
        least = 0.01 * np.finfo("float32").eps * np.abs(x).max()
        exponents = np.log10(np.maximum(largest, least))
        histograms(axes, {"": exponents}, 40, "log10 of the largest error of each row")

    text = (
        "A flow is invertible: encoding and decoding returns the data, up to rounding in float32. "
        "Errors near the size of the data mean that the flow is numerically unstable."
    )
    figures = [(chart("errors", "round-trip errors", draw, size=(6.4, 2.0)), "")]
    if report.is_images:
        n = min(8, len(x))
        shown = np.stack([x[:n], back[:n], error[:n] / max(error[:n].max(), 1e-30)])
        caption = "Images, their reconstructions, and the differences, scaled to the full range."
        figures.append((picture(shown, "reconstruction"), caption))
    table = (
        ("largest error", f"{error.max():.2e}"),
        ("mean error", f"{error.mean(dtype='float64'):.2e}"),
        ("largest value of the data", f"{np.abs(x).max():.3g}"),
    )
    return Section("Reconstruction", text, tuple(figures), table)
