"""The benchmark of anomaly detection: splits, methods, resumption and tables, on little data."""

import functools
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from benchmarks import __main__ as command_line
from benchmarks.adbench import data, detectors, ranks, runs, tables
from benchmarks.adbench.detectors import flows, scikit
from tfnvp.sklearn import FlowOutlierDetector

pytestmark = pytest.mark.slow

CONTROLS = [name for name in detectors.METHODS if name != "tfnvp"]


def run(*arguments):
    ended = CliRunner().invoke(command_line.app, list(map(str, arguments)), catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


@pytest.fixture
def folder(tmp_path):
    """Two sets of 100 rows around 0 and 6 anomalies far out; the last column numbers the rows."""
    for seed, name in enumerate(("3_tiny.npz", "12_small.npz")):
        rows = np.random.default_rng(seed).normal(size=(106, 3))
        rows[100:] *= 15
        rows[:, 2] = np.arange(106)
        np.savez(tmp_path / name, X=rows, y=(np.arange(106) >= 100).astype("int32"))
    return tmp_path


def test_half_of_the_normal_rows_are_for_training(folder):
    split = data.split(folder / "3_tiny.npz", "semi", seed=0)
    assert split.train.shape == (50, 3)
    assert split.test.shape == (56, 3)
    assert split.labels.sum() == 6
    # Every row is in one part; anomalies have the last numbers.
    train, test = set(split.train[:, 2]), set(split.test[:, 2])
    assert len(train) == 50
    assert len(train | test) == 106
    assert min(split.test[split.labels == 1, 2]) > max(train)
    np.testing.assert_allclose(split.train.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(split.train.std(axis=0), 1)
    # Test rows are in the same units.
    np.testing.assert_allclose(np.ptp(np.diff(sorted(train | test))), 0, atol=1e-9)


def test_all_rows_are_for_training_and_test_without_supervision(folder):
    split = data.split(folder / "3_tiny.npz", "unsupervised", seed=0)
    assert split.test is split.train
    assert split.train.shape == (106, 3)
    assert split.labels[np.argsort(split.test[:, 2])].tolist() == [0] * 100 + [1] * 6


@pytest.mark.parametrize("setting", data.SETTINGS)
def test_the_seed_decides_on_the_rows(folder, setting):
    first, again, other = (
        data.split(folder / "3_tiny.npz", setting, seed, most_rows=80) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.test, again.test)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.train, other.train)
    assert len(first.test) + (first.test is not first.train) * len(first.train) == 80


def test_rows_without_anomalies_are_an_error(folder):
    with pytest.raises(ValueError, match="`most_rows` must leave an anomaly"):
        data.split(folder / "3_tiny.npz", "semi", seed=0, most_rows=1)


@pytest.mark.parametrize("setting", data.SETTINGS)
@pytest.mark.parametrize("method", CONTROLS)
def test_controls_score_anomalies_higher(folder, setting, method):
    # The mixture gives some of the outliers it is trained on a component.
    result = runs.measure(data.split(folder / "3_tiny.npz", setting, seed=0), method, seed=0)
    assert result["roc_auc"] > 0.75
    assert result["fit_seconds"] > 0
    assert result["versions"]["scikit-learn"]


@pytest.mark.parametrize("setting", data.SETTINGS)
def test_flows_score_by_minus_the_log_density(folder, monkeypatch, setting):
    quick = functools.partial(FlowOutlierDetector, couplings=2, hidden_units=(8,), steps=3)
    monkeypatch.setattr(flows, "FlowOutlierDetector", quick)
    split = data.split(folder / "3_tiny.npz", setting, seed=0)
    result = runs.measure(split, "tfnvp", seed=0)
    assert result["roc_auc"] > 0.95
    # Where there are anomalies among the training rows, there is more noise.
    assert result["noise"] < 0.5 if setting == "semi" else result["noise"] > 0.5
    assert result["steps"] == 3
    assert result["versions"]["tensorflow"]


def test_rows_of_infinite_score_are_the_most_unusual_ones(folder, monkeypatch):
    split = data.split(folder / "3_tiny.npz", "semi", seed=0)
    monkeypatch.setattr(
        scikit, "knn", lambda *arguments: (lambda _: np.where(split.labels, math.inf, 0.0), {})
    )
    assert runs.measure(split, "knn", seed=0)["roc_auc"] == 1.0


def test_a_row_is_not_its_own_neighbour():
    rows = np.random.default_rng(0).normal(size=(30, 2))
    distances = np.linalg.norm(rows[:, None] - rows, axis=-1)
    of_old, of_new = (scikit.knn(rows, 0, novelty)[0] for novelty in (False, True))
    np.testing.assert_allclose(of_old(rows), np.sort(distances, axis=1)[:, 5])
    # Of new rows the nearest one counts, even at distance 0.
    np.testing.assert_allclose(of_new(rows), np.sort(distances, axis=1)[:, 4])


def test_singular_rows_get_a_gaussian_with_shrinkage():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    assert scikit.mcd(rows, 0, True)[1] == {}
    rows[:, 2] = rows[:, 0]
    assert "shrinkage" in scikit.mcd(rows, 0, True)[1]["instead"]
    # The covariance of all rows is regular here, but those of the central half are singular, or 0.
    rows[:50, 2] = rows[:50, 0]
    rows[50:, 2] = 9 + np.arange(10) ** 2
    assert "shrinkage" in scikit.mcd(rows, 0, True)[1]["instead"]
    rows[:50] = 1.0
    assert "shrinkage" in scikit.mcd(rows, 0, True)[1]["instead"]


def test_runs_that_are_done_are_skipped(folder):
    output = folder / "results.jsonl"
    arguments = ["adbench", folder, "--settings", "semi", "--methods", "knn", "--output", output]
    run(*arguments, "--sets", "tiny")
    first = output.read_text()
    (folder / "4_bad.npz").write_bytes(b"no array")
    printed = run(*arguments, "--seeds", "0,1")
    assert output.read_text().startswith(first)
    lines = tables.read(output)
    assert sorted((line["set"], line["seed"]) for line in lines) == [
        ("small", 0), ("small", 1), ("tiny", 0), ("tiny", 1)
    ]  # fmt: skip
    assert "knn on bad, semi, left out: " in printed
    assert "| knn | **1.000** | **1.000** | **1.00** |" in printed
    # Fewer rows are another run.
    run(*arguments, "--sets", "tiny", "--most-rows", 105)
    assert tables.read(output)[-1]["most_rows"] == 105


@pytest.fixture
def lines():
    """Written by hand: three methods on two sets, and one set that a method lacks."""
    roc_aucs = {"a": {"x": (0.5, 0.7), "y": (0.8, 0.8)}, "b": {"x": (0.7, 0.9), "y": (0.9, 0.9)}}
    roc_aucs["c"] = {"x": (0.9, 0.9), "y": (0.9, 0.9), "z": (0.1,)}
    return [
        {"set": name, "setting": "semi", "method": method, "seed": seed, "roc_auc": value,
         "average_precision": value / 2, "fit_seconds": 10 * seed, "score_seconds": 1,
         "train_rows": 10, "test_rows": 20, "columns": 3, "anomalies": 4, "versions": {"l": "1"}}
        for method, sets in roc_aucs.items()
        for name, values in sets.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_tables_have_means_over_seeds_then_sets(lines):
    lines[0] |= {"instead": "something else"}
    # A run measured twice: the later result counts.
    lines = [lines[0] | {"roc_auc": 0.0}, *lines]
    text = tables.markdown(lines).splitlines()
    assert text[0] == "**semi**, sets: 2, without z, which not all methods have"
    assert text[4] == "| c | **0.900** | **0.450** | **1.25** | **5** | **5** |"
    assert text[5] == "| b | 0.850 | 0.425 | 1.75 | **5** | **5** |"
    assert text[6] == "| a | 0.700 | 0.350 | 3.00 | **5** | **5** |"
    assert text[10] == "| x | 20 | 3 | 4 | 0.600 (0.30) | 0.800 (0.40) | **0.900** (0.45) |"
    assert text[11] == "| y | 20 | 3 | 4 | 0.800 (0.40) | **0.900** (0.45) | **0.900** (0.45) |"
    assert text[13] == "a is something else on x."
    assert text[-1] == "l 1."


def test_tables_are_written_and_pictures_drawn(lines, tmp_path):
    path, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page.write_text("before\n<!-- table -->\n<!-- /table -->\nafter\n")
    run("adbench-table", path, "--write", page)
    assert "| c | **0.900** |" in page.read_text()
    run("adbench-plot", path, "--ranks", tmp_path / "ranks.png", "--roc", tmp_path / "roc.png")
    for name in ("ranks.png", "roc.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_ranks_and_their_differences():
    generator = np.random.default_rng(0)
    good = generator.uniform(0.7, 0.8, 20)
    # The third is the second with tiny changes, the others are worse on all sets.
    values = np.stack([good - 0.2, good, good + generator.normal(0, 1e-3, 20), good - 0.3], axis=1)
    values[0, 1] = values[0, 2]
    expected = 1 + (values[:, :, None] < values[:, None]).sum(axis=2).astype("float64")
    expected[0, 1:3] = 1.5
    np.testing.assert_allclose(ranks.mean_ranks(values), expected.mean(axis=0))
    raw = [
        stats.wilcoxon(values[:, i], values[:, j], zero_method="zsplit").pvalue
        for i, j in itertools.combinations(range(4), 2)
    ]
    p = ranks.p_values(values)
    # Of six pairs five differ. Holm's first factor is six, the last is one.
    np.testing.assert_allclose(p.min(), 6 * min(raw))
    np.testing.assert_allclose([p[1, 2], p[2, 1]], max(raw))
    assert p[0, [1, 2, 3]].max() < 0.05 < max(raw)
    assert [sorted(group) for group in ranks.groups(values)] == [[1, 2]]


def test_groups_are_as_large_as_they_can_be():
    values = np.random.default_rng(0).uniform(0.7, 0.8, (20, 3))
    assert [sorted(group) for group in ranks.groups(values)] == [[0, 1, 2]]
