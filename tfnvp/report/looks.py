"""Sections that show what a flow makes: samples, what lies between data, and round trips."""

import numpy as np
import tensorflow as tf
from matplotlib.ticker import MaxNLocator

from tfnvp.report.charts import BLUE, ORANGE, chart, histograms, picture
from tfnvp.report.section import Section

_COLUMNS = 12  # Of a table, that are drawn.
_POINTS = 120  # Along one side of a density picture.
_SQUARE = (3.0, 2.8)


def samples(subject):
    """Samples, beside the data where that says more."""
    if subject.is_images:
        images = subject.samples[:64]
        figures = [(picture(images, "samples"), f"{len(images)} samples, as they came.")]
        if subject.splits is not None:
            data = picture(subject.test[:64], "data")
            figures.append((data, f"{len(subject.test[:64])} images of the data, for comparison."))
        return Section("Samples", "", tuple(figures))
    if subject.is_plane:
        return Section("Samples", "", _plane(subject))
    return _marginals(subject)


def _plane(subject):
    """Data, samples and density over the same piece of the plane."""
    points = {"samples": subject.samples}
    if subject.splits is not None:
        points = {"data": subject.test, **points}
    corners = np.quantile(np.concatenate(list(points.values())), [0.002, 0.998], axis=0)
    middle, half = corners.mean(axis=0), 0.62 * (corners[1] - corners[0]) + 1e-6
    lines = [np.linspace(m - h, m + h, _POINTS) for m, h in zip(middle, half, strict=True)]
    grid = np.stack(np.meshgrid(*lines), axis=-1).astype("float32").reshape(-1, 2)
    density = np.exp(subject.flow.log_prob(grid).numpy()).reshape(_POINTS, _POINTS)

    def panel(name, draw):
        def draw_within_limits(axes):
            draw(axes[0, 0])
            axes[0, 0].set(xlim=lines[0][[0, -1]], ylim=lines[1][[0, -1]])
            axes[0, 0].set_xlabel(subject.columns[0], parse_math=False)
            axes[0, 0].set_ylabel(subject.columns[1], parse_math=False)

        return chart(name, name, draw_within_limits, size=_SQUARE), name.capitalize()

    def dots(values):
        style = {"s": 3, "alpha": 0.5, "linewidths": 0, "color": BLUE, "rasterized": True}
        return lambda axes: axes.scatter(*values.T, **style)

    def colours(axes):
        axes.pcolormesh(*lines, density, cmap="viridis", rasterized=True, shading="nearest")

    return (
        *(panel(name, dots(values)) for name, values in points.items()),
        panel("density", colours),
    )


def _marginals(subject):
    shown = min(_COLUMNS, subject.flow.event_size)
    columns = min(shown, 4)
    rows = -(-shown // columns)

    def draw(axes):
        for i, panel in enumerate(axes.flat):
            if i >= shown:
                panel.set_axis_off()
                continue
            groups = {"samples": subject.samples[:, i]}
            if subject.splits is not None:
                groups["data"] = subject.test[:, i]
            bins = int(np.clip(np.sqrt(len(subject.test)), 5, 30))
            histograms(panel, groups, bins, subject.columns[i])
            panel.xaxis.set_major_locator(MaxNLocator(3))
        handles = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].figure.legend(*handles, loc="outside upper right", ncols=2, fontsize=7)

    label = "histograms of the columns of data and samples"
    figure = chart("marginals", label, draw, rows, columns, (1.9 * columns, 1.5 * rows))
    caption = f"The first {shown} of {subject.flow.event_size} columns."
    if subject.splits is None:
        return Section("Samples", "", ((figure, caption),))
    with np.errstate(invalid="ignore"):  # Constant columns have none.
        correlations = [np.corrcoef(x, rowvar=False) for x in (subject.test, subject.samples)]
    difference = np.nanmax(np.abs(correlations[0] - correlations[1]))
    table = (("largest difference between correlations of data and samples", f"{difference:.3f}"),)
    return Section("Samples", "", ((figure, caption),), table)


def interpolation(subject):
    """What lies between four data points; in the plane, what becomes of a grid of latents."""
    if subject.is_images:
        grid = subject.flow.interpolate(subject.test[:4], 8, 8)
        source = "images of the test split" if subject.splits else "samples"
        text = f"Four {source} in the corners; between them, decoded latents along quarter circles."
        return Section("Interpolation", "", ((picture(grid, "interpolation"), text),))
    if subject.is_plane:
        return Section("Deformation", "A grid of latents, decoded.", _deformation(subject.flow))
    return None


def _deformation(flow):
    """Both families of lines of a latent grid, and where the flow takes them."""
    along, across = np.linspace(-3.0, 3.0, 200), np.linspace(-3.0, 3.0, 25)
    one_way = np.stack(np.meshgrid(across, along, indexing="ij"), axis=-1)
    lines = np.concatenate([one_way, one_way[..., ::-1]]).astype("float32")
    decoded = tf.reshape(flow.decode(lines.reshape(-1, 2)), lines.shape).numpy()

    def panel(name, shown):
        def draw(axes):
            for i, line in enumerate(shown):
                colour = BLUE if i < len(across) else ORANGE
                axes[0, 0].plot(*line.T, color=colour, linewidth=0.6)

        return chart(name, name, draw, size=_SQUARE), name.capitalize()

    return panel("latents", lines), panel("decoded", decoded)


def reconstruction(subject):
    """The error of encoding and decoding, which is zero but for rounding."""
    x = subject.test
    back = subject.flow.decode(subject.flow.encode(x)).numpy()
    error = np.abs(back - x)
    largest = error.reshape(len(x), -1).max(axis=1)
    scale = np.abs(x).max()

    def draw(axes):
        exponents = np.log10(np.maximum(largest, 1e-9))
        histograms(axes[0, 0], {"": exponents}, 40, "log10 of the largest error of each row")

    text = (
        "A flow is invertible, so decoding what was encoded gives the data back, up to rounding in "
        "float32. Errors near the size of the data mean that the flow is numerically broken."
    )
    figures = [(chart("errors", "round-trip errors", draw, size=(6.4, 2.0)), "")]
    if subject.is_images:
        n = min(8, len(x))
        shown = np.stack([x[:n], back[:n], error[:n] / max(error[:n].max(), 1e-30)])
        caption = "Images, decoded again, and the difference enlarged until it fills the range."
        figures.append((picture(shown, "reconstruction"), caption))
    table = (
        ("largest error", f"{error.max():.2e}"),
        ("mean error", f"{error.mean(dtype='float64'):.2e}"),
        ("largest value of the data", f"{scale:.3g}"),
    )
    return Section("Reconstruction", text, tuple(figures), table)
