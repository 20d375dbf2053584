"""Pictures of the detectors of anomalies."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.adbench import ranks

_OURS = "tfnvp"


def save_ranks(compared, path):
    """Critical-difference diagrams: mean ranks, and bars over methods that do not differ.

    Args:
      compared: dictionary from settings to `tables.Compared`.
      path: the PNG to write.
    """
    figure, axes = _panels(compared, height=2.9, columns=1)
    for axis, (setting, of_setting) in zip(axes, compared.items(), strict=True):
        _draw_ranks(axis, of_setting)
        axis.set_title(f"{setting}: mean rank by ROC-AUC, {len(of_setting.sets)} sets", fontsize=10)
    _save(figure, path)


def _draw_ranks(axis, compared):
    values = compared.values["roc_auc"]
    means = ranks.mean_ranks(values)
    count = len(means)
    axis.set_xlim(1 - 0.3 * count, count + 0.3 * count)
    axis.axis("off")
    axis.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        axis.plot([rank, rank], [0, 0.15], color="black", linewidth=1)
        axis.text(rank, 0.2, str(rank), ha="center", va="bottom", fontsize=9)
    bars = ranks.groups(values)
    for level, group in enumerate(bars, start=1):
        ends = means[group].min() - 0.04, means[group].max() + 0.04
        axis.plot(ends, [-0.22 * level] * 2, color="black", linewidth=3.5, solid_capstyle="butt")
    order = np.argsort(means, kind="stable")
    left = -(-count // 2)
    lowest = -0.22 * len(bars) - 0.4
    for place, i in enumerate(order):
        is_left = place < left
        depth = lowest - 0.35 * (place if is_left else count - 1 - place)
        end = 1 - 0.05 * count if is_left else count + 0.05 * count
        colour = "tab:orange" if compared.methods[i] == _OURS else "black"
        axis.plot([means[i], means[i], end], [0, depth, depth], color=colour, linewidth=0.9)
        text = f"{compared.methods[i]} {means[i]:.2f}"
        axis.text(
            end,
            depth,
            f" {text} ",
            ha="right" if is_left else "left",
            va="center",
            fontsize=9,
            color=colour,
        )
    axis.set_ylim(lowest - 0.35 * left, 0.6)


def save_roc(compared, path):
    """ROC-AUC of every set, and boxes over the sets, by method.

    Args:
      compared: dictionary from settings to `tables.Compared`.
      path: the PNG to write.
    """
    figure, axes = _panels(compared, height=3.4, columns=len(compared))
    for axis, (setting, of_setting) in zip(axes, compared.items(), strict=True):
        values = of_setting.values["roc_auc"]
        order = np.argsort(values.mean(axis=0), kind="stable")
        places = np.arange(len(order))
        axis.boxplot(
            values[:, order],
            positions=places,
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            medianprops={"color": "black"},
        )
        for place, i in enumerate(order):
            colour = "tab:orange" if of_setting.methods[i] == _OURS else "tab:blue"
            spread = place + np.linspace(-0.2, 0.2, len(values))
            axis.plot(values[:, i], spread, ".", color=colour, markersize=4)
            axis.plot(values[:, i].mean(), place, "D", color=colour, markeredgecolor="black")
        axis.set_yticks(places, [of_setting.methods[i] for i in order])
        axis.set_xlabel("ROC-AUC (diamond: mean; line: median)")
        axis.set_title(f"{setting}, {len(values)} sets", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _panels(compared, height, columns):
    rows = -(-len(compared) // columns)
    size = (6.4 if columns == 1 else 4.8 * columns, height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    return figure, axes.flat


def _save(figure, path):
    figure.savefig(path, dpi=120)
    plt.close(figure)
