"""Circular columns on the command line: training, samples, scores, resuming."""

import json

import numpy as np
import pytest
from pyarrow import csv

import tfnvp
from tests.cli.conftest import TINY
from tests.command_line import run
from tfnvp.cli.loading import bounds_in
from tfnvp.cli.options import Source
from tfnvp.runs import resuming
from tfnvp.runs.folder import RunFolder, load_model

pytestmark = pytest.mark.usefixtures("eagerly")
SPLINE = ["--set", "model=neural_spline", "--set", "bins=3"]
CIRCULAR = ["--circular", "phase=0:360", "--bounds", "rain=0:"]


@pytest.fixture
def winds(tmp_path):
    """A table of which one phase is not in the interval."""
    rng, file = np.random.default_rng(0), tmp_path / "winds.csv"
    phase = np.degrees(rng.vonmises(0, 2, size=400)) % 360
    phase[7] = 365.0
    phase[8:10] = 0, 360
    columns = [rng.gamma(1, size=400), phase, rng.normal(size=400)]
    lines = [",".join(map(repr, map(float, row))) for row in zip(*columns, strict=True)]
    file.write_text("\n".join(["rain,phase,size", *lines]))
    return file


def test_a_table_with_circular_columns_from_training_to_scores(
    winds, tmp_path, capsys, monkeypatch
):
    # Signatures are exported in the tests of flows.
    monkeypatch.setattr(tfnvp.Flow, "export", lambda flow, path, card: cards.append(card) or path)
    made, cards = tmp_path / "run", []
    train = ["train", "--table", winds, *TINY, "--epochs", 1, "--output", made, *CIRCULAR]
    assert run(*train, *SPLINE) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "winds.csv: column 'phase' must be from 0 to 360. Received: 365 in row 8; 1 of" in error
    assert "Take it modulo the interval" in error
    assert run(*train, "--skip-bad") == 2
    assert "circular columns need a flow of spline couplings" in capsys.readouterr().err
    assert run(*train, *SPLINE, "--skip-bad") == 0
    warning = capsys.readouterr().err
    assert "Received: 365 in row 8" in warning
    assert "atom" not in warning
    config = RunFolder(made).config()
    assert config["circular"] == {"phase": [0.0, 360.0]}
    assert config["bounds"] == {"rain": [0.0, None]}
    assert config["source_of_data"]["circular"] == "phase=0:360"
    assert cards[0]["Training"]["circular"] == {"phase": [0.0, 360.0]}
    assert load_model(made).circular == [None, (0.0, 360.0), None]

    drawn = tmp_path / "drawn.csv"
    sample = ["sample", made, "-n", 200, "--temperature", 50, "-o", drawn]
    assert run(*sample) == 0
    phases = csv.read_csv(drawn)["phase"].to_numpy()
    assert 0 <= min(phases) < 90
    assert 270 < max(phases) < 360
    assert run(*sample, "--round", "phase", "--force") == 0
    assert set(csv.read_csv(drawn)["phase"].to_pylist()) <= set(range(360))

    new = tmp_path / "new.csv"
    new.write_text("rain,phase,size\n1,,0\n1,0,0\n1,360,0\n1,361,0\n")
    assert run("score", made, new, "-o", tmp_path / "scored.csv") == 0
    scored = csv.read_csv(tmp_path / "scored.csv")
    assert scored["outlier"].to_pylist() == [None, False, False, True]
    on_ends = scored["log_density"].to_pylist()[1:3]
    assert on_ends[0] == pytest.approx(on_ends[1], abs=1e-4)

    capsys.readouterr()
    assert run("evaluate", made, "--json") == 0
    nats = json.loads(capsys.readouterr().out)["nats"]
    assert nats == pytest.approx(RunFolder(made).metrics()["test"]["nats"], rel=1e-5)
    with pytest.raises(ValueError, match="circular was"):
        resuming.check_same(RunFolder(made), {**config, "circular": {"phase": (0, 1)}})


def test_circular_columns_are_read_from_texts():
    assert Source(table="t.csv", circular=["a=0:1", "b=0:24"]).circular == "a=0:1,b=0:24"
    with pytest.raises(ValueError, match=r"--circular must be NAME=LOW:HIGH. Received"):
        bounds_in("phase", "--circular")
    with pytest.raises(ValueError, match="--circular are those of a --table"):
        Source(circular=["phase=0:360"])


def test_tables_in_python_have_circular_columns(winds):
    with pytest.raises(ValueError, match=r"`circular` must name columns of .*Received: 'wind'"):
        tfnvp.data.load_table(winds, circular={"wind": (0, 360)})
    with pytest.raises(ValueError, match=r"different variables.*both for column 'phase'"):
        tfnvp.data.load_table(winds, circular={"phase": (0, 360)}, bounds={"phase": (0, None)})
    with pytest.warns(UserWarning, match="These rows are left out"):
        splits = tfnvp.data.load_table(winds, skip_bad=True, circular={"phase": (0, 360)})
    assert splits.circular == (None, (0.0, 360.0), None)
    assert splits.named_circles() == {"phase": (0.0, 360.0)}
