"""`tfnvp records`, without a training: see `test_score.py` for one."""

import json

import numpy as np
import pytest
from PIL import Image

import tfnvp
from tests.command_line import run
from tfnvp import data
from tfnvp.cli.loading import load_data
from tfnvp.cli.options import Source

pytestmark = pytest.mark.usefixtures("eagerly")


def test_images_become_records(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces.v2").mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        pixels = generator.integers(0, 256, (6, 8, 3)).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / "faces.v2" / f"{i}.png")
    assert run("records", "out", "--images", "faces.v2", "--image-size", 4) == 0
    splits = data.read_records("out")
    assert splits.name == "faces.v2"
    assert (splits.event_shape, splits.levels) == ((4, 4, 3), 256)
    assert [len(part) for part in splits[1:4]] == [16, 2, 2]
    # Records of images take the recipe for images.
    capsys.readouterr()
    assert run("train", "--records", "out", "--set", "couplings=2", "--output", "run") == 2
    assert "image_real_nvp has no option 'couplings'" in capsys.readouterr().err
    assert run("records", "out", "--images", "faces.v2") == 2
    assert run("records", "again") == 2
    assert run("records", "again", "--images", "faces.v2", "--columns", "a,b") == 2


def test_records_of_other_grey_levels_are_refused(tmp_path):
    images = np.random.default_rng(0).integers(0, 32, (20, 4, 4, 1)).astype("uint8")
    made = data.write_records([images], 20, tmp_path / "made", levels=32)
    flow = tfnvp.NICE((4, 4, 1), couplings=2, hidden_units=(4,), levels=256)
    with pytest.raises(ValueError, match=r"and levels 256\. Received: shape .*, levels 32"):
        load_data(Source(records=made), flow)


def test_bounds_of_columns_without_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("big.npy", np.random.default_rng(0).uniform(1, 2, (20, 2)))
    assert run("records", "big", "--table", "big.npy", "--bounds", "0=0:") == 0
    assert load_data(Source(records="big")).bounds == ((0.0, None), None)


def test_tables_become_records_without_bad_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"{i}.5,2.5,x\n" for i in range(20))
    (tmp_path / "t.csv").write_text("a,b,label\n,2.5,x\n?,2.5,x\n" + rows)
    table = ("--table", "t.csv", "--columns", "a,b")
    assert run("records", "table", *table) == 2
    assert run("records", "table", *table, "--skip-bad", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 20
    assert data.read_records("table").columns == ("a", "b")
    assert run("records", "inside", *table, "--skip-bad", "--bounds", "a=0.5:", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["rows"] == 19
    assert "column 'a' must be above 0.5. Received: 0.5 in row 3; 1 of 22 values" in printed.err
    assert load_data(Source(records="inside")).bounds == ((0.5, None), None)
    assert load_data(Source(records="inside", bounds="a=0:20")).bounds == ((0.0, 20.0), None)
