import json

import numpy as np
import pytest

from tfnvp.cli import main


def test_the_command_reports_and_evaluates_a_run_on_the_data_it_was_trained_on(
    tmp_path, monkeypatch, capsys
):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        return stopped.value.code

    monkeypatch.chdir(tmp_path)
    np.save("t.npy", np.random.default_rng(0).normal(size=(200, 3)))
    options = ["--set", "couplings=2", "--set", "hidden_units=[8]", "--epochs", "1", "--json"]
    assert run("train", "--table", "t.npy", "--output", "r", *options) == 0
    capsys.readouterr()
    assert run("report", "r", "--rows", "20", "-o", "page.html") == 0
    assert "report in page.html" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for section in ("Likelihoods", "Learning curves", "Training"):
        assert f"<h2>{section}</h2>" in text
    assert "20 of 20" in text
    assert run("evaluate", "r", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
