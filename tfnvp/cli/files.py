"""The files that commands read and write: found and checked before TensorFlow is imported.

Readers are imported when a file is looked for: they import NumPy, for which `--help` does not wait.
"""

from collections.abc import Sequence
from pathlib import Path

import tfnvp
from tfnvp._atomic import require_folder

#: A small table that comes with the package: simulated weather of 1000 rainy days.
EXAMPLE = Path(tfnvp.__file__).parent / "data" / "example.csv"


def find_model(path: Path) -> Path:
    """Returns the path of a model: as it is, or that of a model that ships if it is its name.

    Raises:
      ValueError: if there is no model.
    """
    from tfnvp import pretrained
    from tfnvp.runs.folder import model_file

    if not path.exists() and str(path) in pretrained.PRETRAINED:
        return pretrained.file_of(str(path))
    try:
        model_file(path)
    except ValueError as error:
        if path.exists():
            raise
        ships = ", ".join(pretrained.PRETRAINED)
        raise type(error)(f"{error}, or a model that ships: {ships}") from None
    return path


def find_table(path: Path) -> Path:
    """Returns the path of a table: as it is, or that of the table that ships if it is "example".

    Raises:
      ValueError: if there is no file.
    """
    if not path.exists() and str(path) == EXAMPLE.stem:
        return EXAMPLE
    if not path.is_file():
        from tfnvp.data.table_formats import open_table

        open_table(path)  # Raises.
    return path


def find_images(path: Path) -> Path:
    """Returns the path of a folder of images; raises `ValueError` if there is none."""
    if not path.is_dir():
        from tfnvp.data.image_files import image_files

        image_files(path)  # Raises.
    return path


def find_records(path: Path) -> Path:
    """Returns the path of a folder of records; raises `ValueError` if there is none."""
    from tfnvp.data.record_description import describe

    describe(path)
    return path


def find_usual(path: Path) -> Path:
    """Returns the path of a table or folder of images; raises `ValueError` if there is none."""
    return path if path.is_dir() else find_table(path)


#: What looks for the files of an option, by its name, in all commands.
FIND = {
    "model": find_model,
    "table": find_table,
    "images": find_images,
    "records": find_records,
    "reference": find_usual,
}


def require_dataset(name: str | None, data_dir: Path | None) -> None:
    """Raises `ValueError` if a name is known not to be that of a data set."""
    if name is not None:
        from tfnvp.data.named import require_named

        require_named(name, data_dir)


def place_for(
    output: Path | None, model: Path, default: str, endings: Sequence[str], force: bool
) -> Path:
    """Returns the path of a file that a command writes, before it does any work.

    Args:
      output: the path that a user gives, or None.
      model: path of the model. Without `output` the file lies in its run folder, or for a model
        without one in the current folder.
      default: name of the file without `output`. A name of a file that training writes gets "-1".
      endings: endings of names that can be written.
      force: whether a file that exists is replaced.

    Raises:
      ValueError: for another ending, a folder that does not exist, or a file that does.
    """
    if output is None:
        from tfnvp.runs.folder import FILES, RunFolder

        output = Path(default)
        if (run := RunFolder.of(model)).is_run:
            name = f"{output.stem}-1{output.suffix}" if default in FILES else default
            output = run.path / name
    if output.suffix not in endings:
        raise ValueError(f"`output` must end in {' or '.join(endings)}. Received: {output}")
    require_folder(output)
    if output.exists() and not force:
        raise ValueError(f"{output} exists already: `force` replaces it, `output` names another")
    return output
