import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tfnvp import cli


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
    assert (folder / "saved_models/digits-real_nvp/1/saved_model.pb").is_file()


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
    assert run("export", made) == 0
    assert sorted(path.name for path in (folder / "saved_models/digits-real_nvp").iterdir()) == [
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--recipe", "nothing"], "unknown recipe 'nothing'"),
        (["train", "--model", "nothing"], "unknown model 'nothing'"),
        (["train", "--model", "nice", "--recipe", "nice-digits"], "not both"),
        (["train", "--epochs", "0"], "`epochs` must be positive"),
        (["train", "--learning-rate", "-1"], "`learning_rate` must be positive"),
        (["train", "--epochs", "many"], "should be a valid integer"),
        (["train", "--nothing"], "No such option"),
        (["nothing"], "nothing"),
        (["train", "--output", "runs"], "is not overwritten"),
        (["evaluate", "nothing"], "no model at nothing"),
        (["evaluate", "runs/digits-real_nvp-1", "--split", "half"], "unknown split 'half'"),
        (["evaluate", "runs/digits-real_nvp-1", "--dataset", "nothing"], "unknown data set"),
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
