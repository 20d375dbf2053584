"""Tables and folders of images in pieces, for those that do not fit into memory."""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tfnvp.data.images import check_levels_of_files, image_files, in_levels, read_image
from tfnvp.data.skipped import warn_of_skipped
from tfnvp.data.table_numbers import names_in, rows_of_table, select, with_gaps

_ROWS = 2**16
_IMAGES = 512


def table_chunks(file, skip_bad=False, columns=None):
    """Reads a table of real numbers in pieces of bounded size.

    Args:
      file: path of a `.parquet` file, whose row groups are read one by one, a `.csv` file, or an
        array `.npy`.
      skip_bad: bool, leave out rows with missing or infinite values, with a warning that counts
        them.
      columns: names of the columns to read, in one text with commas between them. Default: all,
        which must then hold numbers.

    Returns:
      `(chunks, count)`: an iterator over float32 arrays `[n, columns]`, and the number of rows.

    Raises:
      ValueError: if there is no such table, or it lacks a column; from the iterator, if values are
        missing, infinite or no numbers.
    """
    file = pathlib.Path(file)
    if not file.is_file():
        raise ValueError(f"no table at {file}")
    names = None if columns is None else names_in(columns)
    if not skip_bad:
        return _finite(file, names), sum(table.num_rows for table in _tables(file, names))
    total = good = 0
    for rows in _rows(file, names):
        total += len(rows)
        good += int(np.isfinite(rows).all(axis=1).sum())
    if good < total:
        warn_of_skipped(total - good, total, f"rows of {file}")
    return (rows[np.isfinite(rows).all(axis=1)] for rows in _rows(file, names)), good


def table_columns(file, columns=None):
    """Returns the names of the columns that `table_chunks` reads, or None where they have none.

    Args:
      file: path of the table.
      columns: as for `table_chunks`.

    Raises:
      ValueError: if it cannot be read as a table.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "people.csv")
    >>> _ = file.write_text("height,weight\\n1.71,65.5\\n")
    >>> table_columns(file)
    ('height', 'weight')
    """
    file = pathlib.Path(file)
    if file.suffix == ".npy":
        return None
    if columns is not None:
        return names_in(columns)
    return tuple(next(_tables(file, None)).column_names)


def image_chunks(folder, size=None, levels=256, skip_bad=False):
    """Reads a folder of images, and its sub-folders, in pieces; several files at a time.

    Args:
      folder: path of the folder.
      size: int; images are cropped to their central square and resized to it.
      levels: int, a power of two: the 256 grey levels of a file become so many.
      skip_bad: bool, leave out images that cannot be read, with a warning that counts them.

    Returns:
      `(chunks, count)`: an iterator over uint8 arrays `[n, H, W, channels]`, and the number of
      images. There is one channel if the first image is grey; the others are brought to that.

    Raises:
      ValueError: if there are no images, or for another number of levels; from the iterator, if an
        image cannot be read or differs in size.
    """
    check_levels_of_files(levels)
    files = image_files(pathlib.Path(folder))
    if skip_bad:
        files = _readable(files, folder)
    mode = "L" if read_image(files[0], size).ndim == 2 else "RGB"

    def chunks():
        with ThreadPoolExecutor() as pool:
            for i in range(0, len(files), _IMAGES):
                piece = files[i : i + _IMAGES]
                images = list(pool.map(lambda file: read_image(file, size, mode), piece))
                shapes = {image.shape for image in images}
                if len(shapes) > 1:
                    raise ValueError(
                        f"the images in {folder} differ in size: give --image-size. "
                        f"Received: {sorted(shapes)}"
                    )
                yield in_levels(np.stack(images), levels)

    return chunks(), len(files)


def _readable(files, folder):
    """Returns the images that can be read, each of which is for it read once more later."""

    def is_readable(file):
        try:
            return read_image(file) is not None
        except ValueError:
            return False

    with ThreadPoolExecutor() as pool:
        good = list(pool.map(is_readable, files))
    if not any(good):
        raise ValueError(f"no readable images in {folder}: all {len(files)} are damaged")
    if not all(good):
        first = files[good.index(False)].name
        warn_of_skipped(good.count(False), len(files), f"images in {folder}", first)
    return [file for file, is_good in zip(files, good, strict=True) if is_good]


def _tables(file, names):
    """Reads columns of a table, or all, in Arrow tables of bounded size."""
    for table in _whole_tables(file):
        yield table if names is None else select(table, names, file)


def _whole_tables(file):
    import pyarrow
    from pyarrow import csv, parquet

    if file.suffix == ".npy":
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        for i in range(0, len(rows), _ROWS):
            columns = np.array(rows[i : i + _ROWS]).T
            yield pyarrow.table({str(number): column for number, column in enumerate(columns)})
        return
    if file.suffix not in (".csv", ".parquet"):
        raise ValueError(f"a table in pieces must be .csv, .parquet or .npy. Received: {file}")
    try:
        if file.suffix == ".csv":
            batches = csv.open_csv(file)
        else:
            batches = parquet.ParquetFile(file).iter_batches(_ROWS)
        yield from (pyarrow.Table.from_batches([batch]) for batch in batches)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{file} cannot be read as a table: {error}") from error


def _rows(file, names):
    return (rows_of_table(with_gaps(table), file) for table in _tables(file, names))


def _finite(file, names):
    first = 0
    for table in _tables(file, names):
        rows = rows_of_table(table, file)
        broken = np.argwhere(~np.isfinite(rows))
        if len(broken):
            row, column = broken[0]
            raise ValueError(
                f"{file} has missing or infinite values, the first in row {first + row + 1}, "
                f"column {table.column_names[column]!r}; skip_bad (--skip-bad) leaves such rows out"
            )
        first += len(rows)
        yield rows
