import json
import resource

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from PIL import Image
from pyarrow import csv, parquet

import tfnvp
from tfnvp import cli, data

ROWS = np.arange(3000, dtype="float32").reshape(1000, 3)


@pytest.fixture
def folder(tmp_path):
    return data.write_records(np.split(ROWS, 7 * [0] + [10, 500]), 1000, tmp_path / "records")


def all_rows(splits, **options):
    batches = data.training_dataset(splits.train, None, batch_size=64, **options)
    return np.concatenate(list(batches))


def test_every_row_is_written_once_to_one_split(folder):
    splits = data.read_records(folder)
    assert splits.event_shape == (3,)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (800, 100, 100)
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
    assert [len(batch) for batch in batches] == [64] * 12 + [32]
    keras.utils.set_random_seed(17)
    np.testing.assert_array_equal(all_rows(splits, seed=3), first)
    for other in (second, all_rows(splits, seed=4)):
        assert np.mean(other == first) < 0.05
        np.testing.assert_array_equal(np.sort(other, axis=0), np.sort(first, axis=0))
    # Rows that were neighbours are far apart.
    assert np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1] < 0.2


@pytest.mark.slow
def test_a_flow_trains_on_a_stream(folder):
    splits = data.read_records(folder)
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.compile()
    batches = data.training_dataset(splits.train, None, 64, seed=0)
    history = flow.fit(batches, epochs=2, validation_data=splits.validation, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    assert flow.optimizer.iterations == 26


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
    assert len(rows) == len(splits.train) < 800
    assert set(rows[:, 0]) <= set(ROWS[:, 0])
    truncated.unlink()
    with pytest.raises(ValueError, match=f"{truncated.name} .* it is missing"):
        data.read_records(folder)


def test_a_changed_record_is_found_by_the_check(folder):
    shard = sorted(folder.glob("train-*"))[5]
    content = bytearray(shard.read_bytes())
    content[-20] ^= 255
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{shard.name} is broken after \d+ of"):
        data.check_records(folder)


@pytest.mark.parametrize(
    ("chunks", "count", "message"),
    [
        ([ROWS], 5, "at least 10 rows"),
        ([ROWS], 999, "must hold 999 rows"),
        ([ROWS], 1001, "must hold 1001 rows. Received: 1000"),
        ([ROWS, ROWS[:, :2]], 2000, r"row 1001, float32 \(2,\)"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, chunks, count, message):
    with pytest.raises(ValueError, match=message):
        data.write_records(chunks, count, tmp_path / "records")
    with pytest.raises(ValueError, match="no records in"):
        data.read_records(tmp_path / "records")


@pytest.mark.parametrize("kind", [".csv", ".parquet", ".npy"])
def test_tables_are_read_in_pieces(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tfnvp.data.chunks._ROWS", 300)
    file = tmp_path / f"table{kind}"
    table = pa.table({f"c{i}": ROWS[:, i] for i in range(3)})
    if kind == ".npy":
        np.save(file, ROWS)
    elif kind == ".csv":
        csv.write_csv(table, file)
    else:
        parquet.write_table(table, file, row_group_size=400)
    chunks, count = data.table_chunks(file)
    chunks = list(chunks)
    assert count == 1000
    assert kind == ".csv" or len(chunks) > 3
    np.testing.assert_array_equal(np.concatenate(chunks), ROWS)


def test_a_hole_in_a_large_table_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnvp.data.chunks._ROWS", 300)
    rows = ROWS.copy()
    rows[654, 1] = np.nan
    parquet.write_table(pa.table({f"c{i}": rows[:, i] for i in range(3)}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="row 655, column 'c1'"):
        list(data.table_chunks(tmp_path / "t.parquet")[0])
    with pytest.raises(ValueError, match="no table at"):
        data.table_chunks(tmp_path / "nothing.csv")


def test_some_columns_and_good_rows_of_a_large_table(tmp_path, monkeypatch):
    monkeypatch.setattr("tfnvp.data.chunks._ROWS", 300)
    rows = ROWS.copy()
    rows[[1, 654], 1] = np.nan
    columns = {f"c{i}": rows[:, i] for i in range(3)} | {"name": ["x"] * 1000}
    file = tmp_path / "t.parquet"
    parquet.write_table(pa.table(columns), file)
    with pytest.warns(UserWarning, match="2 of 1000 rows of .* are left out"):
        chunks, count = data.table_chunks(file, skip_bad=True, columns="c2, c1")
    whole = np.concatenate(list(chunks))
    assert count == len(whole) == 998
    np.testing.assert_array_equal(whole, np.delete(ROWS, [1, 654], axis=0)[:, [2, 1]])
    with pytest.raises(ValueError, match="lacks the columns"):
        data.table_chunks(file, columns="c9")


def test_records_on_the_command_line(tmp_path, monkeypatch, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            cli.main([str(argument) for argument in arguments])
        return exit_info.value.code

    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        pixels = generator.integers(0, 256, (6, 8, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{i}.png")
    assert run("records", "out", "--images", "faces", "--image-size", 4) == 0
    # Records of images take the recipe for images.
    small = [f"--set={option}" for option in ("scales=1", "base_filters=2", "residual_blocks=1")]
    small += ["--epochs", 1]
    assert run("train", "--records", "out", *small, "--output", "run", "--json") == 0
    metrics = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert metrics["rows"] == {"train": 16, "validation": 2, "test": 2}
    assert metrics["test"]["bits_per_dim"] > 0
    assert run("evaluate", "run", "--records", "out", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(result["nats"], metrics["test"]["nats"], rtol=1e-5)
    assert run("evaluate", "run", "--records", "out", "--split", "train") == 2
    assert run("records", "again") == 2
    assert run("records", "again", "--images", "faces", "--columns", "a,b") == 2
    (tmp_path / "t.csv").write_text("a,b,label\n,2.5,x\n?,2.5,x\n" + "1.5,2.5,x\n" * 20)
    table = ("--table", "t.csv", "--columns", "a,b", "--skip-bad")
    capsys.readouterr()
    assert run("records", "table", *table, "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    assert run("records", "out", "--images", "faces") == 2


def test_reading_takes_bounded_memory(tmp_path):
    # 120 MB in 12 chunks; what is read at a time is 4 MB and the buffers of eight shards.
    generator = np.random.default_rng(0)
    chunks = (generator.normal(size=(100, 25_000)).astype("float32") for _ in range(12))
    splits = data.read_records(data.write_records(chunks, 1200, tmp_path / "records"))
    splits.train.shuffled_bytes = 2**22
    batches = data.training_dataset(splits.train, None, 10, seed=0)
    next(iter(batches))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(len(batch) for batch in batches) == 960
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 80e6
