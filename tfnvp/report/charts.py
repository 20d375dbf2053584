"""Sections of a page: charts and pictures as self-contained HTML, in the page's colours."""

import base64
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import markupsafe
import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfnvp import plotting

#: Legible on white and on black.
BLUE, ORANGE, *_ = COLOURS = ("#3b82c4", "#e07b22", "#3a9d6b", "#b8559a", "#8f8f3a")

# Placeholder for the colour of the page's text, which depends on the browser.
_INK = "#010203"
_REM_PER_INCH = 6.8
_COLOURED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tfnvp",
    "font.family": "sans-serif",
    "font.size": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": f"cycler('color', {COLOURS!r})",
    "savefig.transparent": True,
    **dict.fromkeys(_COLOURED, _INK),
}


class Section(NamedTuple):
    """A title, a text, figures (HTML) with captions, and a table of two columns or more."""

    title: str
    text: str = ""
    figures: tuple = ()
    table: tuple = ()


def chart(
    name: str,
    label: str,
    draw: Callable[..., object],
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (6.4, 3.2),
) -> markupsafe.Markup:
    """Draws a chart.

    Args:
      name: prefix of the identifiers in the chart, letters only, unique on the page.
      label: description of the chart for screen readers.
      draw: function of the matplotlib axes, an argument each, row by row.
      rows: int.
      columns: int.
      size: width and height in inches.

    Returns:
      `markupsafe.Markup`: an `<svg>` element.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(*figure.subplots(rows, columns, squeeze=False).flat)
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", dpi=150, metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # HTML needs no namespaces; the page sets the size.
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    opening = markupsafe.Markup('<svg role="img" aria-label="{}" style="max-width: {}rem"')
    opening = opening.format(label, round(_REM_PER_INCH * size[0]))
    return opening + markupsafe.Markup(svg.removeprefix("<svg"))


def picture(images: npt.ArrayLike, label: str, **kwargs) -> markupsafe.Markup:
    """Returns `plotting.image_grid(images, **kwargs)` as an `<img>` element."""
    file = io.BytesIO()
    plotting.image_grid(images, **kwargs).save(file, format="PNG", optimize=True)
    content = base64.b64encode(file.getvalue()).decode()
    return markupsafe.Markup('<img alt="{}" src="data:image/png;base64,{}">').format(label, content)


def histograms(
    axes: Axes,
    groups: Mapping[str, np.ndarray],
    bins: int = 40,
    label: str = "",
    colours: Sequence[str] = COLOURS,
) -> None:
    """Draws histograms of groups of numbers over common bins.

    Args:
      axes: matplotlib axes.
      groups: mapping of names to numbers; the outer 0.5 % on each side count in the outer bins.
      bins: int.
      label: label of the axis.
      colours: one for each group.
    """
    everything = np.concatenate(list(groups.values()))
    low, high = np.quantile(everything[np.isfinite(everything)], [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    for (name, values), colour in zip(groups.items(), colours, strict=False):
        shares = np.histogram(np.clip(values, low, edges[-1]), edges)[0] / len(values)
        axes.stairs(shares, edges, fill=True, alpha=0.25, color=colour)
        axes.stairs(shares, edges, color=colour, label=name)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(label, parse_math=False)
    axes.set(yticks=[], ylim=(0, None))
    axes.spines["left"].set_visible(False)


def mean_and_error(values: npt.ArrayLike, digits: int) -> str:
    """Returns the mean of numbers as text, with its standard error if both are finite."""
    values = np.asarray(values, "float64")
    text = f"{values.mean():.{digits}f}"
    if len(values) == 1 or not np.isfinite(values).all():
        return text
    return f"{text} ± {values.std(ddof=1) / np.sqrt(len(values)):.{digits}f}"
