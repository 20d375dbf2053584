import json
import re

import numpy as np
import pyarrow
import pytest
from pyarrow import csv, parquet
from scipy import stats

import tfnvp
from tests.cli.test_command_line import run
from tests.conftest import perturb
from tfnvp import data, scoring
from tfnvp.runs import card as run_card
from tfnvp.runs import folder as run_folder

NAMES = ("height", "weight", "age")


def people(n, seed):
    """Rows in very different units."""
    normal = np.random.default_rng(seed).normal(size=(n, 3))
    return (normal * [10.0, 1000.0, 0.1] + [170.0, 65_000.0, 4.0]).astype("float32")


def write(path, rows, names=NAMES, **columns):
    table = pyarrow.table(dict(zip(names, rows.T, strict=True)) | columns)
    (csv.write_csv if path.suffix == ".csv" else parquet.write_table)(table, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder of a flow trained on a table, by the command line."""
    folder = tmp_path_factory.mktemp("scoring")
    table = write(folder / "people.csv", people(1000, 0))
    arguments = ["--set", "couplings=2", "--set", "hidden_units=[8]", "--epochs", 2, "--json"]
    places = ["--output", folder / "run", "--saved-models", folder / "saved"]
    assert run("train", "--table", table, *arguments, *places) == 0
    # A sixteenth of the training rows, as nobody said otherwise.
    assert run_folder.read_config(folder / "run")["batch_size"] == 50
    return folder / "run"


def test_log_density_is_in_the_units_of_the_data():
    # Untrained couplings are the identity: what remains is the standardisation, by hand here.
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    x = people(500, 0)
    flow.adapt(x)
    new = people(5, 1)
    expected = stats.norm.logpdf(new, x.mean(0), x.std(0)).sum(1)
    np.testing.assert_allclose(scoring.score(flow, new).log_density, expected, rtol=1e-4)


def test_quantiles_count_the_reference():
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    usual = flow.sample(99, seed=0).numpy()
    reference = scoring.make_reference(flow, usual)
    rows = np.concatenate([usual[:3], [[50.0, 50.0], [np.nan, 0.0], [0.0, np.inf]]])
    scores = scoring.score(flow, rows, reference, threshold=0.05)
    below = [(reference.log_density <= s).sum() for s in scores.log_density[:3]]
    np.testing.assert_allclose(scores.quantile[:3], (np.array(below) + 1) / 100)
    assert scores.quantile[3] == pytest.approx(0.01)
    assert scores.outlier.tolist()[3:] == [True, False, False]
    assert np.isnan(scores.log_density[4:]).all()
    assert np.isnan(scores.quantile[4:]).all()
    assert scores.skipped == 2


def test_few_usual_rows_are_flagged_whatever_was_learned():
    flow = perturb(tfnvp.RealNVP(3, couplings=2, hidden_units=(8,)))
    generator = np.random.default_rng(0)
    reference = scoring.make_reference(flow, generator.normal(size=(2000, 3)).astype("float32"))
    scores = scoring.score(flow, generator.normal(size=(4000, 3)), reference, threshold=0.1)
    assert abs(scores.outlier.mean() - 0.1) < 0.025  # Three standard deviations of both samples.


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.37])
def test_rows_below_the_cut_are_those_flagged(threshold):
    flow = perturb(tfnvp.RealNVP(2, couplings=2, hidden_units=(8,)))
    generator = np.random.default_rng(0)
    reference = scoring.make_reference(flow, generator.normal(size=(39, 2)).astype("float32"))
    scores = scoring.score(flow, 2 * generator.normal(size=(500, 2)), reference, threshold)
    assert 0 < scores.outlier.sum() < 500
    np.testing.assert_array_equal(scores.log_density < reference.cut(threshold), scores.outlier)


def test_thresholds_that_the_reference_cannot_tell():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    reference = scoring.make_reference(flow, np.zeros((19, 2), "float32"))
    assert scoring.score(flow, np.zeros((1, 2)), reference).threshold == 0.05
    for threshold in (0.04, 1.0, float("nan")):
        with pytest.raises(ValueError, match="`threshold` must lie between"):
            scoring.score(flow, np.zeros((1, 2)), reference, threshold)
    with pytest.raises(ValueError, match="`rows` must have the shape"):
        scoring.score(flow, np.zeros((1, 3)))


def test_large_references_are_thinned_evenly():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    rows = np.random.default_rng(0).normal(size=(30_000, 2)).astype("float32")
    kept = scoring.make_reference(flow, rows).log_density
    everything = flow.log_prob(rows).numpy()
    assert len(kept) == 10_000
    for share in (0.001, 0.5, 0.9):
        np.testing.assert_allclose(
            (everything <= np.quantile(kept, share)).mean(), share, atol=2e-4
        )


def test_training_stores_its_reference(trained):
    reference = scoring.read_reference(trained)
    splits = data.load_table(trained.parent / "people.csv")
    assert reference.columns == splits.columns == NAMES
    flow = run_folder.load_model(trained)
    expected = np.sort(flow.log_prob(splits.validation))
    np.testing.assert_allclose(reference.log_density, expected, rtol=1e-5)


def test_the_card_tells_columns_and_what_is_unusual(trained):
    card = run_card.read_card(trained, "bfloat16")
    assert card["Columns of x, in this order"] == "height, weight, age"
    assert "float32 weights" in card["Test likelihood"]["measured with"]
    assert "measured with" not in run_card.read_card(trained)["Test likelihood"]
    outliers = card["Outliers"]
    assert outliers["of so many validation rows"] == 100
    assert outliers["which is a quantile of at most"] == 0.01
    flow = run_folder.load_model(trained)
    rows = people(400, 3)
    rows[:20] *= 3
    scores = scoring.score(flow, rows, scoring.read_reference(trained))
    below = outliers["a row is an outlier where its log_prob is below"]
    np.testing.assert_array_equal(scores.log_density < below, scores.outlier)
    # Of other data than the recipe was made for, it does not say the recipe's.
    assert card["Training"]["description"] == "the recipe realnvp-table, on people"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scored_tables_keep_rows_and_columns(trained, tmp_path, capsys, suffix):
    rows = people(6, 9)
    rows[1, 2] = np.nan
    rows[4] = [900.0, 0.0, 4.0]
    # Another order of columns, and one more that the flow does not know.
    names = ("age", "name", "height", "weight")
    columns = {"age": rows[:, 2], "name": list("abcdef")}
    columns |= {"height": rows[:, 0], "weight": rows[:, 1]}
    table = tmp_path / f"new{suffix}"
    (csv.write_csv if suffix == ".csv" else parquet.write_table)(pyarrow.table(columns), table)
    scored = tmp_path / f"scored{suffix}"
    assert run("score", trained, table, "--output", scored, "--threshold", 0.02) == 0
    out = capsys.readouterr().out
    assert "rows without score, for values that are missing, infinite or text: 1" in out
    assert f"scores in {scored}" in out

    result = data.table_files.read_table(scored)
    assert tuple(result.column_names) == (*names, "log_density", "quantile", "outlier")
    assert result["name"].to_pylist() == list("abcdef")
    log_density = result["log_density"].to_pylist()
    assert log_density[1] is None
    assert result["outlier"].to_pylist() == [False, None, False, False, True, False]
    whole = [0, 2, 3, 4, 5]
    expected = run_folder.load_model(trained).log_prob(rows[whole])
    np.testing.assert_allclose([log_density[i] for i in whole], expected, rtol=1e-4)

    # Scoring what was scored replaces the scores.
    assert run("score", trained, scored, "--output", scored, "--json") == 0
    assert data.table_files.read_table(scored).num_columns == result.num_columns
    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == 6
    assert summary["skipped"] == 1
    assert summary["reference_rows"] == 100


def test_texts_among_numbers_have_no_score(trained, tmp_path, capsys):
    rows = people(9, 4)
    heights = [f"{height:.3f}" for height in rows[:, 0]]
    table = write(tmp_path / "a.csv", rows[:, 1:], NAMES[1:], height=["?", *heights[1:]])
    assert run("score", trained, table, "--output", tmp_path / "b.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    result = data.table_files.read_table(tmp_path / "b.csv")
    assert result["height"].to_pylist() == ["?", *heights[1:]]
    assert result["log_density"].to_pylist()[0] is None
    assert None not in result["log_density"].to_pylist()[1:]


def test_rows_without_score_are_no_reference():
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(8,))
    rows = np.random.default_rng(0).normal(size=(99, 2)).astype("float32")
    gaps = np.full((900, 2), np.nan, "float32")
    with pytest.warns(UserWarning, match="900 of 999 rows of usual.csv are left out"):
        reference = scoring.make_reference(flow, np.concatenate([gaps, rows]), source="usual.csv")
    assert len(reference.log_density) == 99
    expected = scoring.make_reference(flow, rows).log_density
    np.testing.assert_allclose(reference.log_density, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="finite numbers"):
        scoring.make_reference(flow, gaps)


def strict(text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_rows_beyond_float32_are_told_and_counted(trained, tmp_path, capsys):
    rows = people(5, 4)
    rows[2, 0] = 1e30
    table = write(tmp_path / "a.csv", rows, NAMES)
    assert run("score", trained, table) == 0
    out = capsys.readouterr().out
    assert "log-density -inf, left out of the mean: 1, the first is row 3" in out
    assert run("score", trained, table, "--json", "--output", tmp_path / "b.csv") == 0
    summary = strict(capsys.readouterr().out)
    assert (summary["without_density"], summary["skipped"]) == (1, 0)
    assert np.isfinite(summary["mean_log_density"])
    assert run("score", trained, table, "--json") == 0
    far = strict(capsys.readouterr().out)["scores"][2]
    assert (far["log_density"], far["outlier"]) == (None, True)
    assert run("evaluate", trained, "--table", table, "--json") == 0
    captured = capsys.readouterr()
    assert strict(captured.out)["nats"] is None
    assert "1 of 5 rows have the log-density -inf, the first is row 3" in captured.err


def test_a_table_without_a_row_to_score(trained, tmp_path, capsys):
    table = write(tmp_path / "a.csv", np.full((3, 3), np.nan), NAMES)
    assert run("score", trained, table) == 0
    out = capsys.readouterr().out
    assert "no row has a score" in out
    assert "outliers" not in out
    assert "least likely" not in out
    usual = write(tmp_path / "usual.csv", people(3, 4), NAMES)
    assert run("score", trained, usual, "--reference", table) == 2
    assert re.search(r"a.csv must hold rows.*: 3 rows, none", capsys.readouterr().err)


def test_a_column_of_nothing_but_text_keeps_the_rows(trained, tmp_path, capsys):
    heights = pyarrow.array(["?", "unknown", "171.5"])
    table = write(tmp_path / "a.csv", people(3, 4)[:, 1:], NAMES[1:], height=heights)
    assert run("score", trained, table, "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [row["log_density"] is None for row in scores] == [True, True, False]
    none = pyarrow.array([None] * 3, pyarrow.float64())
    table = write(tmp_path / "b.parquet", people(3, 4)[:, 1:], NAMES[1:], height=none)
    assert run("score", trained, table) == 0
    assert "for values that are missing, infinite or text: 3" in capsys.readouterr().out


def test_columns_that_are_called_as_scores_are_not_lost(trained, tmp_path, capsys):
    labels = pyarrow.array(["fraud", "ok", "ok"])
    table = write(tmp_path / "a.csv", people(3, 4), outlier=labels)
    assert run("score", trained, table, "--output", tmp_path / "b.csv") == 2
    assert "has a column 'outlier' of its own" in capsys.readouterr().err
    assert not (tmp_path / "b.csv").exists()
    assert run("score", trained, table) == 0


def test_records_keep_the_names_of_columns(trained, tmp_path, capsys):
    table = write(tmp_path / "t.csv", people(60, 2), key=np.arange(60))
    records = tmp_path / "records"
    assert run("records", records, "--table", table, "--columns", ",".join(NAMES)) == 0
    assert data.read_records(records).columns == NAMES
    small = ["--set", "couplings=2", "--set", "hidden_units=[8]", "--epochs", 1]
    places = ["--output", tmp_path / "run", "--saved-models", tmp_path / "saved"]
    assert run("train", "--records", records, *small, *places) == 0
    turned = write(tmp_path / "turned.csv", people(9, 4)[:, ::-1], NAMES[::-1])
    capsys.readouterr()
    assert run("score", tmp_path / "run", turned, "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    expected = run_folder.load_model(tmp_path / "run").log_prob(people(9, 4))
    np.testing.assert_allclose([row["log_density"] for row in scores], expected, rtol=1e-4)
    assert data.table_columns(table) == (*NAMES, "key")


def test_scores_for_machines(trained, tmp_path, capsys):
    rows = people(3, 4)
    rows[2, 0] = np.inf
    assert run("score", trained / "model.keras", write(tmp_path / "a.parquet", rows), "--json") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [set(row) for row in scores] == [{"log_density", "quantile", "outlier"}] * 3
    assert scores[2] == {"log_density": None, "quantile": None, "outlier": None}


def test_a_model_without_reference(trained, tmp_path, capsys):
    flow = run_folder.load_model(trained)
    flow.save(tmp_path / "alone.keras")
    array = tmp_path / "rows.npy"
    np.save(array, people(4, 5))
    assert run("score", tmp_path / "alone.keras", array) == 0
    assert "give --reference" in capsys.readouterr().out
    usual = write(tmp_path / "usual.csv", people(50, 6))
    assert run("score", tmp_path / "alone.keras", array, "--reference", usual, "--json") == 0
    assert json.loads(capsys.readouterr().out)["reference_rows"] == 50


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("height", "weight", "years"), [], "lacks the columns ['age']"),
        (NAMES, ["--threshold", "0.001"], "`threshold` must lie between"),
        (NAMES, ["--output", "scored.txt"], "`--output` must end in"),
        (NAMES, ["--output", "nowhere/scored.csv"], "no folder nowhere"),
    ],
)
def test_bad_use(trained, tmp_path, capsys, names, options, message):
    table = write(tmp_path / "new.csv", people(3, 7), names)
    assert run("score", trained, table, *options) == 2
    assert message in capsys.readouterr().err


def test_evaluation_finds_columns_by_name_and_takes_every_row(trained, tmp_path, capsys):
    rows = people(7, 8)
    names = np.array(["x"] * 7)
    write(tmp_path / "right.csv", rows)
    write(tmp_path / "turned.csv", rows[:, ::-1], NAMES[::-1], label=pyarrow.array(names))
    results = []
    for name in ("right.csv", "turned.csv"):
        assert run("evaluate", trained, "--table", tmp_path / name, "--json") == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    assert results[0]["rows"] == 7
    expected = run_folder.load_model(trained).log_prob(rows).numpy().mean()
    assert results[0]["nats"] == pytest.approx(expected, rel=1e-5)
    assert run("evaluate", trained, "--table", write(tmp_path / "other.csv", rows, "abc")) == 2
    rows[3, 1] = np.nan
    assert run("evaluate", trained, "--table", write(tmp_path / "hole.csv", rows)) == 2
    assert "the first in row 4" in capsys.readouterr().err
    assert run("evaluate", trained, "--table", tmp_path / "hole.csv", "--skip-bad") == 0
    assert "1 of 7 rows" in capsys.readouterr().err
    assert (
        run("evaluate", trained, "--table", write(tmp_path / "no.csv", rows[3:4]), "--skip-bad")
        == 2
    )
    assert "leaves such rows out" not in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_of_tables_are_tables(trained, tmp_path, suffix):
    drawn = tmp_path / f"drawn{suffix}"
    assert run("sample", trained, "-n", 6, "--seed", 1, "-o", drawn) == 0
    table = data.table_files.read_table(drawn)
    assert tuple(table.column_names) == NAMES
    expected = run_folder.load_model(trained).sample(6, seed=1)
    np.testing.assert_allclose(data.table_numbers.rows_of_table(table), expected, rtol=1e-5)


def test_samples_of_tables_are_no_pictures(trained, tmp_path, capsys):
    assert run("sample", trained, "-o", tmp_path / "drawn.png") == 2
    assert "ends in .csv, .parquet or .npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "realnvp-digits"], "is for pixels"),
        (["--set", "foo=1"], "has no option 'foo': it has couplings"),
        (["--columns", "height,hight"], "lacks the columns ['hight']"),
    ],
)
def test_trainings_that_cannot_be_are_refused(tmp_path, capsys, arguments, message):
    table = write(tmp_path / "people.csv", people(20, 0))
    output = ["--output", tmp_path / "run", "--saved-models", tmp_path / "saved"]
    assert run("train", "--table", table, *arguments, *output) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_image_flows_score_no_tables(tmp_path, capsys):
    tfnvp.RealNVP((2, 2), couplings=2, hidden_units=(8,)).save(tmp_path / "image.keras")
    table = write(tmp_path / "new.csv", people(3, 7))
    assert run("score", tmp_path / "image.keras", table) == 2
    assert "is no flow of tables" in capsys.readouterr().err


def test_columns_that_the_model_does_not_use_stay_as_they_are(trained, tmp_path):
    rows = people(3, 4)
    # Each would be a number, and lose its zeros and its last digits.
    keys = ["00212345678901234567", "08000", "123456789012345678901200"]
    lines = [",".join([key, *map(str, row)]) for key, row in zip(keys, rows, strict=True)]
    file = tmp_path / "new.csv"
    file.write_text("\n".join(["key,height,weight,age", *lines]))
    assert run("score", trained, file, "-o", tmp_path / "scored.csv") == 0
    scored = (tmp_path / "scored.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0].strip('"') for line in scored] == keys
