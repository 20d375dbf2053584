import json
import pathlib
import resource
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfnvp import data
from tfnvp.data.splits import split_at_random

ROWS = np.arange(3000, dtype="float32").reshape(1000, 3)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "records"
    return data.write_records(np.split(ROWS, 7 * [0] + [10, 500]), 1000, path)


@pytest.fixture
def folder(written, tmp_path):
    """A copy, which a test may break."""
    return pathlib.Path(shutil.copytree(written, tmp_path / "records"))


def test_equal_rows_are_in_one_part_as_those_of_arrays(folder, tmp_path):
    splits, expected = data.read_records(folder), split_at_random("rows", ROWS)
    for found, part in zip(splits[2:4], expected[2:4], strict=True):
        np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(part, axis=0))
    few = np.repeat(np.float32([[0, 1], [2, 3], [4, 5]]), 20, axis=0)
    splits = data.read_records(data.write_records(few[::-1, None], 60, tmp_path / "few"))
    assert [len(np.unique(part, axis=0)) for part in splits[2:4]] == [1, 1]
    assert (len(splits.train), len(splits.test)) == (20, 20)
    for count in (20, 2000):
        with pytest.raises(ValueError, match=r"three parts need .* different rows"):
            data.write_records([np.zeros((count, 2))], count, tmp_path / str(count))
    other = data.read_records(data.write_records([ROWS], 1000, tmp_path / "other", seed=1))
    assert len(np.intersect1d(other.test, expected.test)) < 3 * 30


def all_rows(splits, **options):
    batches = data.training_dataset(splits.train, None, batch_size=64, **options)
    return np.concatenate(list(batches))


def test_every_row_is_written_once_to_one_split(folder):
    splits = data.read_records(folder)
    assert splits.event_shape == (3,)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (803, 100, 97)
    together = np.concatenate([all_rows(splits), splits.validation, splits.test])
    np.testing.assert_array_equal(together[np.argsort(together[:, 0])], ROWS)
    data.check_records(folder)
    # The format is as documented.
    description = json.loads((folder / "records.json").read_text())
    shard, about = next(iter(description["shards"].items()))
    records = list(tf.data.TFRecordDataset(str(folder / shard)).as_numpy_iterator())
    assert len(records) == about["rows"]
    example = tf.train.Example.FromString(records[0])
    row = np.frombuffer(example.features.feature["x"].bytes_list.value[0], "<f4")
    assert row[1] == row[0] + 1


def test_order_follows_from_seed_and_epoch_alone(folder, monkeypatch):
    monkeypatch.setattr(data.RecordStream, "shuffled_bytes", 100 * 12)
    splits = data.read_records(folder)
    batches = data.training_dataset(splits.train, None, 64, seed=3)
    first, second = (np.concatenate(list(batches)) for _ in range(2))
    assert [len(batch) for batch in batches] == [64] * 12 + [35]
    # Keras knows the number of steps and the shape of rows before it reads one.
    assert batches.cardinality() == 13
    assert batches.element_spec == tf.TensorSpec((None, 3), tf.float32)
    keras.utils.set_random_seed(17)
    np.testing.assert_array_equal(all_rows(splits, seed=3), first)
    for other in (second, all_rows(splits, seed=4)):
        assert np.mean(other == first) < 0.05
        np.testing.assert_array_equal(np.sort(other, axis=0), np.sort(first, axis=0))
    # Rows that were neighbours are far apart.
    assert np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1] < 0.2


def test_broken_shards_are_named_or_skipped(folder):
    shards = sorted(folder.glob("train-*"))
    lengths = {shard: shard.stat().st_size for shard in shards}
    truncated, changed = shards[2:4]
    with truncated.open("r+b") as file:
        file.truncate(lengths[truncated] - 30)
    with pytest.raises(
        ValueError, match=rf"{truncated.name} was written with \d+ bytes, and it has"
    ):
        data.read_records(folder)
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 255
    changed.write_bytes(content)
    with pytest.warns(UserWarning, match=f"broken records left out: .* in {truncated.name}, .* in"):
        splits = data.read_records(folder, skip_bad=True)
    rows = all_rows(splits)
    assert len(rows) == len(splits.train) < 803
    assert set(rows[:, 0]) <= set(ROWS[:, 0])
    (folder / "validation.tfrecord").unlink()
    with pytest.warns(UserWarning, match="100 in validation.tfrecord"):
        splits = data.read_records(folder, skip_bad=True)
    assert (splits.validation.shape, len(splits.test)) == ((0, 3), 97)
    truncated.unlink()
    with pytest.raises(ValueError, match=f"{truncated.name} .* it is missing"):
        data.read_records(folder)


def test_a_changed_record_is_found_by_the_check(folder):
    shard = sorted(folder.glob("train-*"))[5]
    content = bytearray(shard.read_bytes())
    content[-20] ^= 255
    shard.write_bytes(content)
    broken = pytest.raises(ValueError, match=rf"{shard.name} is broken after \d+ of")
    with broken:
        data.check_records(folder)
    # Reading says the same.
    rows = data.read_records(folder).train
    for read in (lambda: list(rows.chunks()), lambda: rows.take(803), lambda: rows.take(803, 1)):
        with broken:
            read()


