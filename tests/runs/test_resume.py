"""Trainings that are stopped in every way, and end as if they had not been."""

import contextlib
import csv
import errno
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import tfnvp
from tests.cli.test_command_line import run
from tfnvp.runs import resuming
from tfnvp.runs import folder as run_folder

# Dropout, averaged weights, a schedule, dequantization noise and early stopping, at small size.
TRAIN = ["train", "--epochs", "25", "--batch-size", "32", "--seed", "3", "--set", "couplings=2"]
TRAIN += ["--set", "hidden_units=[16]", "--set", "warmup_epochs=2", "--json"]


# The package under test, wherever the process starts.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(tfnvp.__file__).parents[1])}


def start(arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "tfnvp", *arguments],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
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


@pytest.mark.slow
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
    captured = capsys.readouterr()
    assert "is finished" in captured.err
    assert "resuming" not in captured.out


SCRIPT = """
import sys
import keras, tfnvp

keras.utils.set_random_seed(0)
digits = tfnvp.data.load_digits()
flow = tfnvp.RealNVP(
    (8, 8), levels=17, logit_alpha=0.01, couplings=2, hidden_units=(16,), dropout=0.2
)
schedule = keras.optimizers.schedules.CosineDecay(1e-3, 41 * 25)
flow.compile(keras.optimizers.Adam(schedule, use_ema=True))
epoch = tfnvp.data.Epoch()
flow.fit(
    tfnvp.data.training_dataset(digits.train, 17, 32, seed=0, epoch=epoch),
    validation_data=tfnvp.data.dequantize(digits.validation, 17, seed=(0, 0)),
    epochs=25,
    verbose=0,
    callbacks=[
        epoch,
        keras.callbacks.BackupAndRestore(sys.argv[1] + "/backup", double_checkpoint=True),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.CSVLogger(sys.argv[1] + "/history.csv", append=True),
    ],
)
flow.save(sys.argv[1] + "/model.keras")
"""


@pytest.mark.slow
def test_a_script_with_keras_own_backup_goes_on_after_a_kill(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folders = [tmp_path / "broken", tmp_path / "unbroken"]
    for folder in folders:
        folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, script, folders[0]], env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    wait_for_epochs(process, folders[0] / "history.csv", 4)
    # Within an epoch: Keras writes its two files at the end of one.
    time.sleep(0.03)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    done = epochs_in(folders[0] / "history.csv")
    for folder in folders:
        monkeypatch.setattr(sys, "argv", [str(script), str(folder)])
        runpy.run_path(str(script), run_name="__main__")
    assert 25 <= epochs_in(folders[0] / "history.csv") <= 26
    assert done < 20
    one, two = (run_folder.load_model(folder) for folder in folders)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.fixture
def short(tmp_path, monkeypatch):
    """Arguments of a training of five epochs on a small table, and its folder."""
    monkeypatch.chdir(tmp_path)
    # It takes longest, and other tests look at it.
    monkeypatch.setattr(tfnvp.Flow, "export", lambda *args, **kwargs: "not exported")
    np.save("table.npy", np.random.default_rng(0).normal(size=(100, 2)))
    arguments = ["train", "--table", "table.npy", "--set", "couplings=2", "--epochs", 5]
    arguments += ["--set", "hidden_units=[8]", "--json", "--output", "run"]
    return arguments, tmp_path / "run"


