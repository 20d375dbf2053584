"""The tables of the density benchmark: POWER, GAS, HEPMASS, MINIBOONE and BSDS300.

Files, divisions and preparation are those of the MAF paper (Papamakarios, Pavlakou and Murray 2017,
appendix D), whose prepared files are public; each is expected in a folder of its own.
"""

import pathlib

import numpy as np

from tfnvp._atomic import check_hdf5
from tfnvp.data.foreign_files import reading
from tfnvp.data.splits import PARTS, Splits
from tfnvp.data.table_values import rows_of_table

# A column whose smallest value occurs more often than this is discrete.
_REPEATS = 5

# Of two columns with a correlation above this, only one is kept.
_CORRELATION = 0.98


def load_benchmark_table(name: str, folder: str | pathlib.Path) -> Splits:
    """Loads a table of the density benchmark, standardised as usual.

    | name | columns | file | preparation |
    |---|---|---|---|
    | power | 6 | `power/data.npy` | shuffled; two columns left out; noise on rounded ones |
    | gas | 8 | `gas/ethylene_CO.npy` | of columns with correlation above 0.98 the last is kept |
    | hepmass | 21 | `hepmass/1000_train.csv`, `1000_test.csv` | signal; no discrete columns |
    | miniboone | 43 | `miniboone/data.npy` | none |
    | bsds300 | 63 | `BSDS300/BSDS300.hdf5` | none; not standardised |

    Where the files do not divide themselves the last tenth is for test, and of the rest the last
    tenth for validation. `gas/ethylene_CO.npy` holds the 16 sensors of the public pickle, which is
    code and is not loaded::

        table = pandas.read_pickle("ethylene_CO.pickle").drop(columns=["Meth", "Eth", "Time"])
        numpy.save("ethylene_CO.npy", table.to_numpy())

    Args:
      name: one of the names above.
      folder: path of the folder that holds them.

    Returns:
      `Splits` of float32 rows.

    Raises:
      ValueError: if there is no such table, or its file is missing or damaged.
    """
    if name not in BENCHMARK_TABLES:
        names = ", ".join(sorted(BENCHMARK_TABLES))
        raise ValueError(f"unknown table {name!r}: choose one of {names}")
    file, read = BENCHMARK_TABLES[name]
    parts = read(pathlib.Path(folder, file))
    return Splits(name, *(np.asarray(part, "float32") for part in parts))


def patches_to_rows(patches: np.ndarray, seed: int = 0) -> np.ndarray:
    """Turns patches of grey images into rows, as those of BSDS300.

    Pixels are dequantized and scaled to [0, 1], the mean of each patch is subtracted, and the last
    pixel, which then follows from the others, is left out.

    Args:
      patches: uint8 `[n, height, width]` or `[n, pixels]`.
      seed: int, of the dequantization noise.

    Returns:
      float32 `[n, pixels - 1]`.

    Raises:
      TypeError: if the patches are not uint8.

    >>> import numpy as np
    >>> patches_to_rows(np.zeros((2, 8, 8), "uint8")).shape
    (2, 63)

    Source: Zoran and Weiss 2011; Uria, Murray and Larochelle 2013, section 4.2.
    """
    patches = np.asarray(patches)
    if patches.dtype != np.uint8:
        raise TypeError(f"`patches` must be uint8. Received: {patches.dtype}")
    pixels = patches.reshape(len(patches), -1)
    rows = (pixels + np.random.default_rng(seed).uniform(size=pixels.shape)) / 256
    return (rows - rows.mean(axis=1, keepdims=True))[:, :-1].astype("float32")


def _power(file):
    rows = _array(file, 8)
    generator = np.random.RandomState(42)
    generator.shuffle(rows)
    # Without the reactive power, and the current, which is power over voltage.
    rows = np.delete(rows, [1, 3], axis=1)
    n = len(rows)
    # Noise of one unit of the last digit, in the order of the published code; none on the time.
    voltage, power = 0.01 * generator.rand(n, 1), 0.001 * generator.rand(n, 1)
    noise = np.hstack([power, voltage, generator.rand(n, 3), np.zeros((n, 1))])
    return _standardised(*_last_tenths(rows + noise))


def _gas(file):
    rows = _array(file, 16)
    while (similar := np.sum(np.corrcoef(rows.T) > _CORRELATION, axis=1) > 1).any():
        rows = np.delete(rows, np.argmax(similar), axis=1)
    # By the moments of all rows, as published.
    return _last_tenths((rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1))


def _hepmass(file):
    train, test = _csv(file), _csv(file.with_name("1000_test.csv"))
    # Only the signal, without its label.
    train, test = (part[part[:, 0] == 1][:, 1:] for part in (train, test))
    mean, deviation = train.mean(axis=0), train.std(axis=0, ddof=1)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    # As published: judged by how often the smallest value occurs.
    keep = np.sum(train == train.min(axis=0), axis=0) <= _REPEATS
    rest = len(train) - len(train) // 10
    return train[:rest, keep], train[rest:, keep], test[:, keep]


def _miniboone(file):
    return _standardised(*_last_tenths(_array(file, 43)))


def _bsds300(file):
    import h5py

    with reading(_existing(file), "the patches of BSDS300"), h5py.File(file) as patches:
        check_hdf5(patches, file)
        return [patches[part][:] for part in PARTS]


#: By name, the file of a table in its folder and its reader; `hepmass` has a second file.
BENCHMARK_TABLES = {
    "power": ("power/data.npy", _power),
    "gas": ("gas/ethylene_CO.npy", _gas),
    "hepmass": ("hepmass/1000_train.csv", _hepmass),
    "miniboone": ("miniboone/data.npy", _miniboone),
    "bsds300": ("BSDS300/BSDS300.hdf5", _bsds300),
}


def _existing(file):
    if not file.is_file():
        raise ValueError(f"no {file}: it is one of the MAF paper's (zenodo.org/record/1161203)")
    return file


def _array(file, columns):
    with reading(_existing(file), "a table"):
        rows = np.load(file, mmap_mode="r", allow_pickle=False).astype("float64")
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"{file} must hold {columns} columns. Received: shape {rows.shape}")
    return rows


def _csv(file):
    from pyarrow import csv

    # The header and the rows of the published files differ in length.
    read = csv.ReadOptions(skip_rows=1, autogenerate_column_names=True)
    convert = csv.ConvertOptions(include_columns=[f"f{i}" for i in range(28)])
    with reading(_existing(file), "a table"):
        table = csv.read_csv(file, read_options=read, convert_options=convert)
    return rows_of_table(table, file, "float64")


def _last_tenths(rows):
    """Divides rows, in their order, into training, validation and test rows."""
    rest = len(rows) - len(rows) // 10
    return rows[: rest - rest // 10], rows[rest - rest // 10 : rest], rows[rest:]


def _standardised(train, validation, test):
    """Standardises by the moments of training and validation rows."""
    known = np.concatenate([train, validation])
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    return [(part - mean) / deviation for part in (train, validation, test)]
