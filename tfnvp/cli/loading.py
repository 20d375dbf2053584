"""Loading the models and data that the options of a command name."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tfnvp
from tfnvp.cli.options import Source

if TYPE_CHECKING:
    import numpy as np

    from tfnvp.data import Splits
    from tfnvp.flows import Flow


def load_flow(model: Path) -> "Flow":
    """Loads the model of a command that cannot give it conditions.

    Raises:
      ValueError: for a conditional model.
    """
    from tfnvp.runs.folder import load_model

    flow = load_model(model)
    if flow.condition_shape is not None:
        raise ValueError(
            f"{model} is conditional, and only `tfnvp export` supports such models: load it in "
            "Python, by `keras.models.load_model`, and give `condition=` to its methods"
        )
    return flow


def load_image_flow(model: Path) -> "Flow":
    """Loads the model of a command that is for images only.

    Raises:
      ValueError: as `load_flow`, and for a model of other data.
    """
    flow = load_flow(model)
    if flow.levels is None or len(flow.event_shape) < 2:
        raise ValueError(f"{model} is not a flow of images")
    return flow


def load_data(
    source: Source,
    flow: "Flow | None" = None,
    default: str = "digits",
    columns: Sequence[str] | None = None,
    **division: str | None,
) -> "Splits":
    """Loads data, and checks that it has the flow's shape, levels and columns, if there is a flow.

    Args:
      source: where the data comes from.
      flow: the flow that it is for.
      default: name of the data set if the source names none.
      columns: names of the flow's columns, if they are known, which select those of a table. The
        columns that the source names stand for them.
      **division: `division`, how rows without a division of their own are divided, as for
        `split_at_random`.

    Raises:
      ValueError: for other data than the flow's, and for options of images without images.
    """
    source.require_images()
    if source.images is not None:
        splits = tfnvp.data.load_images(**_image_options(source, flow), **division)
    elif source.table is not None:
        splits = tfnvp.data.load_table(
            source.table,
            source.skip_bad,
            source.columns or columns,
            bounds_in(source.bounds),
            source.delimiter,
            source.encoding,
            circular=bounds_in(source.circular, "--circular"),
            **division,
        )
    elif source.records is not None:
        splits = tfnvp.data.read_records(
            source.records, source.skip_bad, bounds_in(source.bounds) or None
        )
        if columns is not None and splits.columns not in (None, columns):
            raise ValueError(
                f"{splits.name} must have the model's columns {list(columns)}. Received: "
                f"{list(splits.columns)}"
            )
    else:
        splits = tfnvp.data.load_named(source.dataset or default, source.data_dir, **division)
    if flow is not None:
        splits.check_form(flow.event_shape, flow.levels)
    return splits


def read_images_of(model: Path, flow: "Flow", source: Source) -> "tuple[list[str], np.ndarray]":
    """Reads all images of the folder that a source names, whatever their size and number.

    Args:
      model: path of the model, in its run folder.
      flow: the model, whose shape and grey levels the images get.
      source: where the images come from.

    Returns:
      `(names, rows)`: their paths within the folder, in order, and uint8 `[n, *event_shape]`.
    """
    images = tfnvp.data.images.ImageFolder(**_image_options(source_of(model, source), flow))
    rows = images.rows()
    return images.names, rows


def _image_options(source, flow):
    """Returns the arguments for reading a folder of images, in the flow's shape if there is one."""
    return {
        "folder": source.images,
        "size": source.image_size,
        "skip_bad": source.skip_bad,
        "levels": source.levels or (flow and flow.levels) or 256,
        "background": source.background or "white",
        "follow_links": source.follow_links,
        "event_shape": flow and flow.event_shape,
    }


def load_data_of(model: Path, flow: "Flow", source: Source, is_new: bool = False) -> "Splits":
    """Loads the data that a source names, or else the data that a model was trained on.

    Args:
      model: path of the model, in its run folder.
      flow: the model.
      source: where the data comes from.
      is_new: whether the data may have changed since the training: all of it is used as new data.

    Raises:
      ValueError: if the data is not what the model was trained on.
    """
    from tfnvp import pretrained, scoring
    from tfnvp.runs.data_of_run import check_data
    from tfnvp.runs.folder import RunFolder
    from tfnvp.runs.resuming import division_of

    run, reference = RunFolder.of(model), scoring.read_reference(model)
    config = run.config()
    columns = reference and reference.columns
    division, default = division_of(config), config.get("dataset", pretrained.data_of(model))
    if default is None and not source.names_data:
        raise ValueError(f"{model.stem} is a model without data of its own: give a `table`")
    source_of_data = source_of(model, source)
    splits = load_data(source_of_data, flow, default, columns, division=division)
    # By the order of its rows, a file of the run's name is divided otherwise once it has changed.
    is_of_run = division is None and splits.name == default and source.records is None
    if source.dataset is not None or (source.names_files and not is_of_run):
        for part in ("validation", "test"):
            rows = getattr(splits, part)
            scoring.advise_on_training_rows(reference, rows, f"{part} of {splits.name}")
    elif not is_new:
        check_data(config, splits, run.path)
    return splits


def source_of(model: Path, source: Source) -> Source:
    """Returns a source, completed by that of the model's run unless it names data itself.

    Other images than those of the run get the same background.
    """
    from tfnvp._atomic import reading
    from tfnvp.runs.folder import CONFIG, RunFolder

    run = RunFolder.of(model)
    if source.images is not None and source.background is None:
        stored = run.config().get("source_of_data", {})
        return dataclasses.replace(source, background=stored.get("background"))
    if source.names_data:
        return source
    stored = run.source_of_data(source.given)
    with reading(run.path / CONFIG):
        return Source(**stored)


def bounds_in(
    text: str | None, option: str = "--bounds"
) -> dict[str, tuple[float | None, float | None]]:
    """Returns the bounds in a text NAME=LOW:HIGH, or several with commas between, by name.

    Args:
      text: the text, or None.
      option: what messages call it.

    Raises:
      ValueError: for another text, or a name that is given twice.

    >>> bounds_in("rain=0:, share=0:1")
    {'rain': (0.0, None), 'share': (0.0, 1.0)}
    """
    found = {}
    for part in text.split(",") if text else ():
        name, ends = (text.strip() for text in part.rpartition("=")[::2])
        try:
            low, high = (float(end) if end.strip() else None for end in ends.split(":"))
        except ValueError:
            name = ""
        if not name or (low is None and high is None):
            some = ", one may be left out" * (option == "--bounds")
            raise ValueError(f"{option} must be NAME=LOW:HIGH{some}. Received: {part!r}")
        if name in found:
            raise ValueError(f"{option} must name a column once. Received twice: {name!r}")
        found[name] = low, high
    return found
