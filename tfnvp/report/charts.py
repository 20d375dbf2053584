"""Charts and pictures as HTML that needs nothing else, in the colours of the page around them."""

import base64
import io
import re

import markupsafe
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfnvp import plotting

#: Legible on white and on black.
BLUE, ORANGE, *_ = COLOURS = ("#3b82c4", "#e07b22", "#3a9d6b", "#b8559a", "#8f8f3a")

# Stands for the colour of the page's text, which only the browser knows.
_INK = "#010203"
_REM_PER_INCH = 6.8
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
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}


def chart(name, label, draw, rows=1, columns=1, size=(6.4, 3.2)):
    """Draws a chart.

    Args:
      name: what tells its parts from those of other charts on the page, letters only.
      label: what it shows, for those who hear the page.
      draw: function of the array of axes `[rows, columns]`.
      rows: int.
      columns: int.
      size: width and height in inches.

    Returns:
      `markupsafe.Markup`: an `<svg>` element.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots(rows, columns, squeeze=False))
        text = io.StringIO()
        figure.savefig(
            text,
            format="svg",
            dpi=150,
            metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
        )
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    # HTML knows these names without their addresses; sizes are the page's affair.
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1">', svg, count=1)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    opening = markupsafe.Markup('<svg role="img" aria-label="{}" style="max-width: {}rem"')
    opening = opening.format(label, round(_REM_PER_INCH * size[0]))
    return opening + markupsafe.Markup(svg.removeprefix("<svg"))


def picture(images, label, **kwargs):
    """Returns `plotting.image_grid(images, **kwargs)` as an `<img>` element."""
    file = io.BytesIO()
    plotting.image_grid(images, **kwargs).save(file, format="PNG", optimize=True)
    content = base64.b64encode(file.getvalue()).decode()
    return markupsafe.Markup('<img alt="{}" src="data:image/png;base64,{}">').format(label, content)


def histograms(axes, groups, bins=40, label="", colours=COLOURS):
    """Draws the shares of groups of numbers over common bins.

    Args:
      axes: matplotlib axes.
      groups: mapping of names to numbers; those beyond the outermost 0.5 % go to the last bins.
      bins: int.
      label: of the numbers.
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
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
