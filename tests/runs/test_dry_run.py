import json

import numpy as np
import pytest

from tests.cli.test_command_line import run
from tfnvp import recipes
from tfnvp.data import Splits
from tfnvp.runs.dry_run import dry_run

pytestmark = pytest.mark.slow


def test_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--set", "hidden_units=[16]", "--set", "couplings=2", "--epochs", "7"]
    assert run("train", "--dry-run", *small) == 0
    out = capsys.readouterr().out
    for word in ("parameters", "memory", "step", "at most", "7 epochs", "nothing written"):
        assert word in out
    assert not list(tmp_path.iterdir())


def test_numbers_for_machines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = tmp_path.parent / "dry.npy"
    np.save(rows, np.random.default_rng(0).normal(size=(500, 4)).astype("float32"))
    small = ["--set", "hidden_units=[8]", "--set", "couplings=2", "--batch-size", "50"]
    assert run("train", "--table", rows, "--dry-run", "--json", *small) == 0
    found = json.loads(capsys.readouterr().out)
    # Two couplings from 2 to 8 to 4 units, with a few learned bounds of log-scales; the
    # standardisation has 4 shifts and 4 scales.
    dense = 2 * ((2 * 8 + 8) + (8 * 4 + 4))
    assert dense + 8 <= found["parameters"] <= dense + 16
    assert found["bytes_weights"] >= 4 * (dense + 8)
    assert found["bytes_gradients"] >= 4 * dense
    # Adam's two moments and the averages.
    assert found["bytes_optimizer"] >= 3 * found["bytes_gradients"]
    assert found["steps_per_epoch"] == 8
    # Without what compiling takes, which is far more.
    assert 0 < found["seconds_per_step"] < 0.1 * found["seconds_to_compile"]
    epochs = found["epochs"] * found["seconds_per_epoch"]
    assert found["seconds_at_most"] == pytest.approx(epochs + found["seconds_to_compile"])
    assert not list(tmp_path.iterdir())


def test_activations_grow_with_batch_and_width():
    x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    splits = Splits("x", x, x[:20], x[:20])

    def activations(batch, width):
        recipe = recipes.get("realnvp-table").override(
            [f"batch_size={batch}", f"hidden_units=[{width}]", "couplings=2", "dropout=0"]
        )
        return dry_run(recipe, splits)["bytes_activations"]

    few = activations(20, 64)
    # At least the hidden layer before and after its activation, of two couplings.
    assert few >= 20 * 64 * 4 * 2 * 2
    assert activations(200, 64) > 8 * few
