"""The folder of a training run: the names of its files, and how they are read and written.

| file | content | written |
|---|---|---|
| `config.json` | the recipe, the data and the seed | first |
| `history.csv` | losses, one row per epoch | by every epoch |
| `backup.npz` | everything from which training can resume | by every epoch; deleted last |
| `model.keras` | the flow with its best weights | after training |
| `reference.json` | columns and log-densities of usual rows, of a table | after training |
| `metrics.json` | the test likelihood | after training |
| `samples.png` | a picture of samples, of images and points | after training |

A process that is killed while it writes one of them leaves `writing-NAME`. Such files count as
absent, and the next process that trains into the folder removes them.

Only loading a model imports TensorFlow.
"""

import contextlib
import csv
import itertools
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tfnvp import scoring
from tfnvp._atomic import locked, read_json, reading, replacing, temporary_of
from tfnvp.runs import data_of_run

if TYPE_CHECKING:
    from tfnvp.flows import Flow

MODEL = "model.keras"
CONFIG = "config.json"
METRICS = "metrics.json"
HISTORY = "history.csv"
BACKUP = "backup.npz"
SAMPLES = "samples.png"

#: Names of the files that training writes.
FILES = (CONFIG, HISTORY, BACKUP, MODEL, scoring.FILE, METRICS, SAMPLES)

# Entries of `config.json` that have one type.
_TYPES = dict.fromkeys(("name", "dataset", "model", "run"), str) | {"seed": int}
_TYPES |= dict.fromkeys(("options", "source_of_data", "inodes"), dict)

#: Folder of the runs that have no name of their own.
RUNS = "runs"

_Error = TypeVar("_Error", bound=Exception)


