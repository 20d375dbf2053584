"""Pictures of measured results."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from benchmarks import results
from benchmarks.libraries import LABELLED, OTHERS, OURS
from benchmarks.workloads import SWEEPS


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
        names = [name for name in (*OURS, *LABELLED, *OTHERS) if name in ratios]
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


def save_curves(runs, path, floor=None):
    """Validation and training likelihoods of runs, epoch by epoch.

    Args:
      runs: dictionary from labels to rows of `history.csv`, as dictionaries of numbers.
      path: the PNG to write.
      floor: nats below which nothing is drawn; default: all.
    """
    figure, axis = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for label, rows in runs.items():
        epochs = [int(row["epoch"]) + 1 for row in rows]
        (line,) = axis.plot(epochs, [-row["val_loss"] for row in rows], label=label)
        training = [-row["loss"] for row in rows]
        axis.plot(epochs, training, "--", color=line.get_color(), linewidth=1)
    axis.set_xlabel("epoch")
    axis.set_ylabel("log-likelihood, nats (dashed: training)")
    axis.set_ylim(bottom=floor)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def save_scaling(cells, path):
    """Time of a step and peak memory as couplings, width and batch grow, one at a time."""
    figure, axes = plt.subplots(
        2, len(SWEEPS), figsize=(3.6 * len(SWEEPS), 5.6), sharey="row", layout="constrained"
    )
    for column, quantity in zip(axes.T, SWEEPS, strict=True):
        points = [
            (int(work.split("-")[1]), libraries["tfnvp"])
            for (work, _), libraries in cells.items()
            if work.split("-")[0] == quantity
        ]
        points.sort(key=lambda point: point[0])
        values = [value for value, _ in points]
        times = [result["median"] for _, result in points]
        # What the same products would take at the rate of the last, largest one.
        _, largest = points[-1]
        rate = largest["median"] / largest["operations"]
        column[0].loglog(values, times, "o-", label="step")
        column[0].loglog(
            values,
            [rate * result["operations"] for _, result in points],
            "--",
            color="grey",
            label="in proportion to operations",
        )
        column[1].semilogx(values, [result["peak_mib"] for _, result in points], "o-")
        column[1].set_xlabel(quantity)
        for axis in column:
            axis.set_xticks(values, map(str, values), minor=False)
            axis.minorticks_off()
            axis.spines[["top", "right"]].set_visible(False)
    # After all are drawn: a limit stops the other one from following the data.
    axes[1, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel("training step, ms")
    axes[1, 0].set_ylabel("peak memory of the process, MiB")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
