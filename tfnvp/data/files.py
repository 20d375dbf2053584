"""Data from files: folders of images, arrays, and tables."""

import pathlib
import warnings
import zipfile

import numpy as np

from tfnvp.data.splits import Splits, split_at_random

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_PARTS = ("train", "validation", "test")


def load_images(folder, size=None, skip_bad=False):
    """Reads a folder of images, and its sub-folders.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it. Default: as they
        are, all of the same size.
      skip_bad: bool, leave out images that cannot be read, with a warning that counts them.

    Returns:
      `Splits` of `[n, H, W, 3]` (or 1, if all are grey), 256 levels.

    Raises:
      ValueError: if there are no images, one cannot be read, or sizes differ and `size` is None.
    """
    folder = pathlib.Path(folder)
    files = image_files(folder)
    images, bad = [], []
    for file in files:
        try:
            images.append(read_image(file, size))
        except ValueError:
            if not skip_bad:
                raise
            bad.append(file)
    if not images:
        raise ValueError(f"no readable images in {folder}: all {len(bad)} are damaged")
    if bad:
        _warn_of_skipped(len(bad), len(files), f"images in {folder}", bad[0].name)
    if any(image.ndim == 3 for image in images):
        images = [i if i.ndim == 3 else np.repeat(i[..., np.newaxis], 3, axis=-1) for i in images]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise ValueError(
            f"the images in {folder} differ in size: give --image-size. Received: {sorted(shapes)}"
        )
    stacked = np.stack(images)
    return split_at_random(folder.name, stacked.reshape((*stacked.shape[:3], -1)), 256)


def image_files(folder):
    """Returns the images in a folder and its sub-folders, in order; there must be one."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not files:
        raise ValueError(f"no images in {folder}: looked for files that end in {_IMAGES}")
    return files


def read_image(file, size=None, mode=None):
    """Reads an image as uint8 `[H, W]` or `[H, W, 3]`; `mode` is "L", "RGB" or None, as it is."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            image = image.convert(mode or ("L" if image.mode in ("1", "L", "I;16") else "RGB"))
            if size is not None:
                image = ImageOps.fit(image, (size, size))
            return np.asarray(image)
    # What Pillow raises for damaged files depends on their format.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is not a readable image: {error}") from error


def load_table(file, skip_bad=False):
    """Reads a table of real numbers: `.csv`, `.parquet`, `.npy` or `.npz` (its first array).

    An `.npz` with the arrays `train`, `validation` and `test` is divided as it says, everything
    else 80/10/10 at random.

    Args:
      file: path of the file.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.

    Returns:
      `Splits` of float32 `[n, columns]` with the names of the columns; the flow standardises them
      itself.

    Raises:
      ValueError: if the file is missing, of another type, or not a finite table of numbers.
    """
    file = pathlib.Path(file)
    parts = _divided_tables(file)
    if parts is not None:
        return Splits(file.stem, *(_finite_rows(part, file, skip_bad) for part in parts))
    table = read_table(file)
    rows = _finite_rows(table, file, skip_bad)
    named = file.suffix in (".csv", ".parquet")
    return split_at_random(file.stem, rows, columns=tuple(table.column_names) if named else None)


def _divided_tables(file):
    """Returns the three tables of an `.npz` that is divided already, or None."""
    if file.suffix != ".npz" or not zipfile.is_zipfile(file):
        return None
    with np.load(file, allow_pickle=False) as arrays:
        if set(arrays.files) != set(_PARTS):
            return None
        return [_as_table(arrays[part], f"{part} of {file}") for part in _PARTS]


def _finite_rows(table, file, skip_bad):
    rows = rows_of_table(table, file)
    broken = np.argwhere(~np.isfinite(rows))
    if not len(broken):
        return rows
    row, column = broken[0]
    if not skip_bad:
        raise ValueError(
            f"{file} has {len(broken)} missing or infinite values, the first in row {row + 1}, "
            f"column {table.column_names[column]!r}"
        )
    good = np.isfinite(rows).all(axis=1)
    _warn_of_skipped(np.sum(~good), len(rows), f"rows of {file}", f"row {row + 1}")
    return rows[good]


def _warn_of_skipped(count, total, what, first):
    warnings.warn(
        f"{count} of {total} {what} are left out because they are damaged, the first is {first}",
        stacklevel=4,
    )


def read_table(file):
    """Reads a table with all its columns, whatever they hold.

    Args:
      file: path that ends in `.csv`, `.parquet`, `.npy` or `.npz` (its first array, `[n, columns]`,
        whose columns are named "0", "1" and so on).

    Returns:
      `pyarrow.Table`.

    Raises:
      ValueError: if the file is missing, of another type, or cannot be read.
    """
    import pyarrow
    from pyarrow import csv, parquet

    file = pathlib.Path(file)
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    readers = {
        ".csv": csv.read_csv,
        ".parquet": parquet.read_table,
        ".npy": _read_array,
        ".npz": _read_array,
    }
    if file.suffix not in readers:
        raise ValueError(f"a table must be .csv, .parquet, .npy or .npz. Received: {file}")
    try:
        return readers[file.suffix](file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error


def _read_array(file):
    try:
        loaded = np.load(file, allow_pickle=False)
        rows = loaded if file.suffix == ".npy" else loaded[loaded.files[0]]
    except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error
    return _as_table(rows, file)


def _as_table(rows, source):
    import pyarrow

    if rows.ndim != 2:
        raise ValueError(
            f"{source} must hold rows of two or more numbers. Received: shape {rows.shape}"
        )
    return pyarrow.table({str(i): column for i, column in enumerate(rows.T)})


def rows_of_table(table, source="the table"):
    """Returns the columns of a `pyarrow.Table` as rows, float32 `[n, columns]`; gaps are NaN.

    Raises:
      ValueError: if there are fewer than two columns, or one holds no numbers.
    """
    import pyarrow

    for field in table.schema:
        if not (pyarrow.types.is_floating(field.type) or pyarrow.types.is_integer(field.type)):
            raise ValueError(f"{source}: column {field.name!r} holds no numbers but {field.type}")
    if table.num_columns < 2:
        raise ValueError(
            f"{source} must hold rows of two or more numbers. Received columns: "
            f"{table.column_names}"
        )
    return np.stack([np.asarray(c.to_numpy(), "float32") for c in table.columns], axis=1)
