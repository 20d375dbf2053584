import json
import pathlib

import numpy as np

import tfnvp
from tests.command_line import run
from tfnvp.data import Splits
from tfnvp.runs.folder import RunFolder


def test_runs_on_tables_are_reported_and_evaluated_on_their_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(200, 3))
    np.save("t.npy", rows)
    folder = pathlib.Path("r")
    folder.mkdir()
    tfnvp.RealNVP(3, couplings=2, hidden_units=(8,)).save(folder / "model.keras")
    source = {"table": str(tmp_path / "t.npy")}
    config = {"name": "realnvp-table", "dataset": "t", "options": {}, "source_of_data": source}
    (folder / "config.json").write_text(json.dumps(config))
    calls = []
    # A run folder of somebody else, which names a file here.
    for command in ("report", "evaluate"):
        assert run(command, "r") == 2
        assert "Give the data by `--table`" in capsys.readouterr().err
    RunFolder(folder).write_config(config)
    monkeypatch.setattr("tfnvp.report.write_report", lambda *arguments: calls.append(arguments))
    assert run("report", "r", "-o", "page.html") == 0
    assert "report in page.html" in capsys.readouterr().out
    test = calls[0][2].test
    assert set(test[:, 0]) <= set(rows[:, 0].astype("float32"))
    assert run("evaluate", "r", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == len(test) == 20


def test_runs_on_tables_by_name_are_reported_on_them(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    calls, loaded = [], []

    def load_named(name, data_dir, division):
        loaded.append((name, str(data_dir)))
        return Splits(name, rows, rows, rows)

    monkeypatch.setattr("tfnvp.report.write_report", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr("tfnvp.data.load_named", load_named)
    monkeypatch.chdir(tmp_path)
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    made.save_model(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    assert run("report", "run", "-o", "r.html") == 0
    made.write_config({"dataset": "power", "source_of_data": {"data_dir": str(tmp_path)}})
    assert run("report", "run", "-o", "r.html") == 0
    made.write_config({})
    assert run("report", "run", "-o", "r.html", "--dataset", "gas", "--data-dir", tmp_path) == 0
    assert [call[2] and call[2].name for call in calls] == [None, "power", "gas"]
    assert loaded == [("power", str(tmp_path)), ("gas", str(tmp_path))]
