import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tfnvp
from tfnvp import cli, data
from tfnvp.runs import folder as run_folder


def run(*arguments):
    """Runs the command line in this process and returns its exit code."""
    with pytest.raises(SystemExit) as exit_info:
        cli.main([str(argument) for argument in arguments])
    return exit_info.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder in which `tfnvp train` ran for three epochs."""
    folder = tmp_path_factory.mktemp("work")
    before = os.getcwd()
    os.chdir(folder)
    assert run("train", "--epochs", 3, "--json") == 0
    yield folder
    os.chdir(before)


def test_train_leaves_everything_it_promises(folder):
    made = folder / "runs" / "digits-real_nvp-1"
    assert {path.name for path in made.iterdir()} == {
        "model.keras",
        "samples.png",
        "history.csv",
        "metrics.json",
        "config.json",
    }
    assert Image.open(made / "samples.png").size[0] > 300
    with (made / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2]
    test = json.loads((made / "metrics.json").read_text())["test"]
    assert test["rows"] == 360
    assert 0 < test["nats_standard_error"] < 2
    assert 2.0 < test["bits_per_dim"] < 3.5
    assert json.loads((made / "config.json").read_text())["epochs"] == 3
    exported = folder / "saved_models/digits-real_nvp/1"
    assert (exported / "saved_model.pb").is_file()
    card = (exported / "model_card.md").read_text()
    assert f"{test['nats']}" in card
    assert "1293 rows" in card


def test_evaluate_repeats_the_likelihood_of_training(folder, capsys):
    made = folder / "runs" / "digits-real_nvp-1"
    assert run("evaluate", made, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    expected = json.loads((made / "metrics.json").read_text())["test"]
    np.testing.assert_allclose(result["nats"], expected["nats"], rtol=1e-5)
    assert run("evaluate", made / "model.keras", "--split", "validation", "--draws", 1) == 0
    assert "bits/dim" in capsys.readouterr().out


def test_sample_writes_pictures_and_arrays(folder):
    made = folder / "runs" / "digits-real_nvp-1"
    assert run("sample", made, "-n", 9, "--seed", 1, "--output", folder / "nine.png") == 0
    assert Image.open(folder / "nine.png").size == (224, 224)
    for name in ("a.npy", "b.npy"):
        assert run("sample", made, "-n", 5, "--seed", 1, "--output", folder / name) == 0
    np.testing.assert_array_equal(np.load(folder / "a.npy"), np.load(folder / "b.npy"))
    assert np.load(folder / "a.npy").shape == (5, 8, 8)


def test_export_adds_a_version(folder):
    made = folder / "runs" / "digits-real_nvp-1"
    assert run("export", made, "--weights-dtype", "bfloat16") == 0
    card = (folder / "saved_models/digits-real_nvp/2/model_card.md").read_text()
    assert "bfloat16" in card
    assert "Test likelihood" in card
    assert sorted(path.name for path in (folder / "saved_models/digits-real_nvp").iterdir()) == [
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    ("command", "size"),
    [
        (["interpolate", "--rows", "3", "--columns", "4", "--corners", "0,1,2,3"], (4, 3)),
        (["inpaint", "-n", "2", "--steps", "5", "--mask", "left"], (2, 3)),
        (["reconstruct", "-n", "3"], (3, 2)),
        (["nearest", "-n", "2", "--neighbours", "3"], (4, 2)),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_pictures_have_their_rows_and_columns(folder, command, size):
    made = folder / "runs" / "digits-real_nvp-1"
    picture = folder / "picture.png"
    assert run(command[0], made, *command[1:], "--output", picture) == 0
    columns, rows = size
    assert Image.open(picture).size == (8 * (9 * columns + 1), 8 * (9 * rows + 1))


def test_the_corners_of_an_interpolation_are_the_images(folder):
    made = folder / "runs" / "digits-real_nvp-1"
    picture = folder / "corners.png"
    assert run("interpolate", made, "--corners", "5,6,7,8", "--output", picture) == 0
    pixels = np.asarray(Image.open(picture))[4::8, 4::8] / 255
    corners = [pixels[1:9, 1:9], pixels[1:9, -9:-1], pixels[-9:-1, 1:9], pixels[-9:-1, -9:-1]]
    test = data.load_digits().test[5:9] / 17
    # Within the noise of dequantization, and the smoothing of the picture.
    assert np.abs(np.stack(corners) - test).max() < 0.2


def test_a_folder_of_images_is_a_data_set_everywhere(tmp_path, capsys):
    generator = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(generator.integers(0, 256, (4, 4, 3)).astype("uint8")).save(
            tmp_path / f"{i}.png"
        )
    flow = tfnvp.ImageRealNVP((4, 4, 3), scales=2, base_filters=2, residual_blocks=1)
    run_folder.save_model(flow, tmp_path)
    picture = tmp_path / "hierarchy.picture.png"
    assert run("hierarchy", tmp_path, "--images", tmp_path, "-n", 2, "--output", picture) == 0
    assert Image.open(picture).size == (16 * 11, 16 * 11)
    picture.unlink()
    capsys.readouterr()
    for place in map(tmp_path.joinpath, ("few", "other")):
        place.mkdir()
        for i in range(3):
            pixels = generator.integers(0, 256, (4, 4 + 4 * (place.name == "other"), 3))
            Image.fromarray(pixels.astype("uint8")).save(place / f"{i}.png")
    assert run("evaluate", tmp_path, "--images", tmp_path / "few", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert run("evaluate", tmp_path, "--images", tmp_path / "other") == 2
    error = capsys.readouterr().err
    assert "is for data of shape (4, 4, 3)" in error
    assert "--image-size 4 makes such" in error
    shutil.rmtree(tmp_path / "other")
    shutil.rmtree(tmp_path / "few")
    for options, rows in (([], 20), (["--split", "test"], 2)):
        arguments = ("--images", tmp_path, "--draws", 1, "--json", *options)
        assert run("evaluate", tmp_path, *arguments) == 0
        assert json.loads(capsys.readouterr().out)["rows"] == rows


def test_black_and_white_images_have_two_levels(tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        pixels = 255 * generator.integers(0, 2, (4, 4)).astype("uint8")
        Image.fromarray(pixels).save(scans / f"{i}.png")
    small = [f"--set={option}" for option in ("scales=1", "base_filters=2", "residual_blocks=1")]
    places = ["--output", tmp_path / "run", "--saved-models", tmp_path / "saved", "--epochs", 1]
    assert run("train", "--images", scans, "--levels", 2, *small, *places, "--json") == 0
    bits = json.loads(capsys.readouterr().out)["test"]["bits_per_dim"]
    assert bits < 2  # Of 256 levels it would be above 7.
    assert run_folder.load_model(tmp_path / "run").levels == 2
    assert run("evaluate", tmp_path / "run", "--images", scans, "--json") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_dim"] < 2
    assert run("evaluate", tmp_path / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["bits_per_dim"] == pytest.approx(bits, rel=1e-5)
    picture = tmp_path / "picture.png"
    for command in (
        ("interpolate", "--corners", "0,1,0,1"),
        ("reconstruct", "-n", 2),
        ("nearest",),
    ):
        assert run(*command, tmp_path / "run", "--output", picture) == 0
        assert set(np.unique(Image.open(picture))) <= {0, 255}
    (scans / "broken.png").write_text("nothing")
    streamed = ("records", tmp_path / "streamed", "--images", scans, "--levels", 2)
    assert run(*streamed) == 2
    shutil.rmtree(tmp_path / "streamed", ignore_errors=True)
    capsys.readouterr()
    assert run(*streamed, "--skip-bad") == 0
    assert "1 of 21 images in" in capsys.readouterr().err
    streamed = tfnvp.data.read_records(tmp_path / "streamed")
    assert streamed.levels == 2
    assert {int(streamed.validation.max()), int(streamed.validation.min())} == {0, 1}
    table = ("--table", "a.csv", "--levels", 2)
    assert run("records", tmp_path / "other", *table) == 2
    assert run("records", tmp_path / "other", "--images", scans, "--levels", 3) == 2
    assert "`levels` of images in files must be one of" in capsys.readouterr().err
    assert run("train", "--levels", 2) == 2
    assert "--levels are those of --images" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe", "nothing"], "unknown recipe 'nothing'"),
        (["train", "--recipe", "nice-mnis"], "did you mean nice-mnist"),
        (["train", "--dataset", "fashion-mnst"], "did you mean fashion_mnist?"),
        (["train", "--set", "patience=0"], "`patience` must be null, to train for all"),
        (["train", "--set", "residual=yes"], "`residual` must be True or False. Received: 'yes'"),
        (["train", "--set", "hidden_units=null"], "`hidden_units` must be a positive int or"),
        (["train", "--recipe", "realnvp-power"], "such as power/data.npy: give --data-dir"),
        (["train", "--output", "a:b"], "must be plain"),
        (["train", "--model", "nothing"], "unknown model 'nothing'"),
        (["train", "--model", "nice", "--recipe", "nice-digits"], "not both"),
        (["train", "--epochs", "0"], "`epochs` must be an int of 1 or more. Received: 0"),
        (
            ["train", "--learning-rate", "-1"],
            "`learning_rate` must be a number above 0. Received: -1.0",
        ),
        (["train", "--epochs", "many"], "should be a valid integer"),
        (["train", "--nothing"], "No such option"),
        (["nothing"], "nothing"),
        (["train", "--output", "runs"], "is not overwritten"),
        (["train", "--set", "epochs"], "expected NAME=VALUE"),
        (["train", "--set", "nothing=1"], "nothing"),
        (["train", "--dataset", "digits", "--table", "x.csv"], "give one of"),
        (["train", "--table", "x.csv"], "no table at x.csv"),
        (["train", "--images", "nowhere"], "no folder nowhere"),
        (["train", "--images", "saved_models"], "no images in saved_models"),
        (["report", "runs/digits-real_nvp-1", "-o", "nowhere/x.html"], "no folder nowhere"),
        (["interpolate", "runs/digits-real_nvp-1", "--corners", "1,2"], "`--corners` must be"),
        (["inpaint", "runs/digits-real_nvp-1", "--mask", "inside"], "`mask` must be one of"),
        (["hierarchy", "runs/digits-real_nvp-1"], "has no scales"),
        (["evaluate", "nothing"], "no model at nothing"),
        (["evaluate", "runs/digits-real_nvp-1", "--split", "half"], "unknown split 'half'"),
        (["evaluate", "runs/digits-real_nvp-1", "--dataset", "nothing"], "unknown data set"),
        (["evaluate", "nothing", "--images", "a", "--table", "b.csv"], "give one of --dataset"),
        (["evaluate", "runs/digits-real_nvp-1/config.json"], "cannot be loaded"),
        (["sample", "runs/digits-real_nvp-1", "-n", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_use_ends_with_code_2_and_a_message(folder, capsys, arguments, message):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert message in text
    assert "Traceback" not in text


def test_a_missing_package_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    assert run("export", "runs/digits-real_nvp-1", "--name", "again", "--warmup", 1) == 1
    assert "error: warm-up requests need a package: `pip install" in capsys.readouterr().err


def test_recipes_are_listed(capsys):
    assert run("recipes") == 0
    assert "realnvp-digits" in capsys.readouterr().out
    assert run("recipes", "--json") == 0
    assert "nice-digits" in json.loads(capsys.readouterr().out)


def test_help_needs_no_tensorflow():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['tfnvp', '--help']\n"
        "try: runpy.run_module('tfnvp', run_name='__main__')\n"
        "except SystemExit as error: assert not error.code, error.code\n"
        "heavy = {'tensorflow', 'keras', 'tensorflow_probability', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "evaluate" in result.stdout


def test_commands_are_quiet_and_import_registers_the_classes(folder):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP")}
    made = folder / "runs" / "digits-real_nvp-1"
    result = subprocess.run(
        [sys.executable, "-m", "tfnvp", "evaluate", str(made), "--draws", "1"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith("test likelihood")
    code = (
        "import tfnvp, keras, sys\n"
        f"assert isinstance(keras.saving.load_model(r'{made / 'model.keras'}'), tfnvp.RealNVP)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
