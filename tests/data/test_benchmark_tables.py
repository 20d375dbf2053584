"""The density benchmark's tables, from small made-up files of the public format."""

import h5py
import numpy as np
import pytest

from tfnvp import data


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def save(folder, name, rows):
    (folder / name).parent.mkdir()
    np.save(folder / name, rows)


def sizes(splits):
    return [len(part) for part in splits[1:4]]


def moments(splits):
    known = np.concatenate([splits.train, splits.validation])
    return known.mean(axis=0), known.std(axis=0)


def test_power_leaves_out_two_columns_and_blurs_rounded_ones(tmp_path, generator):
    rows = generator.integers(0, 50, (1000, 8)).astype("float64")
    save(tmp_path, "power/data.npy", rows)
    splits = data.load_named("power", tmp_path)
    assert sizes(splits) == [810, 90, 100]
    assert splits.event_shape == (6,)
    mean, deviation = moments(splits)
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(deviation, 1, atol=1e-5)
    together = np.concatenate(splits[1:4])
    # Units of the last digit: full ones for the meters, none for the time.
    counts = [len(np.unique(column)) for column in together.T]
    assert min(counts[:5]) > 900
    assert counts[5] == 50
    # In the order in which they stand, the time is the last of the public file's columns.
    order = np.arange(1000)
    np.random.RandomState(42).shuffle(order)
    assert np.corrcoef(together[:, 5], rows[order, 7])[0, 1] > 0.999
    assert np.corrcoef(together[:, 1], rows[order, 2])[0, 1] > 0.999


def test_gas_keeps_one_of_correlated_columns(tmp_path, generator):
    rows = generator.normal(size=(200, 16))
    rows[:, 0] = rows[:, 5] + 0.01 * generator.normal(size=200)
    rows[:, 3] = -rows[:, 7]
    save(tmp_path, "gas/ethylene_CO.npy", rows)
    splits = data.load_named("gas", tmp_path)
    assert splits.event_shape == (15,)
    assert sizes(splits) == [162, 18, 20]
    kept = (rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1)
    np.testing.assert_allclose(splits.test, kept[-20:, 1:], atol=1e-5)


def test_hepmass_is_signal_without_discrete_columns(tmp_path, generator):
    folder = tmp_path / "hepmass"
    folder.mkdir()
    parts = {}
    for part, n in (("train", 200), ("test", 50)):
        rows = generator.normal(size=(n, 28))
        rows[:, 0] = np.arange(n) % 2
        rows[:, 4] = generator.integers(0, 2, n)
        parts[part] = rows
        # The header of the public files is shorter than the rows of the test file.
        lines = [",".join(["# label", *(f"f{i}" for i in range(27))])]
        end = "," if part == "test" else ""
        lines += [",".join(map(str, row)) + end for row in rows]
        (folder / f"1000_{part}.csv").write_text("\n".join(lines))
    splits = data.load_named("hepmass", tmp_path)
    assert splits.event_shape == (26,)
    assert sizes(splits) == [90, 10, 25]
    signal = parts["train"][1::2, 1:]
    test = (parts["test"][1::2, 1:] - signal.mean(axis=0)) / signal.std(axis=0, ddof=1)
    np.testing.assert_allclose(splits.test, np.delete(test, 3, axis=1), rtol=1e-4, atol=1e-5)


def test_miniboone_is_standardised_by_what_is_not_for_test(tmp_path, generator):
    rows = generator.normal(3.0, 2.0, (100, 43))
    rows[-10:] += 100
    save(tmp_path, "miniboone/data.npy", rows)
    splits = data.load_named("miniboone", tmp_path)
    assert sizes(splits) == [81, 9, 10]
    mean, deviation = moments(splits)
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(deviation, 1, atol=1e-5)
    assert splits.test.mean() > 20


def test_bsds300_is_read_as_it_is(tmp_path, generator):
    (tmp_path / "BSDS300").mkdir()
    rows = generator.normal(size=(30, 63)).astype("float32")
    with h5py.File(tmp_path / "BSDS300" / "BSDS300.hdf5", "w") as file:
        file["train"], file["validation"], file["test"] = rows[:20], rows[20:25], rows[25:]
    splits = data.load_named("bsds300", tmp_path)
    np.testing.assert_array_equal(splits.train, rows[:20])
    np.testing.assert_array_equal(splits.validation, rows[20:25])
    np.testing.assert_array_equal(splits.test, rows[25:])


def test_patches_become_rows_without_their_mean():
    patches = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype("uint8")
    rows = data.patches_to_rows(patches)
    assert rows.shape == (5, 15)
    last = -rows.sum(axis=1, keepdims=True)
    pixels = np.concatenate([rows, last], axis=1)
    levels = 256 * (pixels - pixels[:, :1]) + patches.reshape(5, 16)[:, :1]
    # Each pixel less the first has the noise of two.
    assert np.abs(levels - patches.reshape(5, 16)).max() < 1.01
    assert np.abs(levels - patches.reshape(5, 16)).max() > 0.3
    with pytest.raises(TypeError, match="`patches` must be uint8"):
        data.patches_to_rows(rows)


def test_missing_and_damaged_files_are_named(tmp_path, generator):
    with pytest.raises(ValueError, match=r"no .*power/data\.npy: .*zenodo"):
        data.load_named("power", tmp_path)
    with pytest.raises(
        ValueError, match=r"'power' needs the folder .*power/data.npy: give `data_dir`"
    ):
        data.load_named("power")
    with pytest.raises(ValueError, match="unknown table 'iris': choose one of bsds300, gas"):
        data.load_benchmark_table("iris", tmp_path)
    save(tmp_path, "miniboone/data.npy", generator.normal(size=(20, 50)))
    with pytest.raises(ValueError, match="must hold 43 columns"):
        data.load_named("miniboone", tmp_path)
    (tmp_path / "hepmass").mkdir()
    for part in ("train", "test"):
        (tmp_path / "hepmass" / f"1000_{part}.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"1000_train\.csv cannot be read as a table"):
        data.load_named("hepmass", tmp_path)
    (tmp_path / "BSDS300").mkdir()
    (tmp_path / "BSDS300" / "BSDS300.hdf5").write_text("no HDF5")
    with pytest.raises(ValueError, match="cannot be read as the patches"):
        data.load_named("bsds300", tmp_path)
