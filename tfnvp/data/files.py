"""Data from files: folders of images, arrays, and tables."""

import pathlib
import warnings
import zipfile

import numpy as np

from tfnvp.data.splits import split_at_random

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


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
    from PIL import Image, ImageOps

    folder = pathlib.Path(folder)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _IMAGES)
    if not files:
        raise ValueError(f"no images in {folder}: looked for files that end in {_IMAGES}")
    images, bad = [], []
    for file in files:
        try:
            with Image.open(file) as image:
                image = image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")
                if size is not None:
                    image = ImageOps.fit(image, (size, size))
                images.append(np.asarray(image))
        # What Pillow raises for damaged files depends on their format.
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if not skip_bad:
                raise ValueError(f"{file} is not a readable image: {error}") from error
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


def load_table(file, skip_bad=False):
    """Reads a table of real numbers: `.csv`, `.parquet`, `.npy` or `.npz` (its first array).

    Args:
      file: path of the file.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.

    Returns:
      `Splits` of float32 `[n, columns]`; the flow standardises them itself.

    Raises:
      ValueError: if the file is missing, of another type, or not a finite table of numbers.
    """
    name, rows, columns = _read_table(pathlib.Path(file))
    broken = np.argwhere(~np.isfinite(rows))
    if len(broken) and skip_bad:
        good = np.isfinite(rows).all(axis=1)
        what = f"rows of {file}"
        _warn_of_skipped(np.sum(~good), len(rows), what, f"row {broken[0][0] + 1}")
        rows = rows[good]
    elif len(broken):
        row, column = broken[0]
        raise ValueError(
            f"{file} has {len(broken)} missing or infinite values, the first in row {row + 1}, "
            f"column {columns[column]!r}"
        )
    return split_at_random(name, rows)


def _warn_of_skipped(count, total, what, first):
    warnings.warn(
        f"{count} of {total} {what} are left out because they are damaged, the first is {first}",
        stacklevel=3,
    )


def _read_table(file):
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    if file.suffix in (".npy", ".npz"):
        try:
            loaded = np.load(file, allow_pickle=False)
            rows = loaded if file.suffix == ".npy" else loaded[loaded.files[0]]
        except (OSError, ValueError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise ValueError(f"{file} cannot be read as a table: {error}") from error
        columns = list(range(rows.shape[-1] if rows.ndim else 0))
    else:
        rows, columns = _read_columns(file)
    if rows.ndim != 2 or rows.shape[1] < 2 or rows.dtype.kind not in "fiu":
        raise ValueError(
            f"{file} must hold rows of two or more numbers. Received: {rows.dtype} of shape "
            f"{rows.shape}"
        )
    return file.stem, rows.astype("float32"), columns


def _read_columns(file):
    import pyarrow
    from pyarrow import csv, parquet

    readers = {".csv": csv.read_csv, ".parquet": parquet.read_table}
    if file.suffix not in readers:
        raise ValueError(f"a table must be .csv, .parquet, .npy or .npz. Received: {file}")
    try:
        table = readers[file.suffix](file)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error
    for field in table.schema:
        if not (pyarrow.types.is_floating(field.type) or pyarrow.types.is_integer(field.type)):
            raise ValueError(f"{file}: column {field.name!r} holds no numbers but {field.type}")
    columns = [np.asarray(column.to_numpy(), "float64") for column in table.columns]
    return np.stack(columns, axis=1), table.column_names
