"""Bounds of columns on the command line: training, samples, served samples, scores, resuming."""

import json

import numpy as np
import pytest
import tensorflow as tf
from pyarrow import csv

import tfnvp
from tests.cli.conftest import TINY
from tests.command_line import run
from tests.conftest import functions_eager
from tfnvp.cli.loading import bounds_in
from tfnvp.cli.options import Source
from tfnvp.runs import resuming
from tfnvp.runs.folder import RunFolder, load_model

pytestmark = pytest.mark.usefixtures("eagerly")
BOUNDS = ["--bounds", "rain=0:", "--bounds", "share=0:1"]


@pytest.fixture
def weather(tmp_path):
    """A table of which a tenth of the rows is dry: exactly on a bound."""
    rng, file = np.random.default_rng(0), tmp_path / "weather.csv"
    rain = np.where(rng.uniform(size=400) < 0.1, 0.0, rng.gamma(0.5, 1e-9, size=400))
    columns = [rain, rng.beta(0.5, 0.5, size=400).clip(1e-3, 0.999), rng.normal(size=400)]
    lines = [",".join(map(repr, map(float, row))) for row in zip(*columns, strict=True)]
    file.write_text("\n".join(["rain,share,temperature", *lines]))
    return file


def test_a_table_with_bounds_from_training_to_scores(weather, tmp_path, capsys, monkeypatch):
    healthy = tfnvp.Flow.export

    def export(flow, path, card):
        # All signatures take longer.
        with functions_eager(False):
            return healthy(flow, path, card=card, signatures=["sample"], warmup=())

    monkeypatch.setattr(tfnvp.Flow, "export", export)
    made = tmp_path / "run"
    train = ["train", "--table", weather, *TINY, "--epochs", 1, "--output", made]
    train += ["--saved-models", tmp_path / "saved"]
    assert run(*train, *BOUNDS) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "column 'rain' must be above 0. Received: 0 in row " in error
    assert "leave them out (`--skip-bad` for a table" in error
    assert run(*train, *BOUNDS, "--skip-bad") == 0
    warning = capsys.readouterr().err
    assert "(10.50%) are not, 42 of them exactly 0. These rows are left out" in warning
    assert "an atom, which no density describes" in warning
    config = RunFolder(made).config()
    assert config["bounds"] == {"rain": [0.0, None], "share": [0.0, 1.0]}
    assert config["source_of_data"]["bounds"] == "rain=0:,share=0:1"
    assert "{'rain': [0.0, None], " in (tmp_path / "saved/run/1/model_card.md").read_text()
    assert load_model(made).bounds == [(0.0, None), (0.0, 1.0), None]

    drawn = tmp_path / "drawn.csv"
    assert run("sample", made, "-n", 200, "--temperature", 50, "-o", drawn) == 0
    table = csv.read_csv(drawn).to_pydict()
    assert list(table) == ["rain", "share", "temperature"]
    assert min(table["rain"]) > 0
    assert 0 < min(table["share"]) < max(table["share"]) < 1
    assert run("sample", made, "--round", "temperature, rain", "--force", "-o", drawn) == 0
    whole = csv.read_csv(drawn)
    assert [str(kind) for kind in whole.schema.types] == ["int64", "double", "int64"]
    assert min(whole["rain"].to_pylist()) == 1
    assert run("sample", made, "--round", "share", "--force", "-o", drawn) == 2
    assert "no whole number is strictly between the bounds 0 and 1" in capsys.readouterr().err

    served = tf.saved_model.load(str(tmp_path / "saved/run/1")).signatures["sample"]
    hot = {"seed": tf.constant([1, 2]), "temperature": tf.constant(100.0)}
    x = served(num_samples=tf.constant(500), **hot)["x"].numpy()
    assert (x > [0, 0, -np.inf]).all()
    assert (x < [np.inf, 1, np.inf]).all()

    new = tmp_path / "new.csv"
    new.write_text("rain,share,temperature\n,0.5,0\n1e-9,0.5,0\n0,0.5,0\n1e-9,1.5,0\n")
    capsys.readouterr()
    assert run("score", made, new, "-o", tmp_path / "scored.csv") == 0
    printed = capsys.readouterr()
    assert "left out of the mean: 2, the first is row 3" in printed.out
    fault = f"{new}: column 'rain' must be above 0. Received: 0 in row 3; 1 of 4 values"
    assert (printed.err.count(fault), "variable" in printed.err) == (1, False)
    assert run("evaluate", made, "--table", new, "--skip-bad") == 0
    error = capsys.readouterr().err
    assert (error.count(fault), "variable" in error) == (1, False)
    scored = csv.read_csv(tmp_path / "scored.csv")["outlier"].to_pylist()
    assert scored == [None, False, True, True]

    # The rows of training again, without those on bounds.
    assert run("evaluate", made, "--json") == 0
    nats = json.loads(capsys.readouterr().out)["nats"]
    assert nats == pytest.approx(RunFolder(made).metrics()["test"]["nats"], rel=1e-5)
    with pytest.raises(ValueError, match="bounds was"):
        resuming.check_same(RunFolder(made), {**config, "bounds": {"rain": (0, 1)}})


def test_bounds_are_read_from_texts():
    assert bounds_in(None) == {}
    assert bounds_in("a=b=-1.5:1e3, rain = :0") == {"a=b": (-1.5, 1000.0), "rain": (None, 0.0)}
    assert Source(table="t.csv", bounds=["a=0:", "b=:1"]).bounds == "a=0:,b=:1"
    assert Source(bounds=[]).given == {}


@pytest.mark.parametrize("text", ["rain", "rain=", "rain=:", "rain=0", "rain=0:1:2", "=x:1", "0:1"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="--bounds must be NAME=LOW:HIGH"):
        bounds_in(text)


def test_columns_have_bounds_once_and_tables_and_records_alone():
    with pytest.raises(ValueError, match="twice: 'rain'"):
        bounds_in("rain=0:,rain=:1")
    with pytest.raises(ValueError, match="--bounds are those of a --table or of --records"):
        Source(bounds=["rain=0:"])
    assert Source(records="big", bounds=["rain=0:"]).bounds == "rain=0:"
