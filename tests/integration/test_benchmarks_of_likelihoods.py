"""Benchmarks of likelihoods: what they compute, on little data."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

import tfnvp
from benchmarks import __main__ as command_line
from benchmarks import needs, one_gaussian, quality, tables
from benchmarks.libraries import tfp as tfp_by_hand
from tfnvp import data, recipes
from tfnvp.data import Splits

pytestmark = pytest.mark.slow


def run(*arguments):
    ended = CliRunner().invoke(command_line.app, list(map(str, arguments)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_equal_budgets_are_measured_and_tabled(tmp_path):
    output = tmp_path / "quality.jsonl"
    arguments = ["--tasks", "tiny", "--kinds", "neural_spline", "--libraries", "tfnvp,tfp"]
    printed = run("quality", *arguments, "--seeds", 1, "--output", output)
    assert "| tiny | nats | seeds | steps |" in printed
    assert "| tfnvp, spline | " in printed
    # TFP by hand has no splines.
    assert "tfp left out: it has no spline couplings" in printed
    (answer,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert answer["kind"] == "neural_spline"
    check_answer(answer)


@pytest.mark.parametrize("library", ["tfp", "tfnvp"])
def test_every_library_answers_the_same_way(library):
    answer = quality.measure(library, "tiny-digits", 0, **quality.TASKS["tiny-digits"].arrays(0))
    check_answer(answer)
    assert "| tiny-digits | bits per dim | seeds | steps |" in quality.markdown([answer])


def check_answer(answer):
    assert answer["versions"]
    assert math.isfinite(answer["nats"])
    # Three steps learn more than one, and the likelihood of validation digits shows it.
    assert answer["steps"] == 3


@pytest.mark.parametrize("rows", [100, 1000])
def test_a_table_is_a_task_too(rows):
    table = np.random.default_rng(0).normal(size=(rows, 4))
    batch, validation, test, log_dets = quality.of_table("some", table).data(0)
    assert batch().shape == (256, 4)
    assert validation.shape == test.shape == (rows // 10, 4)
    assert not log_dets.any()
    assert quality.work_of("some", 4).event_shape == (4,)


@pytest.mark.parametrize("columns", [4, 5])
def test_halves_take_turns_to_pass(columns):
    distribution, variables = tfp_by_hand.make_distribution(quality.work_of("some", columns))
    for variable in variables:
        variable.assign(np.random.default_rng(0).normal(0, 0.1, variable.shape))
    x = tf.random.stateless_normal([2, columns], (0, 0))
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = distribution.bijector.inverse(x)
    jacobian = tape.batch_jacobian(z, x)
    # Each of the latents is computed from all variables.
    assert np.abs(jacobian).min() > 1e-8
    log_det = distribution.bijector.inverse_log_det_jacobian(tf.identity(x), 1)
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], log_det, atol=1e-5)


def test_batches_of_moons_pass_over_the_training_points():
    arrays = quality.Task((3, 80), quality._moons).arrays(1)
    batches, test, log_dets = (arrays[name] for name in ("batches", "test", "log_dets"))
    assert batches.shape == (80, 256, 2)
    assert test.shape == (10_000, 2)
    assert not log_dets.any()
    # One pass has no point twice; the next is in another order.
    first = batches[:78].reshape(-1, 2)
    assert len(np.unique(first, axis=0)) == len(first)
    assert not np.array_equal(batches[:2], batches[78:])


def test_log_dets_of_digits_are_those_of_the_logit():
    batch, _, test, log_dets = quality._digits(0)
    assert batch().shape == (256, 64)
    x = (1 / (1 + np.exp(-test)) - 0.05) / 0.9
    np.testing.assert_array_equal(
        np.floor(17 * x[:360] + 1e-9), data.load_digits().test.reshape(-1, 64)
    )
    step = 1e-6
    moved = np.log((0.05 + 0.9 * (x + step)) / (0.95 - 0.9 * (x + step)))
    np.testing.assert_allclose(log_dets, np.log((moved - test) / step).sum(axis=1), rtol=1e-3)


def test_markdown_sorts_by_the_mean_over_seeds():
    values = {"a": (1.0, 3.0), "b": (0.5, 0.7)}
    answers = [
        {"task": "moons", "library": name, "kind": "real_nvp", "nats": nats, "steps": 2000}
        for name, pair in values.items()
        for nats in pair
    ]
    lines = quality.markdown(answers).splitlines()
    assert lines[2] == "| b, affine | 0.600 ± 0.141 | 2 | 2000 |"
    assert lines[3] == "| a, affine | 2.000 ± 1.414 | 2 | 2000 |"


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    x = generator.normal(size=300)
    return np.stack(
        [x, np.sign(x) + 0.1 * generator.normal(size=300), -2 * x, np.ones(300), np.round(3 * x)],
        axis=1,
    )


def test_tables_are_prepared_for_densities(table):
    splits = tables.prepare("t", table[:, :4], seed=0)
    # Neither the constant nor the copy; the blurred column is another number for every row.
    assert splits.event_shape == (2,)
    np.testing.assert_allclose(splits.train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(splits.train.std(axis=0), 1, atol=1e-5)
    column = tables._spread(table[:, 4], np.random.default_rng(0))
    assert len(np.unique(column)) == 300
    middle = np.abs(table[:, 4]) < 5
    np.testing.assert_array_equal(np.floor(column[middle]), table[middle, 4])


def test_flows_are_compared_with_mixtures(table, tmp_path, monkeypatch):
    # XLA takes longer to compile than two steps take.
    monkeypatch.setattr(tfnvp.Flow, "uses_xla", lambda flow: False)
    np.savez(tmp_path / "tables.npz", small=table)
    output = tmp_path / "out.jsonl"
    arguments = ["--flows", "realnvp-table", "--steps", 2, "--runs", tmp_path / "runs"]
    arguments += ["--output", output]
    printed = run("tables", tmp_path / "tables.npz", *arguments)
    assert "| table | rows | columns | one Gaussian | GaussianMixture | realnvp-table |" in printed
    assert printed.count("**") == 2
    assert len(output.read_text().splitlines()) == 3


def test_needs_are_those_of_the_paper():
    found = needs.need(recipes.get("realnvp-cifar10"))
    # Counted by hand from the paper's architecture.
    assert found["weights"] == pytest.approx(19.55e6, rel=0.01)
    assert found["operations"] == pytest.approx(2.48e12, rel=0.01)
    assert found["steps"] == 704


def test_needs_count_attention_and_loops():
    recipe = recipes.get("jet-mnist-small")
    printed = run("needs", recipe.name)
    assert f"| `{recipe.name}` | {recipes.PARAMETERS[recipe.name] / 1e6:.1f} |" in printed
    tokens, width, channels = 49, recipe.options["width"], 8
    dense = width * (12 * width + 3 * channels)  # Four maps of attention, two of the hidden layer.
    products = recipe.options["couplings"] * tokens * (dense + 2 * tokens * width)
    assert needs.need(recipe)["operations"] == 6 * recipe.batch_size * products


def test_curves_are_drawn_and_copied(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "history.csv").write_text("epoch,loss,val_loss\n0,3.0,3.5\n1,2.0,2.5\n")
    run("curves", folder, "-o", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert (tmp_path / "run.csv").read_text() == (folder / "history.csv").read_text()


def test_patches_are_prepared_by_the_command(tmp_path):
    patches = np.random.default_rng(0).integers(0, 256, (4, 2, 2)).astype("uint8")
    np.savez(tmp_path / "patches.npz", train=patches, val=patches, test=patches)
    run("patches", tmp_path / "patches.npz", "-o", tmp_path / "rows.npz")
    assert np.load(tmp_path / "rows.npz")["validation"].shape == (4, 3)
    run("patches", tmp_path / "patches.npz", "-o", tmp_path / "rows.npz", "--draws", "2")
    rows = dict(np.load(tmp_path / "rows.npz"))
    assert rows["validation"].shape == (4, 3)
    first, second = np.split(rows["train"], 2)
    assert 0 < np.abs(first - second).max() < 2 / 256  # The same patches with other noise.


def test_patches_are_turned_and_flipped(tmp_path):
    patch = np.array([[0, 80], [160, 240]], "uint8")
    np.savez(tmp_path / "patches.npz", train=patch[None], val=patch[None], test=patch[None])
    run("patches", tmp_path / "patches.npz", "-o", tmp_path / "rows.npz", "--symmetries")
    rows = dict(np.load(tmp_path / "rows.npz"))
    assert len(rows["validation"]) == len(rows["test"]) == 1
    found = np.round((rows["train"] - rows["train"].min(axis=1, keepdims=True)) * 256 / 80)
    turned = [np.rot90(p, k).ravel()[:3] / 80.0 for p in (patch, patch[:, ::-1]) for k in range(4)]
    assert sorted(map(tuple, found)) == sorted(tuple(p - p.min()) for p in turned)


def test_one_gaussian_scores_images_as_a_density_on_pixels(tmp_path):
    # Independent pixels, uniform over 16 of 256 levels: 4 bits, and a Gaussian's 0.25 bits more.
    levels = np.random.default_rng(0).integers(100, 116, (600, 2, 2, 1)).astype("uint8")
    splits = Splits("noise", levels[:400], levels[:100], levels[400:], 256)
    mean, error, _ = one_gaussian.bits_per_dim(splits)
    assert abs(mean - (4 + 0.5 * np.log2(np.pi * np.e / 6))) < 5 * error + 0.02
    # The logit is nearly a straight line there, so its Gaussian finds the same likelihood.
    logits, _, _ = one_gaussian.bits_per_dim(splits, alpha=0.05)
    assert abs(logits - mean) < 0.01
