import numpy as np
import pytest

from tfnvp import recipes
from tfnvp.data import Splits
from tfnvp.runs.dry_run import dry_run

pytestmark = pytest.mark.slow


def splits_of(rows):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype("float32")
    return Splits("x", x, x[:20], x[:20])


def recipe_of(width, batch_size):
    changes = [f"batch_size={batch_size}", f"hidden_units=[{width}]", "couplings=2", "dropout=0"]
    return recipes.get("realnvp-table").override(changes)


def test_numbers_follow_from_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = dry_run(recipe_of(width=8, batch_size=50), splits_of(400))
    # Two couplings from 2 to 8 to 4 units, with a few learned bounds of log-scales; the
    # standardisation has 4 shifts and 4 scales.
    dense = 2 * ((2 * 8 + 8) + (8 * 4 + 4))
    assert dense + 8 <= found["parameters"] <= dense + 16
    assert found["bytes_weights"] >= 4 * (dense + 8)
    assert found["bytes_gradients"] >= 4 * dense
    # Adam's two moments and the averages.
    assert found["bytes_optimizer"] >= 3 * found["bytes_gradients"]
    assert found["steps_per_epoch"] == 8
    # Compiling, which takes far longer, is not in it.
    assert 0 < found["seconds_per_step"] < 0.1 * found["seconds_to_compile"]
    epochs = found["epochs"] * found["seconds_per_epoch"]
    assert found["seconds_at_most"] == pytest.approx(epochs + found["seconds_to_compile"])
    assert not list(tmp_path.iterdir())


def test_activations_are_what_the_gradients_read():
    splits = splits_of(200)

    def activations(batch_size, *changes):
        recipe = recipe_of(64, batch_size).override(changes)
        return dry_run(recipe, splits)["bytes_activations"]

    hidden = 20 * 64 * 4 * 2  # Of two couplings.
    few = activations(20)
    assert hidden <= few < 2 * hidden
    assert activations(200) - few >= 9 * hidden
    assert activations(20, "gradient_checkpointing=true") < few - 0.9 * hidden
