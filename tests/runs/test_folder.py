import json
import shutil

import keras
import numpy as np
import pytest

import tfnvp
from tfnvp.runs import folder as run_folder
from tfnvp.runs.folder import RunFolder, load_model


def test_new_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.create(None, "digits-nice").path.as_posix() for _ in range(2)]
    assert paths == ["runs/digits-nice-1", "runs/digits-nice-2"]
    assert RunFolder.create("own", "digits-nice").path.is_dir()


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="is not overwritten"):
            RunFolder.create(output, "a")


def test_a_model_and_its_folder_have_one_run(tmp_path):
    for path in (tmp_path, tmp_path / "model.keras", tmp_path / "other.keras"):
        assert RunFolder.of(path).path == tmp_path
    assert RunFolder.of("model.keras").model.as_posix() == "model.keras"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("runs/celeb_a-32-nice-3", "celeb_a-32-nice"),
        ("runs/celeb_a-32-nice", "celeb_a-32-nice"),
        ("elsewhere/faces", "faces"),
        ("runs/celeb_a-32-nice-x", "celeb_a-32-nice-x"),
    ],
)
def test_runs_of_the_default_name_are_versions_of_one_model(folder, expected):
    assert RunFolder(folder).served_name("celeb_a/32", "nice") == expected


def test_a_run_is_finished_when_its_backup_is_gone(tmp_path):
    run = RunFolder(tmp_path)
    assert not run.is_run
    run.write_config({"seed": 1})
    assert run.is_run
    run.backup.write_bytes(b"")
    run.write_metrics({"epochs": 3})
    assert not run.is_finished
    run.backup.unlink()
    assert run.is_finished
    assert (run.config(), run.metrics()) == ({"seed": 1}, {"epochs": 3})
    assert run.results() == ["metrics.json"]


def test_one_process_trains_into_a_folder(tmp_path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    with first.held(), pytest.raises(ValueError, match="is in use"), second.held():
        pass
    with second.held():
        pass


def test_the_learning_curve_is_read_and_cut(tmp_path):
    run = RunFolder(tmp_path)
    run.cut_history(1)
    assert not run.history.exists()
    run.history.write_text("epoch,val_loss\n0,3.5\n1,2.5\n2,4.5\n")
    assert run.losses() == [3.5, 2.5, 4.5]
    run.cut_history(2)
    assert run.losses() == [3.5, 2.5]
    # What a kill leaves: half of a row, half of the header, nothing.
    run.history.write_text("epoch,val_loss\n0,3.5\n1,2")
    run.cut_history(1)
    assert run.losses() == [3.5]
    for left in ("epoch,val_", ""):
        run.history.write_text(left)
        run.cut_history(0)
        assert run.history.read_text() == ""


def test_a_model_is_saved_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    run = RunFolder(tmp_path)
    run.save_model(flow)
    saved = run.model.read_bytes()

    def broken(self, path):
        path.write_bytes(b"half")
        raise OSError("no room")

    monkeypatch.setattr(tfnvp.Flow, "save", broken)
    with pytest.raises(OSError, match="no room"):
        run.save_model(flow)
    assert run.model.read_bytes() == saved
    for path in (run.path, run.model):
        np.testing.assert_array_equal(load_model(path).get_weights()[0], flow.get_weights()[0])


def test_what_is_no_flow_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.keras file or a run folder with one"):
        load_model(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"is not a \.keras file"):
        load_model(tmp_path / "notes.txt")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "dense.keras")
    with pytest.raises(ValueError, match="holds a Sequential, not a flow"):
        load_model(tmp_path / "dense.keras")


def test_a_run_that_has_not_ended_is_named_by_the_error(tmp_path):
    RunFolder(tmp_path).write_config({})
    with pytest.raises(ValueError, match="Its training has not ended") as error_info:
        load_model(tmp_path)
    assert error_info.value.unfinished_run == tmp_path


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write there"):
        run_folder.require_writable(tmp_path / "file/folder")


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/b", "a:b", ""])
def test_a_name_does_not_lead_out_of_its_folder(name):
    with pytest.raises(ValueError, match="must be plain"):
        run_folder.plain_name(name)


