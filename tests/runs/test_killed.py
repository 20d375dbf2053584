"""A run that is killed before or after any of its operations on files, and resumed."""

import itertools
import os
import pathlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp import plotting, recipes
from tfnvp.data import Splits
from tfnvp.runs.folder import RunFolder
from tfnvp.runs.train_recipe import train

RECIPE = recipes.get("realnvp-table").override(
    ["couplings=2", "hidden_units=[4]", "epochs=2", "batch_size=48", "warmup_epochs=1"]
)
ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
SPLITS = Splits("table", ROWS[:48], ROWS[48:54], ROWS[54:], columns=("a", "b"))
FILES = {"config.json", "history.csv", "metrics.json", "model.keras", "reference.json"}
OPERATIONS = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}


class Killed(BaseException):
    """The process has ended: no operation on files succeeds any more."""


class Killer:
    """Raises `Killed` at one operation in the working directory, and at all later ones.

    The opening of a file counts twice: before it, and after it, when the file is empty.
    """

    def __init__(self):
        self.left = self.first = None
        sys.addaudithook(self.watch)

    def watch(self, event, arguments):
        if self.left is None or event not in OPERATIONS:
            return
        path, opens = arguments[0], event == "open"
        if isinstance(path, int) or (opens and not arguments[2] & (os.O_CREAT | os.O_TRUNC)):
            return
        path = pathlib.Path(os.fsdecode(path)).absolute()
        if pathlib.Path.cwd() not in path.parents or (opens and path.is_dir()):
            return
        self.left -= 1
        if opens and self.left == 0:
            self.left = None
            os.close(os.open(path, arguments[2]))
            self.left = -1
        self.left -= opens
        if self.left < 0:
            self.first = self.first or (event, path.name)
            raise Killed


class Archive:
    """A SavedModel of one file; the program of the real one takes long."""

    def add_endpoint(self, *arguments):
        pass

    def write_out(self, path, verbose):
        os.mkdir(path)
        pathlib.Path(path, "saved_model.pb").write_bytes(b"")


@pytest.fixture(scope="module")
def killer():
    return Killer()


@pytest.mark.slow
def test_a_run_killed_at_any_operation_on_files_resumes(killer, tmp_path, monkeypatch):
    export = tfnvp.Flow.export
    monkeypatch.setattr(keras.export, "ExportArchive", Archive)
    picture = plotting.samples_picture(ROWS[:9])
    monkeypatch.setattr(plotting, "samples_picture", lambda *args: picture)
    monkeypatch.setattr(
        tfnvp.Flow, "export", lambda *args, **kwargs: export(*args, **kwargs, signatures=["encode"])
    )
    tf.config.run_functions_eagerly(True)
    try:
        whole = train(RECIPE, SPLITS, tmp_path / "whole", tmp_path / "all", verbose=0)
        states = set()
        for operation in itertools.count():
            (tmp_path / str(operation)).mkdir()
            monkeypatch.chdir(tmp_path / str(operation))
            killer.left, killer.first = operation, None
            try:
                train(RECIPE, SPLITS, "run", "saved", verbose=0)
                break
            except Killed:
                states.add(killer.first)
            finally:
                killer.left = None
            resumed = train(RECIPE, SPLITS, "run", "saved", verbose=0, resume=True)
            for a, b in zip(resumed.flow.variables, whole.flow.variables, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert RunFolder("run").losses("epoch") == [0, 1]
            assert {path.name for path in pathlib.Path("run").iterdir()} == {*FILES, "samples.png"}
            assert resumed.exported == pathlib.Path("saved/run/1")
            assert list(pathlib.Path("saved/run").iterdir()) == [resumed.exported]
            names = {"saved_model.pb", "signature.json", "model_card.md", "assets.extra"}
            assert {path.name for path in resumed.exported.iterdir()} == names
    finally:
        tf.config.run_functions_eagerly(False)
    names = {*FILES, "samples.png", "backup.npz"} - {"history.csv"}
    writes = {("open", f"writing-{name}") for name in names} | {("open", "history.csv")}
    assert {*writes, ("open", "signature.json"), ("os.remove", "backup.npz")} <= states
