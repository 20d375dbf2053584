"""Which run to go on with, and whether it is the same training."""

import json
import pathlib
import zlib

import numpy as np

from tfnvp.runs import folder as run_folder

BACKUP = "backup.npz"

# What may differ: it changes nothing in the training.
_FREE = {"description", "published", "source", "source_of_data", "tfnvp"}


def fingerprint(splits):
    """Returns a number that changes with the data, or None for data that is not in memory."""
    crc = 0
    for part in (splits.train, splits.validation, splits.test):
        if not isinstance(part, np.ndarray):
            return None
        crc = zlib.crc32(np.ascontiguousarray(part), crc)
    return crc


def is_run(folder):
    """Tells whether a run has begun in a folder."""
    return (pathlib.Path(folder) / "config.json").is_file()


def is_finished(folder):
    """Tells whether a run has ended well: its backup is deleted last."""
    folder = pathlib.Path(folder)
    return (folder / "metrics.json").exists() and not (folder / BACKUP).exists()


def newest_unfinished(recipe=None, dataset=None, runs="runs"):
    """Finds the unfinished run that began last, and that no other process is training.

    Args:
      recipe: name that the recipe of the run must have; default: any.
      dataset: name that its data set must have; default: any.
      runs: the folder of runs.

    Returns:
      `pathlib.Path` of the run folder.

    Raises:
      ValueError: if there is none.
    """
    found = []
    for file in pathlib.Path(runs).glob("*/config.json"):
        config = run_folder.read_config(file.parent)
        agrees = recipe in (None, config.get("name")) and dataset in (None, config.get("dataset"))
        if agrees and not is_finished(file.parent) and not _in_use(file.parent):
            found.append((file.stat().st_mtime, file.parent))
    if not found:
        what = "".join(f" of {name}" for name in (recipe, dataset) if name is not None)
        raise ValueError(
            f"no unfinished run{what} in {runs}: start one without --resume, or name a folder by "
            "--output"
        )
    return max(found)[1]


def check_unfinished(folder):
    """Raises `ValueError` if a run is finished."""
    if is_finished(folder):
        raise ValueError(f"{folder} is finished: there is nothing to resume")


def check_same(folder, config):
    """Raises `ValueError` if a run is finished, or was begun with another configuration.

    Args:
      folder: the run folder.
      config: dictionary, the configuration of the training that wants to go on in it.
    """
    check_unfinished(folder)
    # As it is in the file: with lists for tuples.
    config = json.loads(json.dumps(config))
    stored = run_folder.read_config(folder)
    differences = [
        f"{key} was {_short(stored.get(key))}, now {_short(config.get(key))}"
        for key in sorted((config.keys() | stored.keys()) - _FREE)
        if stored.get(key) != config.get(key)
    ]
    if differences:
        raise ValueError(
            f"{folder} is another training: {'; '.join(differences)}. What is not said again, "
            "beside --resume, is as it was"
        )


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 200 else f"{text[:200]}..."


def _in_use(folder):
    try:
        with run_folder.held(folder):
            return False
    except ValueError:
        return True
