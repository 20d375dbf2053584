"""Tables of the detectors of anomalies, from JSON lines."""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from benchmarks import results
from benchmarks.adbench import ranks

_QUANTITIES = ("roc_auc", "average_precision", "fit_seconds", "score_seconds")

# Of so many small sets the seconds are told apart from those of all.
_SMALLEST = 20


class Compared(NamedTuple):
    """What several methods reach on the same sets with the same seeds.

    Attributes:
      methods: names.
      sets: a result of each set, for its numbers of rows and columns.
      values: dictionary from quantities to arrays `[sets, methods]`, means over seeds.
    """

    methods: list[str]
    sets: list[dict]
    values: dict[str, np.ndarray]


def read(path):
    """Reads a file of JSON lines: a list of results."""
    return [json.loads(line) for line in pathlib.Path(path).read_text("utf-8").splitlines()]


def compared(lines):
    """Dictionary from settings to `Compared`.

    Only pairs of set and seed that all methods of the setting have count. Of a run measured twice
    the later result counts.
    """
    found = {}
    for setting in dict.fromkeys(line["setting"] for line in lines):
        of_setting = [line for line in lines if line["setting"] == setting]
        methods = list(dict.fromkeys(line["method"] for line in of_setting))
        pairs = {}
        for line in of_setting:
            pairs.setdefault((line["set"], line["seed"]), {})[line["method"]] = line
        sets = {}
        for (name, _), of_pair in pairs.items():
            if len(of_pair) == len(methods):
                sets.setdefault(name, []).append([of_pair[method] for method in methods])
        values = {
            quantity: np.array(
                [
                    np.mean([[line[quantity] for line in row] for row in rows], axis=0)
                    for rows in sets.values()
                ]
            )
            for quantity in _QUANTITIES
        }
        if sets:
            found[setting] = Compared(methods, [rows[0][0] for rows in sets.values()], values)
    return found


def markdown(lines):
    """Tables of means over sets, then of each set; the best of a column or line in bold."""
    text = []
    for setting, of_setting in compared(lines).items():
        names = [of_set["set"] for of_set in of_setting.sets]
        known = dict.fromkeys(line["set"] for line in lines if line["setting"] == setting)
        missing = [name for name in known if name not in names]
        note = f", without {', '.join(missing)}, which not all methods have" if missing else ""
        text += [f"**{setting}**, sets: {len(names)}{note}", "", *_means(of_setting), ""]
        text += [*_sets(of_setting), "", *_instead(lines, setting)]
    versions = {pair for line in lines for pair in line["versions"].items()}
    return "\n".join([*text, f"{', '.join(' '.join(pair) for pair in sorted(versions))}."])


def _means(of_setting):
    sizes = [of_set["train_rows"] for of_set in of_setting.sets]
    smallest = np.argsort(sizes, kind="stable")[:_SMALLEST]
    roc_auc = of_setting.values["roc_auc"]
    seconds = of_setting.values["fit_seconds"]
    columns = (
        (roc_auc.mean(axis=0), "{:.3f}", max),
        (of_setting.values["average_precision"].mean(axis=0), "{:.3f}", max),
        (ranks.mean_ranks(roc_auc), "{:.2f}", min),
        (np.median(seconds, axis=0), "{:.3g}", min),
        (np.median(seconds[smallest], axis=0), "{:.3g}", min),
    )
    head = ["method", "ROC-AUC", "average precision", "mean rank by ROC-AUC", "fit s"]
    head.append(f"fit s, {len(smallest)} smallest")
    cells = [_best_in_bold(*column) for column in columns]
    order = np.argsort(-roc_auc.mean(axis=0), kind="stable")
    rows = [[of_setting.methods[i], *(column[i] for column in cells)] for i in order]
    return results.table(head, rows)


def _best_in_bold(values, form, best):
    texts = [form.format(value) for value in values]
    bold = form.format(best(values))
    return [f"**{text}**" if text == bold else text for text in texts]


def _sets(of_setting):
    head = [
        "set: ROC-AUC (average precision)",
        "test rows",
        "columns",
        "anomalies",
        *of_setting.methods,
    ]
    rows = []
    for i, of_set in enumerate(of_setting.sets):
        cells = zip(
            _best_in_bold(of_setting.values["roc_auc"][i], "{:.3f}", max),
            of_setting.values["average_precision"][i],
            strict=True,
        )
        numbers = [str(of_set[name]) for name in ("test_rows", "columns", "anomalies")]
        rows.append([of_set["set"], *numbers, *(f"{a} ({b:.2f})" for a, b in cells)])
    return results.table(head, rows)


def _instead(lines, setting):
    """What methods did instead on some sets."""
    found = {}
    for line in lines:
        if line["setting"] == setting and "instead" in line:
            found.setdefault((line["method"], line["instead"]), {})[line["set"]] = None
    texts = [f"{method} is {what} on {', '.join(sets)}." for (method, what), sets in found.items()]
    return [*texts, ""] if texts else []
