"""Puts the sections of a report on one page."""

import os
import pathlib
from collections.abc import Callable

import jinja2

from tfnvp._atomic import replacing, require_folder
from tfnvp.data import Splits
from tfnvp.flows import Flow
from tfnvp.report.charts import mean_and_error
from tfnvp.report.history import cards, curves
from tfnvp.report.latents import latents, spectrum
from tfnvp.report.likelihoods import likelihoods
from tfnvp.report.report_data import ReportData
from tfnvp.report.samples import interpolation, reconstruction, samples

_SECTIONS = (samples, interpolation, likelihoods, latents, spectrum, reconstruction, curves)
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tfnvp.report", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write_report(
    flow: Flow,
    path: str | os.PathLike,
    splits: Splits | None = None,
    folder: str | os.PathLike | None = None,
    other: Splits | None = None,
    title: str | None = None,
    rows: int = 1000,
    seed: int = 0,
    progress: Callable = iter,
) -> pathlib.Path:
    """Writes one HTML page that describes a trained flow.

    The page needs no other file and no network: charts are SVG in it, pictures are data.

    Args:
      flow: a `tfnvp.Flow` without condition.
      path: the file to write.
      splits: `tfnvp.data.Splits`, the data set of the flow. Default: None; the page then shows the
        flow's own samples, and no likelihoods.
      folder: the run folder, for learning curves and model card.
      other: `tfnvp.data.Splits` of another data set, for the likelihoods.
      title: title of the page. Default: the name of the flow.
      rows: int, the largest number of rows of each split that is used.
      seed: int, seed of the choice of rows and of all noise.
      progress: function that wraps the sequence of sections, for a progress bar.

    Returns:
      The path.

    Raises:
      ValueError: if the flow takes a condition, or data has another shape or other grey levels
        than the flow.
    """
    require_folder(path)
    if flow.condition_shape is not None:
        raise ValueError(
            "`flow` must take no condition: a report is for unconditional flows. "
            f"Received: condition_shape={flow.condition_shape}"
        )
    for data in (splits, other):
        if data is not None:
            data.check_form(flow.event_shape, flow.levels)
    folder = None if folder is None else pathlib.Path(folder)
    report = ReportData(flow, splits, other, folder, rows, seed)
    sections = [section for make in progress(_SECTIONS) if (section := make(report)) is not None]
    html = _TEMPLATES.get_template("page.html").render(
        title=title or flow.name,
        data=splits.name if splits else None,
        figures=_figures(report),
        sections=[*sections, *cards(report)],
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return pathlib.Path(path)


def _figures(report):
    """Returns the figures at the top of the page, by name."""
    figures = {}
    if report.splits is not None:
        nats = report.test_log_prob.astype("float64")
        figures["test log-likelihood"] = f"{mean_and_error(nats, 2)} nats"
        if report.flow.levels is not None:
            bits = mean_and_error(report.likelihood(nats), 3)
            figures["test bits per dimension"] = bits
        shown = f"{len(nats)} of {len(report.splits.test)}"
        figures["test rows, one draw of noise" if report.flow.levels else "test rows"] = shown
    if report.diagnostics is not None:
        figures["largest round-trip error"] = f"{report.diagnostics.round_trip_max:.1e}"
    figures["parameters"] = f"{report.flow.count_params():,}"
    return figures
