"""What every source of rows can do: an array, and records on disk."""

import pathlib

import numpy as np
import pytest
from tensorflow import random

from tfnvp import data
from tfnvp.data.division import row_hashes
from tfnvp.data.splits import split_at_random

ROWS = np.arange(3000, dtype="float32").reshape(1000, 3)
TRAIN = 803  # Training rows by their contents.


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources") / "records"
    records = data.read_records(data.write_records([ROWS], 1000, folder))
    return {
        "array": data.Splits("array", *np.split(ROWS, [TRAIN, 900])),
        "records": records,
    }


@pytest.fixture(params=["array", "records"])
def splits(request, sources):
    return sources[request.param]


def test_masked_values_are_missing():
    source = data.splits.ArraySource(np.ma.masked_equal(ROWS[:2], 4.0))
    np.testing.assert_array_equal(source.take(2), np.float32([[0, 1, 2], [3, np.nan, 5]]))


def in_order(rows):
    return rows[np.argsort(rows[:, 0])]


def test_length_shape_and_type(splits):
    source = splits.source()
    assert isinstance(source, data.DataSource)
    assert (len(source), source.shape, source.dtype) == (TRAIN, (TRAIN, 3), np.float32)
    assert splits.event_shape == (3,)
    assert data.as_source(source) is source


def test_chunks_hold_every_row_once_and_always_in_the_same_order(splits):
    source = splits.source()
    chunks = list(source.chunks(300))
    assert [len(chunk) for chunk in chunks] == [300, 300, 203]
    rows = np.concatenate(chunks)
    held_out = np.concatenate([*splits.source("validation").chunks(), splits.test])
    np.testing.assert_array_equal(in_order(np.concatenate([rows, held_out])), ROWS)
    np.testing.assert_array_equal(np.concatenate(list(source.chunks(64))), rows)


def test_the_first_rows_are_an_array_for_a_learned_base(splits):
    source = splits.source()
    rows = source.take(5)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows, next(source.chunks(5)))
    assert source.take(0).shape == (0, 3)
    assert source.take(5000).shape == (TRAIN, 3)


def test_random_rows_follow_from_a_seed(splits):
    source = splits.source()
    rows = source.take(50, seed=1)
    assert rows.shape == (50, 3)
    assert len(np.unique(rows[:, 0])) == 50
    np.testing.assert_array_equal(source.take(50, seed=1), rows)
    assert np.any(source.take(50, seed=2) != rows)
    assert np.any(source.take(50) != rows)
    np.testing.assert_array_equal(
        in_order(source.take(TRAIN, seed=1)), in_order(source.take(TRAIN))
    )


def test_batches_hold_every_row_once_in_an_order_of_the_key(splits):
    source = splits.source()
    batches = list(source.batches(300, (0, 1)))
    assert [len(batch) for batch in batches] == [300, 300, 203]
    first = np.concatenate(batches)
    np.testing.assert_array_equal(in_order(first), in_order(source.take(TRAIN)))
    # By a function every epoch has a key of its own, and every batch one for its noise.
    keys = iter([(0, 1), (0, 2)])
    noisy = source.batches(
        300, lambda: next(keys), lambda rows, key: rows + random.stateless_uniform([3], key) / 2
    )
    same, other = (np.concatenate(list(noisy)) for _ in range(2))
    np.testing.assert_array_equal(np.floor(same), first)
    assert np.mean(np.floor(other) == first) < 0.05
    assert np.all((same % 1)[0] != (other % 1)[0])
    with pytest.raises(ValueError, match="`batch_size` must be"):
        source.batches(0, (0, 1))


def test_fingerprints_tell_data_apart(sources):
    array = sources["array"]
    assert array.fingerprint() == array._replace(name="other").fingerprint()
    changed = array.test.copy()
    changed[0, 0] += 1
    assert array.fingerprint() != array._replace(test=changed).fingerprint()
    records = sources["records"]
    whole = records.fingerprint()
    assert records.fingerprint() == whole is not None
    shard = pathlib.Path(records.train.files[0])
    content = shard.read_bytes()
    shard.write_bytes(content[::-1])
    assert records.fingerprint() != whole
    shard.write_bytes(content)
    assert [splits.source().in_memory for splits in sources.values()] == [True, False]


def test_lists_and_unknown_parts():
    assert data.as_source([[0.5, 1.5]]).dtype == np.float32
    splits = data.Splits("rows", ROWS, ROWS, ROWS)
    with pytest.raises(ValueError, match="`part` must be one of train, validation, test"):
        splits.source("all")
    with pytest.raises(ValueError, match="few has 9 rows: at least 10"):
        split_at_random("few", ROWS[:9])


def test_the_contents_of_rows_divide_them():
    splits = split_at_random("rows", ROWS)
    assert splits.division == "content"
    assert [len(part) for part in splits[1:4]] == [803, 100, 97]
    np.testing.assert_array_equal(in_order(np.concatenate(splits[1:4])), ROWS)
    # A sorted file is the same data.
    turned = split_at_random("rows", ROWS[::-1])
    assert turned.fingerprint() == splits.fingerprint()
    # Further rows leave the others where they are, and equal ones are together.
    more = np.concatenate([-1 - ROWS, np.tile(ROWS, (3, 1))])
    longer = split_at_random("more", more)
    for part, all_of_them in zip(splits[1:4], longer[1:4], strict=True):
        values, counts = np.unique(all_of_them[all_of_them[:, 0] >= 0], axis=0, return_counts=True)
        np.testing.assert_array_equal(values, in_order(part))
        assert set(counts) == {3}


@pytest.mark.parametrize("n", [10, 19, 200])
def test_few_rows_have_every_part(n):
    rows = np.repeat(ROWS[:n], 2, axis=0)
    assert [len(part) // 2 for part in split_at_random("few", rows)[2:4]] == [n // 10] * 2
    # Two different rows cannot fill three parts.
    assert [len(part) for part in split_at_random("few", rows[[0, 2] * 5])[1:4]] == [8, 1, 1]


def test_rows_of_one_part_have_every_part():
    train = split_at_random("rows", ROWS).train
    assert [len(part) for part in split_at_random("own", train)[1:4]] == [643, 80, 80]


def test_hashes_are_those_of_the_numbers():
    # Fixed: they decide which rows a run was trained on.
    rows = np.float32([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]])
    expected = [13168043988275763029, 13168043988275763029, 3771080630895193970]
    assert row_hashes(rows).tolist() == expected
    assert row_hashes(rows.astype(">f4")[:, ::-1][:, ::-1]).tolist() == expected
    assert row_hashes(rows, seed=1)[0] != expected[0]
    images = np.arange(90, dtype="uint8").reshape(10, 3, 3)
    assert len(np.unique(row_hashes(images))) == 10
    wide = np.random.default_rng(0).integers(0, 2, (3, 2**19), "uint8")
    assert row_hashes(wide).tolist() == [int(row_hashes(row[None])[0]) for row in wide]
    many = np.random.default_rng(0).integers(0, 2, (100_000, 64)).astype("float32")
    hashes = row_hashes(many)
    assert len(np.unique(hashes)) == 100_000
    assert abs((hashes < 2**63).mean() - 0.5) < 0.006


def test_older_runs_keep_their_division():
    splits = split_at_random("rows", ROWS, division=None)
    order = np.random.RandomState(0).permutation(1000)
    np.testing.assert_array_equal(splits.test, ROWS[order[900:]])
    assert splits.division is None
    with pytest.raises(ValueError, match='`division` must be "content" or None'):
        split_at_random("rows", ROWS, division="order")