@pytest.fixture
def at_epoch(monkeypatch):
    """Lets something happen when an epoch of a training begins."""

    @contextlib.contextmanager
    def patched(number, action):
        class Epoch(tfnvp.data.Epoch):
            def on_epoch_begin(self, epoch, logs=None):
                super().on_epoch_begin(epoch, logs)
                if epoch == number:
                    action(patch)

        with monkeypatch.context() as patch:
            patch.setattr("tfnvp.runs.train_recipe.Epoch", Epoch)
            yield

    return patched


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (lambda m: os.kill(os.getpid(), signal.SIGINT), "training interrupted: the best weights"),
        (lambda m: os.kill(os.getpid(), signal.SIGTERM), "training interrupted: the best weights"),
        (lambda m: m.setattr("numpy.savez", full_disk), "no backup could be written: No space"),
    ],
    ids=["ctrl_c", "sigterm", "full_disk"],
)
def test_a_stopped_training_keeps_its_best_weights_and_goes_on(
    short, at_epoch, capsys, stop, message
):
    arguments, folder = short
    assert run(*arguments[:-1], "whole") == 0
    with at_epoch(2, stop):
        assert run(*arguments) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "are in run/model.keras" in error
    assert "`tfnvp train --resume --output run` goes on" in error
    assert run_folder.load_model(folder).event_shape == (2,)
    assert not list(folder.glob("writing-*"))
    assert run(*arguments, "--resume") == 0
    for a, b in zip(
        run_folder.load_model(folder).weights, run_folder.load_model("whole").weights, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_interrupted_model_knows_its_columns(short, at_epoch, capsys):
    arguments, folder = short
    rows = np.load("table.npy")[:50]
    arguments = [a if a != "table.npy" else "table.csv" for a in arguments]
    np.savetxt("table.csv", np.load("table.npy"), delimiter=",", header="a,b", comments="")
    np.savetxt("same.csv", rows, delimiter=",", header="a,b", comments="")
    np.savetxt("turned.csv", rows[:, ::-1], delimiter=",", header="b,a", comments="")
    with at_epoch(2, lambda patch: os.kill(os.getpid(), signal.SIGINT)):
        assert run(*arguments) == 1
    capsys.readouterr()
    means = []
    for table in ("same.csv", "turned.csv"):
        assert run("score", folder, table, "--json") == 0
        means.append(json.loads(capsys.readouterr().out)["mean_log_density"])
    assert means[0] == pytest.approx(means[1], abs=1e-4)


def test_another_training_is_not_resumed(short, at_epoch, capsys):
    arguments, folder = short
    with at_epoch(1, lambda patch: os.kill(os.getpid(), signal.SIGINT)):
        assert run(*arguments) == 1
    resume = ["train", "--resume", "--output", folder]
    for changes, difference in (
        (["--epochs", 6], "epochs was 5, now 6"),
        (["--seed", 1], "seed was 0, now 1"),
        (["--set", "dropout=0.5"], '"dropout": 0.5'),
        (["--recipe", "realnvp-power"], 'name was "realnvp-table", now "realnvp-power"'),
        (["--dataset", "digits"], 'dataset was "table", now "digits"'),
    ):
        capsys.readouterr()
        assert run(*resume, *changes) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert "is another training" in error
        assert difference in error
    np.save("table.npy", np.zeros((100, 2)))
    assert run(*resume) == 2
    assert "data_crc32 was" in capsys.readouterr().err


def test_a_run_that_another_process_trains_is_left_alone(short):
    _, folder = short
    folder.mkdir()
    run_folder.write_json(folder / "config.json", {})
    with run_folder.held(folder), pytest.raises(ValueError, match="no unfinished run"):
        resuming.newest_unfinished(runs=folder.parent)
    assert resuming.newest_unfinished(runs=folder.parent) == folder


@pytest.mark.parametrize("option", ["--output", "--saved-models"])
def test_a_folder_that_cannot_be_written_fails_before_training(
    short, monkeypatch, capsys, option, tmp_path
):
    arguments, _ = short
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tfnvp.Flow, "fit", None)
    assert run(*arguments[:-2], option, "file/folder") == 1
    error = capsys.readouterr().err
    assert "cannot write there" in error
    assert "file/folder" in error


def test_a_backup_of_something_else_is_refused(tmp_path, moons):
    def fit(flow, *callbacks):
        flow.compile("adam")
        backup = tfnvp.callbacks.Backup(tmp_path / "backup.npz", callbacks)
        flow.fit(moons, epochs=2, verbose=0, callbacks=[*callbacks, backup])

    small = {"couplings": 2, "hidden_units": (4,)}
    fit(tfnvp.RealNVP(2, **small))
    with pytest.raises(ValueError, match="is of another model or optimizer"):
        fit(tfnvp.NICE(2, **small))
    with pytest.raises(ValueError, match="0 callbacks in its backup"):
        fit(tfnvp.RealNVP(2, **small), keras.callbacks.EarlyStopping("loss"))
    with pytest.raises(ValueError, match="`callbacks` must be"):
        tfnvp.callbacks.Backup(tmp_path / "other.npz", [keras.callbacks.TerminateOnNaN()])
    (tmp_path / "backup.npz").write_bytes((tmp_path / "backup.npz").read_bytes()[:1000])
    with pytest.raises(ValueError, match="is not a backup of a training"):
        tfnvp.callbacks.Backup(tmp_path / "backup.npz")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(short):
    arguments, _ = short
    weights = []
    for i, seed in enumerate((7, 7, 8)):
        assert run(*arguments[:-1], f"run-{i}", "--seed", seed) == 0
        weights.append(run_folder.load_model(f"run-{i}").get_weights())
    for a, b in zip(*weights[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(np.any(a != b) for a, b in zip(*weights[1:], strict=True))


def test_a_folder_that_is_not_there_is_no_run(tmp_path, capsys):
    assert run("train", "--resume", "--output", tmp_path / "missing") == 2
    error = capsys.readouterr().err
    assert "no run in" in error
    assert "say what to train" in error
    assert not (tmp_path / "missing").exists()
