"""The folder that a training run leaves behind."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import tempfile
import zipfile

import keras

from tfnvp._atomic import replacing

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
      ValueError: if `output` exists and holds something, or `stem` is no plain name.
      OSError: if it cannot be written to.
    """
    stem = plain_name(stem)
    if output is not None:
        folder = pathlib.Path(output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists already and is not overwritten: choose another")
        require_writable(folder)
        return folder
    require_writable("runs")
    for number in itertools.count(1):
        folder = pathlib.Path("runs") / f"{stem}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder


def stem(dataset, model):
    """What a run, and its SavedModel, are called."""
    # Names of TensorFlow Datasets can have a part for the configuration.
    return f"{dataset.replace('/', '-')}-{model}"


def served_name(folder, dataset, model):
    """What the SavedModel of a run is called: as its folder, `STEM` where that is `STEM-N`.

    So runs of one kind are versions of one model, and a run with a name of its own is another.
    """
    name, default = pathlib.Path(folder).resolve().name, stem(dataset, model)
    return plain_name(default if re.fullmatch(rf"{re.escape(default)}-\d+", name) else name)


def plain_name(name):
    """Returns a name that stays inside of the folder in which something is written under it.

    Raises:
      ValueError: if it is empty, or holds more than one part of a path.
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0:"):
        raise ValueError(f"the name of a model must be plain, not a path. Received: {name!r}")
    return name


def require_writable(folder):
    """Makes a folder, and raises `OSError` unless files can be written into it."""
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, f"cannot write there: {error.strerror}", str(folder)) from error


@contextlib.contextmanager
def held(folder):
    """Keeps other processes from training into a folder, until the block, or the process, ends.

    Raises:
      ValueError: if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Not on Windows.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder} is in use: another process is training into it") from None
        yield
    finally:
        os.close(descriptor)


def write_json(path, content):
    """Writes JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def save_model(flow, folder):
    """Saves a flow as `model.keras`, whole or not at all."""
    with replacing(pathlib.Path(folder) / MODEL) as temporary:
        flow.save(temporary)


def load_model(path):
    """Loads a flow from a `.keras` file or from the run folder that holds one.

    Nothing in the file is ever run as code: it holds a configuration and weights, and names only
    classes of Keras, TFP and tfnvp.

    Raises:
      ValueError: if there is no such file, or it is of another kind.
      OSError: if the file is damaged, or holds what is not allowed.
    """
    from tfnvp.flows import Flow

    path = pathlib.Path(path)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        hint = ""
        if (path / "saved_model.pb").is_file():
            hint = ". This is a SavedModel, which `tf.saved_model.load` loads"
        if (path / "config.json").is_file():
            hint = f". Its training has not ended: `tfnvp train --resume --output {path}` goes on"
        raise ValueError(
            f"no model at {path}: expected a .keras file or a run folder with one{hint}"
        )
    if file.suffix != ".keras":
        raise ValueError(f"{file} cannot be loaded: it is no .keras file")
    if not zipfile.is_zipfile(file):
        raise OSError(f"{file} cannot be loaded: it is damaged, or no model saved by Keras")
    try:
        model = keras.saving.load_model(file, safe_mode=True)
    except Exception as error:
        raise OSError(f"{file} cannot be loaded, it is damaged or not a flow: {error}") from error
    if not isinstance(model, Flow):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a flow")
    return model


def read_config(path):
    """Returns the configuration beside a model, or an empty one where there is none."""
    return _read_json(path, "config.json")


def read_metrics(path):
    """Returns what was measured of the model in a run folder, or nothing where it is not done."""
    return _read_json(path, "metrics.json")


def _read_json(path, name):
    path = pathlib.Path(path)
    file = (path if path.is_dir() else path.parent) / name
    return json.loads(file.read_text()) if file.is_file() else {}
