"""What a shell sees: help, completion, and results for machines."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tfnvp
from tests.cli.test_command_line import run
from tfnvp import cli
from tfnvp.runs import folder as run_folder

COMMANDS = sorted(
    command.name or command.callback.__name__ for command in cli.app.registered_commands
)


def tfnvp_process(*arguments, **environment):
    """Runs the command as a process, as a shell does."""
    return subprocess.run(
        [sys.executable, "-m", "tfnvp", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_all_commands_are_here():
    assert {"train", "evaluate", "sample", "export", "report", "score", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run(command, "--help") == 0
    out = capsys.readouterr().out
    assert f"Example: tfnvp {command}" in " ".join(out.split())
    assert "Usage: tfnvp" in out
    assert "--json" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_shown(shell):
    # Without the variable, the shell is that of the parent process.
    result = tfnvp_process(
        "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert result.returncode == 0, result.stderr
    assert f"_TFNVP_COMPLETE=complete_{shell}" in result.stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tfnvp eval", "evaluate"),
        ("tfnvp train --dry", "--dry-run"),
        ("tfnvp train --recipe realnvp-mnist-s", "realnvp-mnist-small"),
    ],
)
def test_words_are_completed(words, expected):
    count = str(len(words.split()) - 1)
    result = tfnvp_process(_TFNVP_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert result.stdout.split() == [expected]


def test_completion_is_installed(tmp_path):
    result = tfnvp_process(
        "--install-completion",
        "bash",
        HOME=str(tmp_path),
        _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1",
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / ".bash_completions" / "tfnvp.sh").is_file()
    assert "tfnvp.sh" in (tmp_path / ".bashrc").read_text()


def test_results_for_machines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flow = tfnvp.RealNVP((8, 8), couplings=2, hidden_units=(8,), levels=17, logit_alpha=0.05)
    run_folder.save_model(flow, tmp_path)
    commands = {
        ("sample", "-n", 4, "--output", "s.npy"): {"output": "s.npy", "samples": 4},
        ("interpolate", "--rows", 2, "--columns", 2): {"output": "interpolation.png"},
        ("inpaint", "-n", 1, "--steps", 2): {"output": "inpainting.png"},
        ("nearest", "-n", 1): {"output": "nearest.png"},
        ("export", "--name", "m"): {"saved_model": "saved_models/m/1"},
        ("report", "--rows", 20): {"output": "report.html"},
    }
    for (command, *options), expected in commands.items():
        assert run(command, tmp_path, *options, "--json") == 0
        assert json.loads(capsys.readouterr().out) == expected
    assert run("reconstruct", tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["output"] == "reconstruction.png"
    assert 0 < found["largest_error"] < 1e-3
    assert np.load("s.npy").shape == (4, 8, 8)


def test_training_tells_how_far_it_is(tmp_path, capsys):
    table = tmp_path / "table.npy"
    np.save(table, np.random.default_rng(0).normal(size=(100, 2)))
    options = ["--set", "couplings=2", "--epochs", 20, "--output", tmp_path / "run"]
    assert run("train", "--table", table, *options, "--saved-models", tmp_path / "saved") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 11
    assert lines[-1].startswith("epoch 20/20   training ")
    assert "validation" in lines[-1]
    # A run with a name of its own is a model of that name.
    assert (tmp_path / "saved/run/1/saved_model.pb").is_file()
    assert run("export", tmp_path / "run", "--saved-models", tmp_path / "saved") == 0
    assert (tmp_path / "saved/run/2/saved_model.pb").is_file()


def test_progress_of_a_training_for_machines_is_a_message(tmp_path, capsys):
    table = tmp_path / "table.npy"
    np.save(table, np.random.default_rng(0).normal(size=(100, 2)))
    options = ["--set", "couplings=2", "--epochs", 1, "--output", tmp_path / "run", "--json"]
    assert run("train", "--table", table, *options, "--saved-models", tmp_path / "saved") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["epochs"] == 1
    assert captured.err.startswith("training     realnvp-table on 80 rows of table; the first")
    assert "epoch 1/1" in captured.err


def test_commands_for_models_without_condition_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), condition_shape=2)
    flow.save("conditional.keras")
    np.save("table.npy", np.zeros((4, 3), "float32"))
    for command in (["sample"], ["score", "table.npy"], ["report"], ["evaluate"], ["reconstruct"]):
        assert run(command[0], "conditional.keras", *command[1:]) == 2
        assert "give `condition=` to its methods" in capsys.readouterr().err
    assert run("export", "conditional.keras", "--name", "c") == 0
