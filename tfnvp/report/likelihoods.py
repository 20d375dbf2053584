"""The section on likelihoods: training and test data, and data of no such kind."""

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from tfnvp.data import dequantize
from tfnvp.report.charts import COLOURS, chart, histograms
from tfnvp.report.section import Section


def likelihoods(subject):
    """Histograms of likelihoods of training, test and unusual data, and how well they part."""
    if subject.splits is None:
        return None
    flow = subject.flow
    known = {"test": subject.test_log_prob}
    if subject.train is not None:
        known = {"train": flow.log_prob(subject.train).numpy(), **known}
    unusual = {name: flow.log_prob(rows).numpy() for name, rows in unusual_data(subject).items()}

    def panel(name, label, groups, colours):
        def draw(axes):
            shown = {name: subject.likelihood(values) for name, values in groups.items()}
            histograms(axes[0, 0], shown, label=subject.unit, colours=colours)
            axes[0, 0].legend(fontsize=8)

        return chart(name, label, draw, size=(3.8, 2.6)), label

    figures = (
        panel("known", "Training and test data", known, COLOURS[2 - len(known) :]),
        panel("unusual", "Unusual data", {"test": known["test"], **unusual}, COLOURS[1:]),
    )
    head = (("data", f"{subject.unit}, mean ± standard error", "rows", "AUC against test"),)
    rows = tuple(
        (name, _mean(subject, values), str(len(values)), _auc(known["test"], values, name))
        for name, values in {**known, **unusual}.items()
    )
    text = (
        "A gap between training and test data means that the flow has learned its data by heart. "
        f"Of each test row, the unusual data keep something: {_KINDS[subject.is_images]} AUC is "
        "the chance that a test row is likelier than an unusual one: 1 parts them wholly, 0.5 not "
        "at all. Flows can find simple images of another kind likelier than their own data."
    )
    return Section("Likelihoods", text, figures, head + rows)


_KINDS = {
    True: "shuffled pixels their grey levels. Noise keeps nothing.",
    False: "shuffled columns the values of each column, but not what goes with what. Uniform rows "
    "keep the range only.",
}


def unusual_data(subject):
    """Data of the same shape that the flow should find unlikely, by name."""
    generator = np.random.default_rng(subject.seed)
    x = subject.test
    if subject.is_images:
        pixels = x.reshape(len(x), -1, x.shape[-1] if x.ndim == 4 else 1)
        order = np.argsort(generator.uniform(size=pixels.shape[:2]), axis=1)[..., np.newaxis]
        made = {"pixels shuffled": np.take_along_axis(pixels, order, axis=1).reshape(x.shape)}
        made["noise"] = generator.uniform(size=x.shape).astype("float32")
        if subject.flow.levels is not None:
            grey = generator.integers(0, subject.flow.levels, x.shape)
            made["noise"] = dequantize(grey, subject.flow.levels, seed=(6, subject.seed)).numpy()
    else:
        low, high = x.min(axis=0), x.max(axis=0)
        made = {
            "columns shuffled": generator.permuted(x, axis=0),
            "uniform": generator.uniform(low, high, x.shape).astype("float32"),
        }
    if subject.other is not None:
        made[subject.other.name] = subject.take(subject.other.test)
    return made


def _mean(subject, log_prob):
    values = np.asarray(subject.likelihood(log_prob), "float64")
    error = values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.3f} ± {error:.3f}"


def _auc(test, unusual, name):
    if name in ("train", "test"):
        return ""
    labels = np.r_[np.zeros(len(test)), np.ones(len(unusual))]
    scores = np.nan_to_num(-np.concatenate([test, unusual]), nan=np.inf)
    return f"{roc_auc_score(labels, np.clip(scores, -1e30, 1e30)):.4f}"
