"""The folder that a training run leaves behind."""

import itertools
import json
import os
import pathlib

import keras

MODEL = "model.keras"


def create(output, stem):
    """Makes a new folder for a run.

    Args:
      output: the folder; it must not exist yet, or be empty. Default (None): the next free
        `runs/STEM-N`.
      stem: what the run is called by default.

    Returns:
      `pathlib.Path`.

    Raises:
      ValueError: if `output` exists and holds something.
    """
    if output is not None:
        folder = pathlib.Path(output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists already and is not overwritten: choose another")
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    for number in itertools.count(1):
        folder = pathlib.Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder


def write_json(path, content):
    """Writes JSON under a temporary name and renames it, so that no reader sees half a file."""
    path = pathlib.Path(path)
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(temporary, path)


def save_model(flow, folder):
    """Saves a flow as `model.keras`, under a temporary name first."""
    folder = pathlib.Path(folder)
    temporary = folder / f"writing-{MODEL}"
    flow.save(temporary)
    os.replace(temporary, folder / MODEL)


def load_model(path):
    """Loads a flow from a `.keras` file or from the run folder that holds one.

    Raises:
      ValueError: if there is no such file, or it is no saved flow.
    """
    from tfnvp.flows import Flow

    path = pathlib.Path(path)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"no model at {path}: expected a .keras file or a run folder with one")
    try:
        model = keras.saving.load_model(file, safe_mode=True)
    except Exception as error:
        raise ValueError(f"{file} cannot be loaded: {error}") from error
    if not isinstance(model, Flow):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a flow")
    return model


def read_config(path):
    """Returns the configuration beside a model, or an empty one where there is none."""
    return _read_json(path, "config.json")


def read_card(path):
    """Returns what a run folder knows about its model, as `tfnvp.export.export` takes it."""
    config, metrics = read_config(path), _read_json(path, "metrics.json")
    if not config:
        return None
    training = {key: value for key, value in config.items() if key not in ("options", "published")}
    card = {"Training": {**training, **config["options"]}}
    if metrics:
        likelihood = {k: v for k, v in metrics["test"].items() if v is not None}
        card["Training"]["epochs run"] = metrics["epochs"]
        card["Split"] = {part: f"{rows} rows" for part, rows in metrics["rows"].items()}
        card["Test likelihood"] = likelihood
    return card


def _read_json(path, name):
    path = pathlib.Path(path)
    file = (path if path.is_dir() else path.parent) / name
    return json.loads(file.read_text()) if file.is_file() else {}
