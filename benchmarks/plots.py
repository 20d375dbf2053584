"""Pictures of measured results."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from benchmarks import results
from benchmarks.libraries import LABELLED, NEIGHBOURS, OURS


def save_ratios(cells, path):
    """Bars: time of a step as a multiple of the floor, a panel for each cell."""
    cells = {key: libraries for key, libraries in cells.items() if results.FLOOR in libraries}
    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.4 * columns, 2.9 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(cells) :]:
        axis.set_visible(False)
    for axis, ((work, cell), libraries) in zip(axes.flat, cells.items(), strict=False):
        ratios = results.ratios(libraries)
        names = [name for name in (*OURS, *LABELLED, *NEIGHBOURS) if name in ratios]
        names.sort(key=ratios.get, reverse=True)
        places = np.arange(len(names))
        colours = ["tab:orange" if name in (*OURS, *LABELLED) else "tab:blue" for name in names]
        axis.barh(places, [ratios[name] for name in names], color=colours)
        axis.set_yticks(places, names)
        axis.axvline(1.0, color="black", linewidth=1)
        for place, name in zip(places, names, strict=True):
            axis.text(ratios[name], place, f" {ratios[name]:.2f}", va="center", fontsize=8)
        axis.set_xlim(0, 1.18 * max(1.0, *ratios.values()))
        axis.set_title(f"{work} {cell}", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("time of a step, as a multiple of the matrix products alone (lower is better)")
    figure.savefig(path, dpi=120)
    plt.close(figure)
