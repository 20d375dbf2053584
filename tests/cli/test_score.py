"""`tfnvp score`, and tables in `evaluate`, `sample`, `records` and `train`."""

import json
import re
import shutil

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import csv, parquet

import tfnvp
from tests.command_line import run
from tests.conftest import perturb
from tests.test_scoring import NAMES, people, write
from tfnvp import data, scoring
from tfnvp.cli.loading import load_data_of
from tfnvp.cli.options import Source
from tfnvp.data import table_values, tables
from tfnvp.evaluation import evaluate
from tfnvp.runs import card as run_card
from tfnvp.runs.data_of_run import checksums
from tfnvp.runs.folder import RunFolder, load_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A run folder with the model and the reference of a table, without a training."""
    folder = tmp_path_factory.mktemp("run")
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.adapt(people(1000, 0))
    made = RunFolder(folder)
    made.save_model(perturb(flow, 0.1))
    made.write_reference(scoring.make_reference(flow, people(100, 1), NAMES))
    return folder


def test_training_on_records_keeps_columns_and_a_reference(tmp_path, capsys, monkeypatch, eagerly):
    # Signatures are exported in the tests of flows and of exports.
    monkeypatch.setattr(tfnvp.Flow, "export", lambda flow, path, card: path)
    table = write(tmp_path / "people.csv", people(1000, 0), key=np.arange(1000))
    records, made = tmp_path / "records", tmp_path / "run"
    assert run("records", records, "--table", table, "--columns", ",".join(NAMES)) == 0
    options = ["--set", "couplings=2", "--set", "hidden_units=[8]", "--epochs", 1]
    places = ["--output", made, "--saved-models", tmp_path / "saved"]
    assert run("train", "--records", records, *options, *places) == 0
    # A sixteenth of the training rows, the default of small tables.
    assert RunFolder(made).config()["batch_size"] == 49
    reference = scoring.read_reference(made)
    splits = data.read_records(records)
    assert reference.columns == splits.columns == NAMES
    flow = load_model(made)
    expected = np.sort(flow.log_prob(splits.validation))
    np.testing.assert_allclose(reference.log_density, expected, rtol=1e-5)
    capsys.readouterr()
    assert run("evaluate", made, "--records", records, "--json") == 0
    nats = json.loads(capsys.readouterr().out)["nats"]
    assert nats == pytest.approx(RunFolder(made).metrics()["test"]["nats"], rel=1e-5)
    assert run("evaluate", made, "--records", records, "--split", "train") == 2
    assert run("evaluate", made) == 0
    capsys.readouterr()

    # Rows of the training look too usual.
    new = write(tmp_path / "new.csv", people(100, 7))
    training = f"{len(splits.train) / 1000:.0%} of the rows of {table} are training rows"
    for command in (["score", made], ["evaluate", made, "--table"]):
        assert run(*command, table) == 0
        assert training in capsys.readouterr().err
        assert run(*command, new) == 0
        assert "training rows" not in capsys.readouterr().err
    assert run("score", made, new, "--reference", table) == 0
    assert training in capsys.readouterr().err
    # As in reports.
    own = write(tmp_path / "own.csv", splits.train.take(300))
    with pytest.warns(UserWarning, match="100% of the rows of test of own are training rows"):
        assert len(load_data_of(made, flow, Source(table=own)).test) == 30

    card = run_card.read_card(made, "bfloat16")
    assert card["Columns of x, in this order"] == "height, weight, age"
    assert "float32 weights" in card["Test likelihood"]["measured with"]
    assert "measured with" not in run_card.read_card(made)["Test likelihood"]
    outliers = card["Outliers"]
    assert 106 in outliers.values()
    assert (
        outliers["share of usual rows below, 95 % interval for so many rows"] == "0.00024 to 0.034"
    )
    assert outliers["which is a quantile of at most"] == 0.01
    rows = people(400, 3)
    rows[:20] *= 3
    scores = scoring.score(flow, rows, reference)
    below = outliers["a row is an outlier where its log_prob is below"]
    np.testing.assert_array_equal(scores.log_density < below, scores.outlier)
    # Not the data set that the recipe was made for.
    assert card["Training"]["description"] == "the recipe realnvp-table, on people"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_scored_tables_keep_rows_and_columns(model_folder, tmp_path, capsys, suffix):
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
    assert run("score", model_folder, table, "--output", scored, "--threshold", 0.02) == 0
    out = capsys.readouterr().out
    assert "rows without score, for values that are missing, infinite or text: 1" in out
    assert f"scores in {scored}" in out
    assert "of usual rows, 0.24% to 5.45% are flagged (95 % interval)" in out

    result = tables.read_table(scored)
    assert tuple(result.column_names) == (*names, "log_density", "quantile", "outlier")
    assert result["name"].to_pylist() == list("abcdef")
    log_density = result["log_density"].to_pylist()
    assert log_density[1] is None
    assert result["outlier"].to_pylist() == [False, None, False, False, True, False]
    whole = [0, 2, 3, 4, 5]
    expected = load_model(model_folder).log_prob(rows[whole])
    np.testing.assert_allclose([log_density[i] for i in whole], expected, rtol=1e-4)

    # Scoring what was scored replaces the scores.
    assert run("score", model_folder, scored, "--output", scored) == 2
    assert "exists already: `--force` replaces it" in capsys.readouterr().err
    assert run("score", model_folder, scored, "--output", scored, "--json", "--force") == 0
    assert tables.read_table(scored).num_columns == result.num_columns
    summary = json.loads(capsys.readouterr().out)
    assert summary["rows"] == 6
    assert summary["skipped"] == 1
    assert summary["reference_rows"] == 100
    # By one of 100 rows: Beta(1, 100).
    np.testing.assert_allclose(summary["flagged_share"], [0.00025, 0.0362], atol=1e-4)


def test_texts_among_numbers_have_no_score(model_folder, tmp_path, capsys):
    rows = people(9, 4)
    heights = [f"{height:.3f}" for height in rows[:, 0]]
    table = write(tmp_path / "a.csv", rows[:, 1:], NAMES[1:], height=["?", *heights[1:]])
    assert run("score", model_folder, table, "--output", tmp_path / "b.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    result = tables.read_table(tmp_path / "b.csv")
    assert result["height"].to_pylist() == ["?", *heights[1:]]
    assert result["log_density"].to_pylist()[0] is None
    assert None not in result["log_density"].to_pylist()[1:]


def strict(text):
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_rows_beyond_float32_are_counted(model_folder, tmp_path, capsys):
    rows = people(5, 4)
    rows[2, 0] = 1e30
    table = write(tmp_path / "a.csv", rows, NAMES)
    assert run("score", model_folder, table) == 0
    out = capsys.readouterr().out
    assert "log-density -inf, left out of the mean: 1, the first is row 3" in out
    assert run("score", model_folder, table, "--json", "--output", tmp_path / "b.csv") == 0
    summary = strict(capsys.readouterr().out)
    assert (summary["without_density"], summary["skipped"]) == (1, 0)
    assert np.isfinite(summary["mean_log_density"])
    assert run("score", model_folder, table, "--json") == 0
    far = strict(capsys.readouterr().out)["scores"][2]
    assert (far["log_density"], far["outlier"]) == (None, True)
    assert run("evaluate", model_folder, "--table", table, "--json") == 0
    captured = capsys.readouterr()
    assert strict(captured.out)["nats"] is None
    assert "1 of 5 rows have the log-density -inf, the first is row 3" in captured.err


def test_a_table_without_a_row_to_score(model_folder, tmp_path, capsys):
    table = write(tmp_path / "a.csv", np.full((3, 3), np.nan), NAMES)
    assert run("score", model_folder, table) == 0
    out = capsys.readouterr().out
    assert "no row has a score" in out
    assert "outliers" not in out
    assert "least likely" not in out
    usual = write(tmp_path / "usual.csv", people(3, 4), NAMES)
    assert run("score", model_folder, usual, "--reference", table) == 2
    assert re.search(r"a.csv must hold rows.*: 3 rows, none", capsys.readouterr().err)


def test_columns_with_the_names_of_scores_are_not_lost(model_folder, tmp_path, capsys):
    labels = pyarrow.array(["fraud", "ok", "ok"])
    table = write(tmp_path / "a.csv", people(3, 4), outlier=labels)
    assert run("score", model_folder, table, "--output", tmp_path / "b.csv") == 2
    assert "has a column 'outlier' of its own" in capsys.readouterr().err
    assert not (tmp_path / "b.csv").exists()
    assert run("score", model_folder, table) == 0


def test_scores_for_machines(model_folder, tmp_path, capsys):
    rows = people(3, 4)
    rows[2, 0] = np.inf
    assert (
        run("score", model_folder / "model.keras", write(tmp_path / "a.parquet", rows), "--json")
        == 0
    )
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert [set(row) for row in scores] == [{"log_density", "quantile", "outlier"}] * 3
    assert scores[2] == {"log_density": None, "quantile": None, "outlier": None}


def test_columns_that_make_rows_unusual_are_named(model_folder, tmp_path, capsys):
    rows = people(4, 4)
    rows[1] = [170.0, 65_000.0, 9.0]
    rows[3, 0] = np.nan
    table, scored = tmp_path / "new.csv", tmp_path / "scored.csv"
    write(table, rows[:, ::-1], NAMES[::-1])
    assert run("score", model_folder, table, "-o", scored) == 0
    # What was scored before, too.
    again = tmp_path / "explained.csv"
    assert run("score", model_folder, scored, "--explain", 2, "-o", again) == 0
    found = tables.read_table(again)
    kinds = ("column", "gain", "value")
    names = [f"explain_{number}_{kind}" for number in (1, 2) for kind in kinds]
    assert found.column_names[3:] == ["log_density", "quantile", "outlier", *names]
    gains, values = scoring.replacement_gains(load_model(model_folder), rows)
    whole = [0, 1, 2]
    order = np.argsort(-gains[whole], axis=1)
    for i in range(2):
        column, gain, value = (found[name].to_pylist() for name in names[3 * i : 3 * i + 3])
        assert column == [*np.array(NAMES)[order[:, i]], ""]
        np.testing.assert_allclose(gain[:3], gains[whole, order[:, i]], rtol=1e-3)
        np.testing.assert_allclose(value[:3], values[whole, order[:, i]], rtol=1e-3)
        assert gain[3] is value[3] is None
    assert found["explain_1_column"][1].as_py() == "age"
    line = f"age {values[1, 2]:.6g} (+{gains[1, 2]:.2f})"
    assert line in capsys.readouterr().out.replace("\n", " ")
    assert run("score", model_folder, table, "--explain", 9, "--json") == 0
    listed = json.loads(capsys.readouterr().out)["scores"]
    assert [len(row) for row in listed] == [3 + 3 * len(NAMES)] * 4
    assert listed[1]["explain_1_column"] == "age"


def test_a_model_without_reference(model_folder, tmp_path, capsys):
    flow = load_model(model_folder)
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
        (NAMES, ["--threshold", "0.001"], "`--threshold` must lie between"),
        (NAMES, ["--output", "scored.txt"], "`--output` must end in"),
        (NAMES, ["--output", "nowhere/scored.csv"], "no folder nowhere"),
    ],
)
def test_bad_use(model_folder, tmp_path, capsys, names, options, message):
    table = write(tmp_path / "new.csv", people(3, 7), names)
    assert run("score", model_folder, table, *options) == 2
    assert message in capsys.readouterr().err


def test_evaluation_finds_columns_by_name_and_takes_every_row(model_folder, tmp_path, capsys):
    rows = people(7, 8)
    names = np.array(["x"] * 7)
    write(tmp_path / "right.csv", rows)
    write(tmp_path / "turned.csv", rows[:, ::-1], NAMES[::-1], label=pyarrow.array(names))
    results = []
    for name in ("right.csv", "turned.csv"):
        assert run("evaluate", model_folder, "--table", tmp_path / name, "--json") == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0] == results[1]
    assert results[0]["rows"] == 7
    expected = load_model(model_folder).log_prob(rows).numpy().mean()
    assert results[0]["nats"] == pytest.approx(expected, rel=1e-5)
    assert run("evaluate", model_folder, "--table", write(tmp_path / "other.csv", rows, "abc")) == 2
    rows[3, 1] = np.nan
    assert run("evaluate", model_folder, "--table", write(tmp_path / "hole.csv", rows)) == 2
    assert "the first in row 4" in capsys.readouterr().err
    assert run("evaluate", model_folder, "--table", tmp_path / "hole.csv", "--skip-bad") == 0
    assert "1 of 7 rows" in capsys.readouterr().err
    assert (
        run(
            "evaluate", model_folder, "--table", write(tmp_path / "no.csv", rows[3:4]), "--skip-bad"
        )
        == 2
    )
    assert "leaves such rows out" not in capsys.readouterr().err


def test_only_a_divided_table_is_evaluated_on_its_test_rows(model_folder, tmp_path, capsys):
    rows = people(40, 8)
    np.savez(tmp_path / "one.npz", rows=rows)
    np.savez(tmp_path / "three.npz", train=rows[:30], validation=rows[30:33], test=rows[33:])
    for name, options, expected in (
        ("one", [], 40),
        ("three", [], 7),
        ("three", ["--all-rows"], 40),
    ):
        table = ["--table", tmp_path / f"{name}.npz", "--columns", "0,1,2"]
        assert run("evaluate", model_folder, *table, *options, "--json") == 0
        assert json.loads(capsys.readouterr().out)["rows"] == expected


def test_every_command_finds_columns_by_name(model_folder, tmp_path, capsys, monkeypatch):
    rows, reported = people(30, 8), []
    monkeypatch.setattr("tfnvp.report.write_report", lambda *given: reported.append(given[2]))
    label = pyarrow.array(["x"] * 30)
    write(tmp_path / "right.csv", rows)
    write(tmp_path / "turned.csv", rows[:, ::-1], NAMES[::-1], label=label)
    write(tmp_path / "renamed.csv", rows[:, ::-1], "abc", label=label)
    results = []
    for name in ("right.csv", "turned.csv", "renamed.csv"):
        table = tmp_path / name
        columns = ["--columns", "c,b,a"] if name == "renamed.csv" else []
        assert run("report", model_folder, "--table", table, *columns) == 0
        capsys.readouterr()
        for command in (
            ["evaluate", model_folder, "--split", "test", "--table"],
            ["evaluate", model_folder, "--table"],
            ["score", model_folder],
        ):
            assert run(*command, table, *columns, "--json") == 0
            results.append(json.loads(capsys.readouterr().out))
    assert results[:3] == results[3:6] == results[6:]
    for splits in reported:
        np.testing.assert_array_equal(splits.test, reported[0].test)
    assert [splits.columns for splits in reported] == [NAMES, NAMES, tuple("cba")]
    # Rows of a stream are not turned.
    assert (
        run(
            "records",
            "turned",
            "--table",
            tmp_path / "turned.csv",
            "--columns",
            "age,weight,height",
        )
        == 0
    )
    assert run("evaluate", model_folder, "--records", "turned") == 2
    assert "turned must have the model's columns ['height'" in capsys.readouterr().err


@pytest.mark.parametrize("division", ["content", None])
def test_changed_data_of_a_run_is_not_its_test_data(tmp_path, capsys, monkeypatch, division):
    monkeypatch.chdir(tmp_path)
    table, made = write(tmp_path / "people.csv", people(300, 0)), RunFolder("run")
    made.path.mkdir()
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    flow.adapt(people(1000, 0))
    made.save_model(flow)
    splits = data.load_table("people.csv", division=division)
    config = {"dataset": "people", "source_of_data": {"table": "people.csv"}}
    config |= {**checksums(splits), "division": division}
    if division is None:  # As older versions wrote it.
        config = {k: v for k, v in config.items() if k not in ("division", "held_out_crc32")}
    made.write_config(config)
    monkeypatch.setattr("tfnvp.report.write_report", lambda *given: None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")

    def evaluated(*options):
        capsys.readouterr()
        assert run("evaluate", tmp_path / "run", *options, "--json") == 0
        return json.loads(capsys.readouterr().out)

    before = evaluated()
    assert before["rows"] == len(splits.test)
    header, *lines = table.read_text().splitlines()
    for changed, is_same in ((sorted(lines), division == "content"), ([*lines, "170,65,4"], False)):
        table.write_text("\n".join([header, *changed]))
        assert evaluated("--all-rows")["rows"] == len(changed)
        if is_same:
            assert evaluated() == before
            continue
        for command in (["evaluate"], ["evaluate", "--split", "validation"], ["report"]):
            assert run(command[0], tmp_path / "run", *command[1:]) == 2
            error = capsys.readouterr().err
            assert "people is no longer the data that" in error
            assert ("stand in another order" in error) == (division is None)
            assert "--all-rows" in error
        # Divided by contents, it has no row of the training among those for test.
        named = ["evaluate", tmp_path / "run", "--table", table, "--split", "test"]
        assert run(*named) == (2 if division is None else 0)
        shutil.copy(table, "other.csv")
        assert run(*named[:3], "other.csv", "--split", "test") == 0
    assert run("evaluate", tmp_path / "run", "--all-rows", "--split", "test") == 2


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_samples_of_tables_are_tables(model_folder, tmp_path, suffix):
    drawn = tmp_path / f"drawn{suffix}"
    assert run("sample", model_folder, "-n", 6, "--seed", 1, "-o", drawn) == 0
    table = tables.read_table(drawn)
    assert tuple(table.column_names) == NAMES
    expected = load_model(model_folder).sample(6, seed=1)
    np.testing.assert_allclose(table_values.rows_of_table(table), expected, rtol=1e-5)


def test_samples_of_tables_are_not_pictures(model_folder, tmp_path, capsys):
    assert run("sample", model_folder, "-o", tmp_path / "drawn.png") == 2
    assert "ends in .csv, .parquet or .npy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "realnvp-digits"], "is for pixels"),
        (["--set", "foo=1"], "has no option 'foo': it has couplings"),
        (["--columns", "height,hight"], "lacks the columns ['hight']"),
    ],
)
def test_bad_options_of_trainings_are_refused(tmp_path, capsys, arguments, message):
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


def test_images_are_scored_by_name(scans_run, scans, tmp_path, capsys):
    folder = tmp_path / "new"
    (folder / "deeper").mkdir(parents=True)
    for i, file in enumerate(sorted(scans.iterdir())[:3]):
        Image.open(file).resize((8, 8), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    (folder / "0.png").rename(folder / "deeper" / "z.png")
    (folder / "broken.png").write_text("")
    (folder / "notes.txt").write_text("")
    made, scored = scans_run.path, tmp_path / "scored.csv"
    assert run("score", made, "--images", folder) == 2
    assert "broken.png is not a readable image" in capsys.readouterr().err
    options = ["--images", folder, "--skip-bad"]
    assert run("score", made, *options, "-o", scored) == 0
    captured = capsys.readouterr()
    assert "1 of 4 images in" in captured.err
    assert f"1 of 5 files in {folder} are not read, by their types (1 .txt)" in captured.err
    assert f"3 images of {folder}, log-density" in captured.out
    assert "give --reference DIR" in captured.out
    table = tables.read_table(scored)
    assert table.column_names == ["file", "log_density", "bits_per_dim"]
    assert table["file"].to_pylist() == ["1.png", "2.png", "deeper/z.png"]
    flow = load_model(made)
    rows = data.images.ImageFolder(folder, skip_bad=True, levels=2, event_shape=(4, 4, 1)).rows()
    expected = np.array([evaluate(flow, rows).nats * 3, table["log_density"].to_numpy().sum()])
    np.testing.assert_allclose(*expected, rtol=1e-5)
    bits = flow.bits_per_dim(table["log_density"].to_numpy())
    np.testing.assert_allclose(table["bits_per_dim"], bits, rtol=1e-5)

    assert run("score", made, *options, "--reference", scans, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["reference_rows"]) == (3, 20)
    names = {"file", "log_density", "bits_per_dim", "quantile", "outlier"}
    assert [set(row) for row in found["scores"]] == [names] * 3
    # The same noise in every call.
    again = [row["log_density"] for row in found["scores"]]
    np.testing.assert_allclose(again, table["log_density"], rtol=1e-6)


def test_flows_of_tables_score_no_images(model_folder, scans, capsys):
    assert run("score", model_folder, "--images", scans) == 2
    assert "is not a flow of images" in capsys.readouterr().err
    assert run("score", model_folder, "--images", scans, "--explain", 1) == 2
    assert "--explain names the columns of a table" in capsys.readouterr().err


def test_unused_columns_stay_as_they_are(model_folder, tmp_path):
    rows = people(3, 4)
    # Each would be a number, and lose its zeros and its last digits.
    keys = ["00212345678901234567", "08000", "123456789012345678901200"]
    lines = [",".join([key, *map(str, row)]) for key, row in zip(keys, rows, strict=True)]
    file = tmp_path / "new.csv"
    file.write_text("\n".join(["key,height,weight,age", *lines]))
    assert run("score", model_folder, file, "-o", tmp_path / "scored.csv") == 0
    scored = (tmp_path / "scored.csv").read_text().splitlines()[1:]
    assert [line.split(",")[0].strip('"') for line in scored] == keys
