"""A flow in a .keras file, which anyone can have written."""

import contextlib
import io
import json
import pathlib
import re
import zipfile
from collections.abc import Mapping

import h5py
import keras

from tfnvp import advice
from tfnvp._atomic import check_hdf5, check_unpacked
from tfnvp._version import __version__
from tfnvp.export.weights import not_finite
from tfnvp.flows import Flow

_WEIGHTS = "model.weights.h5"

# Most bytes of the configuration.
_LARGEST_CONFIG = 64 * 2**20


def read_flow(file: pathlib.Path, versions: Mapping[str, str]) -> Flow:
    """Returns the flow in a `.keras` file; see `tfnvp.runs.folder.load_model`.

    Args:
      file: the path.
      versions: versions of the programs that have written the file, by their names, if known.
    """
    if not zipfile.is_zipfile(file):
        raise OSError(f"{file} cannot be loaded: it is damaged, or no model saved by Keras")
    try:
        check_unpacked(file, {"config.json": _LARGEST_CONFIG})
        with (
            zipfile.ZipFile(file) as archive,
            h5py.File(io.BytesIO(archive.read(_WEIGHTS))) as weights,
        ):
            check_hdf5(weights, file)
        model = keras.saving.load_model(file, safe_mode=True)
    except Exception as error:
        reason = _newer(file, versions) or "it is damaged or not a flow"
        raise OSError(f"{file} cannot be loaded, {reason}: {error}") from error
    if not isinstance(model, Flow):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a flow")
    if (weight := not_finite(model)) is not None:
        advice.warn_of_weights(file, weight.path)
    return model


def _newer(file, versions):
    """Says which newer program has written a file, or returns None."""
    with contextlib.suppress(Exception), zipfile.ZipFile(file) as archive:
        made_by = json.loads(archive.read("metadata.json"))["keras_version"]
        versions = {"Keras": made_by, **versions}
    for name, here in (("tfnvp", __version__), ("Keras", keras.__version__)):
        if _numbers(versions.get(name, "0")) > _numbers(here):
            return f"it is of {name} {versions[name]}, which is newer than {here} here"
    return None


def _numbers(version):
    return [int(number) for number in re.findall(r"\d+", str(version))]
