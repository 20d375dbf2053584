"""The section on likelihoods: of training data, test data and unusual data."""

import numpy as np
from sklearn.metrics import roc_auc_score

from tfnvp.quantization import UNUSUAL_IMAGES_NOISE, dequantize
from tfnvp.report.charts import COLOURS, Section, chart, histograms, mean_and_error
from tfnvp.report.report_data import ReportData


def likelihoods(report: ReportData) -> Section | None:
    """Plots likelihoods of training, test and unusual data, and measures their separation."""
    if report.splits is None:
        return None
    flow = report.flow
    known = {"train": flow.log_prob(report.train).numpy(), "test": report.test_log_prob}
    unusual = {name: flow.log_prob(rows).numpy() for name, rows in unusual_data(report).items()}

    def panel(name, label, groups, colours):
        def draw(axes):
            shown = {name: report.likelihood(values) for name, values in groups.items()}
            histograms(axes, shown, label=report.unit, colours=colours)
            axes.legend(fontsize=8)

        return chart(name, label, draw, size=(3.8, 2.6)), label

    figures = (
        panel("known", "Training and test data", known, COLOURS),
        panel("unusual", "Unusual data", {"test": known["test"], **unusual}, COLOURS[1:]),
    )
    table = [("data", f"{report.unit}, mean ± standard error", "rows", "AUC against test")]
    for name, values in {**known, **unusual}.items():
        auc = f"{_auc(known['test'], values):.4f}" if name in unusual else ""
        mean = mean_and_error(report.likelihood(values), 3)
        table.append((name, mean, str(len(values)), auc))
    text = (
        "A gap between training and test data is a sign of overfitting. "
        f"Unusual data is made of the test rows: {_KINDS[report.is_images]} AUC is the probability "
        "that a test row has a higher likelihood than an unusual row: 1 is perfect separation, "
        "0.5 is chance. Flows can assign higher likelihoods to simple images of another data set "
        "than to their own data."
    )
    return Section("Likelihoods", text, figures, tuple(table))


_KINDS = {
    True: "shuffled pixels keep the grey levels of each image, noise keeps nothing.",
    False: "shuffled columns keep the values of each column, but no relation between columns; "
    "uniform rows keep only the range of each column.",
}


def unusual_data(report: ReportData) -> dict[str, np.ndarray]:
    """Returns data of the same shape that should have lower likelihoods, by name."""
    generator = np.random.default_rng(report.seed)
    x = report.test
    if report.is_images:
        pixels = x.reshape(len(x), -1, x.shape[-1] if x.ndim == 4 else 1)
        order = np.argsort(generator.uniform(size=pixels.shape[:2]), axis=1)[..., np.newaxis]
        made = {"pixels shuffled": np.take_along_axis(pixels, order, axis=1).reshape(x.shape)}
        made["noise"] = generator.uniform(size=x.shape).astype("float32")
        if (levels := report.flow.levels) is not None:
            grey, seed = generator.integers(0, levels, x.shape), (UNUSUAL_IMAGES_NOISE, report.seed)
            made["noise"] = dequantize(grey, levels, seed=seed).numpy()
    else:
        low, high = x.min(axis=0), x.max(axis=0)
        made = {
            "columns shuffled": generator.permuted(x, axis=0),
            "uniform": generator.uniform(low, high, x.shape).astype("float32"),
        }
    if report.other is not None:
        made[report.other.name] = report.take(report.other, "test")
    return made


def _auc(test, unusual):
    labels = np.r_[np.zeros(len(test)), np.ones(len(unusual))]
    scores = np.nan_to_num(-np.concatenate([test, unusual]), nan=np.inf)
    return roc_auc_score(labels, np.clip(scores, -1e30, 1e30))