def test_a_record_longer_than_its_file_is_refused_before_tensorflow_allocates_it(folder):
    # TensorFlow ends the process; the checksum of the length is right.
    shard = sorted(folder.glob("train-*"))[5]
    content = shard.read_bytes()
    shard.write_bytes((10**14).to_bytes(8, "little") + bytes.fromhex("86c35a17") + content[12:])
    with pytest.raises(ValueError, match=rf"{shard.name} is broken after 0 of"):
        list(data.read_records(folder).train.chunks())
    with pytest.warns(UserWarning, match=f"{shard.name}"):
        assert len(data.read_records(folder, skip_bad=True).train) < 803


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_shape": [10**12]}, "sizes of shards do not fit"),
        ({"event_shape": [0]}, "event_shape do not fit"),
        ({"dtype": "O"}, "dtype"),
        ({"dtype": 3}, "cannot be read as a description of records"),
        ({"name": None}, "name"),
        ({"levels": "4"}, "levels"),
        ({"columns": 3}, "not iterable"),
        ({"shards": {"../test.tfrecord": {"rows": 1, "bytes": 40}}}, "names of shards"),
        ({"shards": {"train-1": {"rows": 10**9, "bytes": 40}}}, "sizes of shards"),
        ({"shards": []}, "no attribute"),
        ({"bounds": {"x": [0, 1]}}, "must name columns"),
        ("[1, 2]", "no dictionary"),
        ("{}", r"it lacks \['dtype', "),
        ("[" * 100_000, "recursion"),
        ("{", "cannot be read as a description"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(folder, change, message):
    file = folder / "records.json"
    if isinstance(change, dict):
        change = json.dumps(json.loads(file.read_text()) | change)
    file.write_text(change)
    with pytest.raises(ValueError, match=message):
        data.read_records(folder)


def test_meaning_of_rows_is_kept(tmp_path):
    images = np.random.default_rng(0).integers(0, 4, (20, 2, 3), "uint8")
    splits = data.read_records(data.write_records([images], 20, tmp_path / "a", "grey", levels=4))
    assert (splits.name, splits.levels, splits.columns) == ("grey", 4, None)
    assert splits.train.dtype == splits.test.dtype == np.uint8
    batch = next(iter(data.training_dataset(splits.train, 4, 16, seed=0, flip=True)))
    assert batch.shape == (16, 2, 3)
    assert 0.0 <= batch.numpy().min() < batch.numpy().max() < 1.0
    names = ("height", "weight", "age")
    records = data.write_records([ROWS], 1000, tmp_path / "table", columns=names)
    assert data.read_records(records).columns == names
    assert data.read_records(records).bounds is None
    with pytest.raises(ValueError, match="exists already and is not overwritten"):
        data.write_records([ROWS], 1000, tmp_path / "table")


def test_columns_with_bounds_have_names(tmp_path):
    rows = np.random.default_rng(0).uniform(1, 2, (20, 3)).astype("float32")
    made = data.write_records([rows], 20, tmp_path / "made", bounds={"0": (0, None)})
    splits = data.read_records(made)
    assert splits.columns == ("0", "1", "2")
    assert splits.bounds == ((0.0, None), None, None)


def test_bounds_are_kept_or_given_and_hold_for_all_rows(tmp_path):
    rows = np.random.default_rng(0).uniform(1, 2, (300, 2)).astype("float32")
    names, bounds = ("a", "b"), {"b": (0, np.inf)}
    records = data.write_records([rows], 300, tmp_path / "r", columns=names, bounds=bounds)
    assert data.read_records(records).bounds == (None, (0.0, None))
    assert data.read_records(records, bounds={"a": (0, 3)}).bounds == ((0.0, 3.0), None)
    assert data.read_records(records, bounds={}).bounds is None
    with pytest.raises(ValueError, match=r"column 'a' must be above 1.5. .* of 300 values"):
        data.read_records(records, bounds={"a": (1.5, None)})
    with pytest.raises(ValueError, match=r"must name columns of .*Received: 'c'"):
        data.read_records(records, bounds={"c": (0, None)})


@pytest.mark.parametrize(
    ("chunks", "count", "message"),
    [
        ([ROWS], 5, "at least 10 rows"),
        ([ROWS], 999, "must hold 999 rows"),
        ([ROWS], 1001, "must hold 1001 rows. Received: 1000"),
        ([ROWS, ROWS[:, :2]], 2000, r"rows 1001 to 2000 of float32 \(2,\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, chunks, count, message):
    with pytest.raises(ValueError, match=message):
        data.write_records(chunks, count, tmp_path / "records")
    with pytest.raises(ValueError, match="no records in"):
        data.read_records(tmp_path / "records")


def test_reading_takes_bounded_memory(tmp_path):
    # 120 MB in 12 chunks; what is read at a time is 4 MB and the buffers of eight shards.
    generator = np.random.default_rng(0)
    chunks = (generator.normal(size=(100, 25_000)).astype("float32") for _ in range(12))
    splits = data.read_records(data.write_records(chunks, 1200, tmp_path / "records"))
    splits.train.shuffled_bytes = 2**22
    batches = data.training_dataset(splits.train, None, 10, seed=0)
    next(iter(batches))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(len(batch) for batch in batches) == 957
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 80e6