def test_half_written_files_do_not_block_a_folder(tmp_path):
    (tmp_path / "writing-config.json").write_text("{")
    run = RunFolder.create(tmp_path, "a")
    assert not run.is_run
    with run.held():
        assert not list(tmp_path.iterdir())
    (tmp_path / "writing-home.txt").write_text("a file of somebody")
    with pytest.raises(ValueError, match="is not overwritten"):
        RunFolder.create(tmp_path, "a")


DAMAGED = {
    "list": "[]",
    "half": '{"seed"',
    "binary": "\udcff",
    "deep": "[" * 100_000,
    "options": '{"options": [1]}',
    "name": '{"name": {}}',
    "source": '{"source_of_data": "t.csv"}',
}


@pytest.mark.parametrize("content", DAMAGED)
def test_the_error_of_a_damaged_configuration_names_it(tmp_path, content):
    (tmp_path / "config.json").write_bytes(DAMAGED[content].encode(errors="surrogateescape"))
    with pytest.raises(OSError, match=r"config\.json is damaged, or of a newer tfnvp"):
        RunFolder(tmp_path).config()


def test_a_model_beside_the_configuration_of_something_else_is_loaded(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    RunFolder(tmp_path).save_model(tfnvp.RealNVP(2, couplings=2, hidden_units=(4,)))
    assert load_model(tmp_path / "model.keras").event_shape == (2,)


def test_the_error_of_a_damaged_learning_curve_names_it(tmp_path):
    run = RunFolder(tmp_path)
    for content in ("epoch,loss\n0,1.0\n", "epoch,val_loss\n0,many\n", "epoch,val_loss\n0\n"):
        run.history.write_text(content)
        with pytest.raises(OSError, match=r"history\.csv is damaged"):
            run.losses()


def test_only_data_of_the_training_is_followed(tmp_path):
    table, other = tmp_path / "t.csv", tmp_path / "other.csv"
    table.write_text("a")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    source = {"table": str(table), "skip_bad": True}
    run.write_config({"source_of_data": source})
    table.write_text("b")
    # The data can have changed, and the run can have been copied.
    copied = RunFolder(shutil.copytree(run.path, tmp_path / "copied"))
    assert run.source_of_data({}) == copied.source_of_data({}) == source
    other.write_text("c")
    other.replace(table)
    with pytest.raises(ValueError, match=r"t\.csv: it is not the file .* Give the data by `table`"):
        run.source_of_data({"skip_bad": True})
    assert run.source_of_data({"table": "x.csv"}) == {"table": "x.csv", "skip_bad": True}


def test_data_is_found_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a")
    run = RunFolder(tmp_path)
    run.write_config({"source_of_data": {"table": "t.csv", "data_dir": "gs://bucket"}})
    expected = {"table": str(tmp_path / "t.csv"), "data_dir": "gs://bucket"}
    assert run.config()["source_of_data"] == expected
    # Of an older run: a relative path.
    config = {**run.config(), "source_of_data": {"table": "t.csv"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert run.source_of_data({}) == {"table": "t.csv"}


@pytest.mark.parametrize("name", ["images", "table", "records", "data_dir"])
def test_no_path_of_a_foreign_run_is_followed(tmp_path, name):
    config = {"dataset": "digits", "source_of_data": {"dataset": "digits", "levels": 17}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert RunFolder(tmp_path).source_of_data({}) == config["source_of_data"]
    inode = tmp_path.stat().st_ino
    for path in (str(tmp_path), "missing", "gs://bucket/folder", 0, [], None):
        for inodes in ({}, {name: None}, {name: inode + 1}, {name: str(inode)}):
            config |= {"source_of_data": {name: path}, "inodes": inodes}
            (tmp_path / "config.json").write_text(json.dumps(config))
            with pytest.raises(ValueError, match="names data that is not followed"):
                RunFolder(tmp_path).source_of_data({})


def test_a_model_of_a_newer_version_is_called_newer(tmp_path):
    run = RunFolder(tmp_path)
    run.write_config({"tfnvp": "1000.1"})
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(run.model)
    content = run.model.read_bytes()
    run.model.write_bytes(content.replace(b"Dense", b"Dance"))
    with pytest.raises(OSError, match=r"it is of tfnvp 1000\.1, which is newer than"):
        run.load_model()
