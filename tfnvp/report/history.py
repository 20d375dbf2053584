"""Sections on the history of a flow: learning curves and the model card."""

import csv

import keras
import numpy as np
import tensorflow as tf

from tfnvp._version import __version__
from tfnvp.report.charts import Section, chart
from tfnvp.report.report_data import ReportData
from tfnvp.runs import card as run_card
from tfnvp.runs.folder import RunFolder

# Options that the page shows elsewhere.
_SHOWN = ("name", "event_shape", "image_shape", "base", "levels")


def curves(report: ReportData) -> Section | None:
    """Returns the learning curves of the run, or None without any."""
    file = None if report.folder is None else RunFolder(report.folder).history
    if file is None or not file.is_file():
        return None
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    columns = set(rows[0] if rows else ())
    quantity = "bits_per_dim" if "bits_per_dim" in columns else "loss"
    keys = {"training": quantity, "validation": f"val_{quantity}"}
    curves = {
        name: np.array([float(row[key] or "nan") for row in rows])
        for name, key in keys.items()
        if key in columns
    }
    values = np.concatenate([[np.nan], *curves.values()])
    if not np.isfinite(values).any():
        return None
    low, high = np.nanmin(values), np.nanquantile(values, 0.95)

    def draw(panel):
        for name, numbers in curves.items():
            panel.plot(np.arange(1, len(numbers) + 1), numbers, label=name, linewidth=1.2)
        pad = 0.05 * (high - low) + 1e-6
        panel.set(xlabel="epoch", ylim=(low - pad, high + pad))
        panel.set_ylabel("bits per dimension" if quantity == "bits_per_dim" else "loss, nats")
        panel.legend()

    text = (
        "The worst 5 % of the values are outside of the plot. With dropout the training curve is "
        "worse than the flow."
    )
    return Section("Learning curves", text, ((chart("curves", "learning curves", draw), ""),))


def cards(report: ReportData) -> list[Section]:
    """Returns tables of the model's options and, of a run, its model card."""
    flow = report.flow
    options = {
        name.replace("_", " "): value
        for name, value in flow.get_config().items()
        if isinstance(value, (str, int, float, tuple, list)) and name not in _SHOWN
    }
    facts = {
        "class": type(flow).__name__,
        "event shape": flow.event_shape,
        "parameters": f"{flow.count_params():,}",
        **options,
        "base": flow.base if isinstance(flow.base, str) else flow.base.name,
        "grey levels": flow.levels or "none (real numbers)",
        "tfnvp, tensorflow, keras": ", ".join((__version__, tf.__version__, keras.__version__)),
    }
    card = run_card.read_card(report.folder) if report.folder is not None else None
    return [
        Section(title, table=tuple(part.items()))
        if isinstance(part, dict)
        else Section(title, part)
        for title, part in {"Model": facts, **(card or {})}.items()
    ]