class RunFolder:
    """A folder of a training run, which need not exist yet.

    Args:
      path: path of the folder.

    Attributes:
      path: `pathlib.Path`, the folder.
      model, history, backup, samples: paths of files in it.

    >>> import tempfile
    >>> run = RunFolder(tempfile.mkdtemp())
    >>> run.is_run, run.config()
    (False, {})
    >>> run.write_config({"seed": 1})
    >>> run.is_run, run.is_finished, run.config()
    (True, False, {'seed': 1})
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path)
        self.model = self.path / MODEL
        self.history = self.path / HISTORY
        self.backup = self.path / BACKUP
        self.samples = self.path / SAMPLES

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @classmethod
    def of(cls, path: str | os.PathLike) -> Self:
        """Returns the folder of a model, given by the path of its file or of its folder."""
        path = pathlib.Path(path)
        return cls(path if path.is_dir() else path.parent)

    @classmethod
    def create(cls, output: str | os.PathLike | None, stem: str) -> Self:
        """Makes a new folder for a run.

        Args:
          output: the folder; it must be empty or not exist. Default (None): the next free
            `runs/STEM-N`.
          stem: default name of the run.

        Raises:
          ValueError: if `output` is not empty, or `stem` is a path instead of a plain name.
          OSError: if the folder cannot be written to.
        """
        stem = plain_name(stem)
        if output is None:
            require_writable(RUNS)
            for number in itertools.count(1):
                folder = pathlib.Path(RUNS) / f"{stem}-{number}"
                with contextlib.suppress(FileExistsError):
                    folder.mkdir()
                    return cls(folder)
        run = cls(output)
        run.require_new()
        require_writable(run.path)
        return run

    def require_new(self) -> None:
        """Raises `ValueError` if the path holds anything, besides what a killed process left."""
        folder = self.path
        if folder.exists() and (not folder.is_dir() or {*folder.iterdir()} - self.leftovers):
            raise ValueError(f"{folder} exists already and is not overwritten: choose another")

    @property
    def leftovers(self) -> set[pathlib.Path]:
        """The paths of half-written files, which a killed process has left."""
        return {path for name in FILES if (path := temporary_of(self.path / name)).exists()}

    @property
    def is_run(self) -> bool:
        """Whether a run has begun in the folder."""
        return (self.path / CONFIG).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended well: its backup is deleted last."""
        return (self.path / METRICS).exists() and not self.backup.exists()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training into the folder, until the block or process ends.

        Raises:
          ValueError: if another process holds it.
        """
        with locked(self.path, self.leftovers) as is_alone:
            if not is_alone:
                raise ValueError(f"{self.path} is in use: another process is training into it")
            yield

    def config(self) -> dict[str, Any]:
        """Returns the configuration of the run, empty if there is none.

        Raises:
          OSError: if it is damaged.
        """
        config = self._read(CONFIG)
        with reading(self.path / CONFIG):
            for name, kind in _TYPES.items():
                if not isinstance(config.get(name, kind()), kind):
                    raise TypeError(f"`{name}` must be {kind.__name__}. Received: {config[name]!r}")
        return config

    def write_config(self, content: dict[str, Any]) -> None:
        """Writes the configuration of the run, with the places of the data that it names."""
        self._write(CONFIG, data_of_run.with_paths(content))

    def source_of_data(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns where data comes from: what is `given`, and the rest from the configuration.

        Raises:
          ValueError: as `data_of_run.followed`.
        """
        return data_of_run.followed(self.config(), given, self.path / CONFIG)

    def metrics(self) -> dict[str, Any]:
        """Returns what was measured after training, empty before."""
        return self._read(METRICS)

    def write_metrics(self, content: dict[str, Any]) -> None:
        """Writes what was measured after training."""
        self._write(METRICS, content)

    def reference(self) -> scoring.Reference | None:
        """Returns the reference for scores that lies beside the model, or None."""
        return scoring.read_reference(self.path)

    def write_reference(self, reference: scoring.Reference) -> None:
        """Writes the reference for scores."""
        scoring.write_reference(self.path, reference)

    def losses(self, column: str = "val_loss") -> list[float]:
        """Returns a column of the learning curve, one number per epoch."""
        with reading(self.history), self.history.open(newline="") as table:
            return [float(row[column]) for row in csv.DictReader(table)]

    def cut_history(self, epochs: int) -> None:
        """Keeps only the first `epochs` epochs of the learning curve, if there is one.

        A resumed run repeats the epoch in which it was stopped.
        """
        if not self.history.exists():
            return
        lines = self.history.read_bytes().splitlines(keepends=True)
        with replacing(self.history) as temporary:
            # Without rows the header goes, too: it can be a part of one.
            temporary.write_bytes(b"".join(lines[: epochs + 1] if epochs else []))

    def save_model(self, flow: "Flow") -> None:
        """Saves a flow; the file is replaced as a whole or not at all."""
        with replacing(self.model) as temporary:
            flow.save(temporary)

    def load_model(self) -> "Flow":
        """Loads the flow of the run; see `load_model`."""
        return load_model(self.path)

    def results(self) -> list[str]:
        """Returns the names of the files that a finished run leaves for its reader."""
        names = (SAMPLES, MODEL, METRICS, HISTORY, scoring.FILE)
        return [name for name in names if (self.path / name).is_file()]

    def served_name(self, dataset: str, model: str) -> str:
        """Returns the name of the SavedModel: that of the folder, `STEM` if the folder is `STEM-N`.

        So runs of one kind are versions of one model, and a run with a name of its own is a model
        of that name.

        Raises:
          ValueError: if the folder's name is not a plain name.
        """
        name, stem = self.path.resolve().name, stem_of(dataset, model)
        return plain_name(stem if re.fullmatch(rf"{re.escape(stem)}-\d+", name) else name)

    def _read(self, name):
        file = self.path / name
        return read_json(file) if file.is_file() else {}

    def _write(self, name, content):
        with replacing(self.path / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")


def stem_of(dataset: str, model: str) -> str:
    """Returns the default name of a run and of its SavedModel."""
    # Names in TensorFlow Datasets can contain a configuration, after a slash.
    return f"{dataset.replace('/', '-')}-{model}"


def plain_name(name: str) -> str:
    """Returns a name unchanged if it cannot lead out of the folder it is used in.

    Raises:
      ValueError: if the name is empty or a path.
    """
    if name in ("", ".", "..") or any(character in name for character in "/\\\0:"):
        raise ValueError(f"the name of a model must be plain, not a path. Received: {name!r}")
    return name


def require_writable(folder: str | os.PathLike) -> None:
    """Makes a folder, and raises `OSError` if no file can be written into it."""
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OSError(error.errno, f"cannot write there: {error.strerror}", str(folder)) from error


def unfinished(error: _Error, folder: str | os.PathLike) -> _Error:
    """Returns an error with the run that can be resumed after it, as `error.unfinished_run`."""
    error.unfinished_run = pathlib.Path(folder)
    return error


def load_model(path: str | os.PathLike) -> "Flow":
    """Loads a flow from a `.keras` file or from the run folder that holds one.

    Loading never runs code from the file: it holds a configuration and weights, and can only name
    classes of Keras, TFP and tfnvp. A warning names weights that are NaN or infinite.

    Raises:
      ValueError: if there is no such file, or it is of another kind.
      OSError: if the file is damaged, names other classes, unpacks to far more than its size, or is
        of a newer version.
    """
    from tfnvp.runs.flow_file import read_flow

    file = model_file(path)
    version = "0"
    with contextlib.suppress(OSError):  # A configuration of something else.
        version = RunFolder.of(file).config().get("tfnvp", version)
    return read_flow(file, {"tfnvp": version})


def model_file(path: str | os.PathLike) -> pathlib.Path:
    """Returns the `.keras` file of a model, given by the path of the file or of its run folder.

    Raises:
      ValueError: if there is no such file, or it is of another kind.
    """
    path = pathlib.Path(path)
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        expected = f"no model at {path}: expected a .keras file or a run folder with one"
        if (path / "saved_model.pb").is_file():
            expected += ". This is a SavedModel, which `tf.saved_model.load` loads"
        if RunFolder(path).is_run:
            raise unfinished(ValueError(f"{expected}. Its training has not ended"), path)
        raise ValueError(expected)
    if file.suffix != ".keras":
        raise ValueError(f"{file} cannot be loaded: it is not a .keras file")
    return file
