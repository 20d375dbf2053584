"""Trainings that are stopped in every way, and end as if they had not been."""

import csv
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import tfnvp
from tests.test_command_line import run
from tfnvp import run_folder

# Dropout, averaged weights, a schedule, dequantization noise and early stopping, at small size.
TRAIN = ["train", "--epochs", "25", "--batch-size", "32", "--seed", "3", "--set", "couplings=2"]
TRAIN += ["--set", "hidden_units=[16]", "--set", "warmup_epochs=2", "--json"]


def start(arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "tfnvp", *arguments],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(run_folder.pathlib.Path(tfnvp.__file__).parents[1])},
    )


def epochs_in(file):
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


def wait_for_epochs(process, file, epochs):
    while epochs_in(file) < epochs:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def assert_same_training(first, second):
    """Weights, optimizer, and losses of all epochs."""
    one, two = run_folder.load_model(first), run_folder.load_model(second)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    tables = []
    for folder in (first, second):
        with (folder / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == list(range(25))
        tables.append([float(row[name]) for row in rows for name in ("loss", "val_loss")])
    np.testing.assert_allclose(*tables, rtol=1e-5)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    before = os.getcwd()
    os.chdir(folder)
    assert run(*TRAIN) == 0
    os.chdir(before)
    return folder / "runs/digits-real_nvp-1"


def test_killed_at_any_moment_it_ends_at_the_same_weights(unbroken, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/digits-real_nvp-1"
    for epochs in (3, 9):
        resume = ["--resume"] if epochs > 3 else []
        process = start([*TRAIN, *resume], tmp_path)
        wait_for_epochs(process, folder / "history.csv", epochs)
        time.sleep(np.random.default_rng().uniform(0.0, 0.1))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.stderr.close()
    assert (folder / "backup.npz").exists()
    assert not (folder / "model.keras").exists()
    # What is not said again is as it was.
    assert run("train", "--resume", "--json") == 0
    assert_same_training(unbroken, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in unbroken.iterdir()}
    assert run("train", "--resume") == 2
    assert "no unfinished run" in capsys.readouterr().err
    assert run("train", "--resume", "--output", folder) == 2
    assert "is finished" in capsys.readouterr().err
