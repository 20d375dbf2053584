"""Puts the sections of a report on one page."""

import pathlib

import jinja2
import numpy as np

from tfnvp._atomic import replacing, require_folder
from tfnvp.report.latents import latents, spectrum
from tfnvp.report.likelihoods import likelihoods
from tfnvp.report.looks import interpolation, reconstruction, samples
from tfnvp.report.origin import cards, curves
from tfnvp.report.subject import Subject

_SECTIONS = (samples, interpolation, likelihoods, latents, spectrum, reconstruction, curves)
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tfnvp.report", "."),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


def write_report(
    flow, path, splits=None, folder=None, other=None, title=None, rows=1000, seed=0, progress=iter
):
    """Writes everything worth seeing of a trained flow on one HTML page.

    The page needs no other file and no network: charts are SVG in it, pictures are data.

    Args:
      flow: a `tfnvp.Flow` without condition.
      path: the file to write.
      splits: `tfnvp.data.Splits` that it was trained on. Default: none; the page then shows the
        flow's own samples, and no likelihoods.
      folder: the run folder, for learning curves and model card.
      other: `tfnvp.data.Splits` of other data, for the likelihoods.
      title: of the page. Default: the name of the flow.
      rows: int, the most rows of each split that are looked at.
      seed: int, of choices and noise.
      progress: wraps the sequence of sections, to show how far it is.

    Returns:
      The path.

    Raises:
      ValueError: if the flow has a condition, or data is of another shape or other levels.
    """
    require_folder(path)
    if flow.condition_shape is not None:
        raise ValueError(
            "a report is for flows without a condition. "
            f"Received: condition_shape={flow.condition_shape}"
        )
    for data in (splits, other):
        if data is not None and (data.event_shape, data.levels) != (flow.event_shape, flow.levels):
            raise ValueError(
                f"{data.name} must be of the flow's shape {flow.event_shape} and levels "
                f"{flow.levels}. Received: shape {data.event_shape}, levels {data.levels}"
            )
    folder = None if folder is None else pathlib.Path(folder)
    subject = Subject(flow, splits, other, folder, rows, seed)
    sections = [section for make in progress(_SECTIONS) if (section := make(subject)) is not None]
    html = _TEMPLATES.get_template("page.html").render(
        title=title or flow.name,
        data=splits.name if splits else None,
        figures=_figures(subject),
        sections=[*sections, *cards(subject)],
    )
    with replacing(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return pathlib.Path(path)


def _figures(subject):
    """The numbers at the head of the page, by name."""
    figures = {}
    if subject.splits is not None:
        nats = subject.test_log_prob.astype("float64")
        error = nats.std(ddof=1) / np.sqrt(len(nats))
        figures["test log-likelihood"] = f"{nats.mean():.2f} ± {error:.2f} nats"
        if subject.flow.levels is not None:
            bits = error / (subject.flow.event_size * np.log(2.0))
            mean = float(subject.flow.bits_per_dim(nats.mean()))
            figures["test bits per dimension"] = f"{mean:.3f} ± {bits:.3f}"
        shown = f"{len(nats)} of {len(subject.splits.test)}"
        figures["test rows, one draw of noise" if subject.flow.levels else "test rows"] = shown
    figures["largest round-trip error"] = f"{subject.diagnostics.round_trip_max:.1e}"
    figures["parameters"] = f"{subject.flow.count_params():,}"
    return figures
