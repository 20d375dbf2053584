"""Training, evaluation, samples and SavedModels by the command line."""

import dataclasses
import io
import json
import pathlib
import re
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import tfnvp
from tests.command_line import run
from tfnvp.cli import files, progress
from tfnvp.cli.options import Lines, Source
from tfnvp.fitting.programs import choose_steps
from tfnvp.recipes import get
from tfnvp.runs import dry_run, train_recipe
from tfnvp.runs.folder import RunFolder, load_model

pytestmark = pytest.mark.usefixtures("eagerly")


def json_of(capsys):
    return json.loads(capsys.readouterr().out)


def test_train_leaves_everything_it_promises(trained):
    names = {"model.keras", "samples.png", "history.csv", "metrics.json", "config.json"}
    assert {path.name for path in trained.run.path.iterdir()} == names
    assert Image.open(trained.run.samples).size[0] > 300
    assert trained.run.losses("epoch") == [0, 1]
    test = trained.run.metrics()["test"]
    assert test["rows"] == 360
    assert test["bits_per_dim"] > 0
    assert trained.run.config()["epochs"] == 2
    exported = trained.saved_models / "digits-real_nvp/1"
    assert (exported / "saved_model.pb").is_file()
    card = (exported / "model_card.md").read_text()
    assert f"{test['nats']}" in card
    assert "1293 rows" in card


def test_train_prints_progress_likelihood_and_files(trained):
    lines = trained.printed.splitlines()
    assert lines[0].startswith(
        "training     realnvp-digits on 1293 rows of digits; the first epoch"
    )
    assert lines[1].startswith("epoch 1/2   training ")
    assert "validation" in lines[2]
    assert any(line.startswith("test likelihood") and "bits/dim" in line for line in lines)
    assert "(samples.png, model.keras, metrics.json, history.csv)" in trained.printed
    assert "saved_models/digits-real_nvp/1" in lines[-1]


@pytest.fixture
def no_training(monkeypatch, tmp_path):
    """Replaces the training by a function that keeps its arguments."""
    calls = SimpleNamespace(metrics={"test": {}, "epochs": 1})

    def train(*arguments):
        names = ("recipe", "splits", "output", "saved_models", "seed", "verbose", "resume")
        vars(calls).update(zip((*names, "options"), arguments, strict=True))
        return train_recipe.TrainedRun(None, calls.metrics, tmp_path / "run", tmp_path / "saved")

    monkeypatch.setattr(train_recipe, "train", train)
    return calls


def test_options_reach_the_training(no_training, scans, capsys):
    options = ["--images", scans, "--levels", 2, "--epochs", 3, "--batch-size", 7, "--seed", 5]
    changes = ["--set", "epochs=9", "--set", "alpha=0.1", "--learning-rate", 0.5]
    assert run("train", *options, *changes, "--on-divergence", "roll-back", "--json") == 0
    recipe = no_training.recipe
    assert (recipe.name, recipe.epochs, recipe.batch_size) == ("realnvp-images", 3, 7)
    assert (recipe.learning_rate, recipe.options["alpha"]) == (0.5, 0.1)
    assert no_training.splits.levels == 2
    assert no_training.seed == 5
    assert no_training.options.source_of_data == {"images": scans, "levels": 2}
    assert no_training.options.on_divergence == "roll-back"
    found = json_of(capsys)
    assert found["epochs"] == 1
    assert found["folder"].endswith("run")
    assert found["saved_model"].endswith("saved")


def test_small_tables_get_small_batches(no_training):
    np.save("table.npy", np.random.default_rng(0).normal(size=(100, 2)))
    for options, batch_size in (
        ([], 32),
        (["--batch-size", 50], 50),
        (["--set", "batch_size=50"], 50),
    ):
        assert run("train", "--table", "table.npy", *options, "--json") == 0
        assert no_training.recipe.batch_size == batch_size


def test_only_the_first_worker_reports(no_training, capsys):
    no_training.metrics = None
    assert run("train", "--json") == 0
    assert capsys.readouterr().out == ""


def test_progress_is_ten_lines_in_a_log(capsys):
    splits = SimpleNamespace(train=np.zeros(80), name="table")
    with progress.training_progress(
        get("realnvp-table").replace(epochs=20), splits, progress.messages
    ) as (callback,):
        callback.on_train_begin(None)
        for epoch in range(20):
            callback.on_epoch_end(epoch, {"loss": 1.0, "val_loss": 2.0})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("training     realnvp-table on 80 rows of table; the first")
    assert len(lines) == 12
    assert lines[-1] == "epoch 20/20   training loss 1.000 nats   validation loss 2.000 nats"
    with progress.training_progress(None, None, None) as callbacks:
        assert callbacks == []


def test_progress_moves_within_an_epoch_on_a_terminal():
    terminal = Lines(file=io.StringIO(), force_terminal=True, width=80, highlight=False)
    splits = SimpleNamespace(train=np.zeros(320), name="table")
    recipe = get("realnvp-table").replace(epochs=20, batch_size=32)
    model = SimpleNamespace(optimizer=SimpleNamespace(learning_rate=1e-3), stop_training=False)
    with progress.training_progress(recipe, splits, terminal) as (callback,):
        # It follows batches, and yet many steps run in one program.
        assert choose_steps(1, 10, [callback]) > 1
        callback.set_model(model)
        callback.on_epoch_begin(0, {})
        # Keras counts a program that is filled up in part as a whole one.
        for batch, expected in ((6, "7/10"), (13, "10/10")):
            callback.on_train_batch_end(batch, {"loss": 1.25})
            time.sleep(0.2)
            shown = terminal.file.getvalue().splitlines()[-1].rpartition("\x1b[2K")[2]
            shown = re.sub(r"\x1b\[[0-9;]*m", "", shown)
            assert f"epoch 1/20 batch {expected}" in shown
            assert "1.250 nats rate 1.0e-03" in shown
            assert len(shown) <= 80
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert "epoch 1/20   training loss 1.000 nats" in terminal.file.getvalue()


def test_lines_are_wrapped_between_words_and_only_on_terminals():
    text = " ".join(["words"] * 20)
    for is_terminal, lines in ((True, 2), (False, 1)):
        console = Lines(file=io.StringIO(), force_terminal=is_terminal, width=80)
        console.print(text)
        printed = console.file.getvalue().splitlines()
        assert len(printed) == lines
        assert all(set(line.split()) == {"words"} for line in printed)


def test_a_dry_run_is_printed_and_writes_nothing(no_training, monkeypatch, tmp_path, capsys):
    found = dict.fromkeys(("bytes_weights", "bytes_gradients", "bytes_optimizer"), 4_000_000)
    found |= {"parameters": 10**6, "bytes_activations": 10**6, "batch_size": 32, "epochs": 7}
    found |= {"steps_per_epoch": 41, "seconds_per_step": 0.002, "seconds_per_epoch": 1.0}
    monkeypatch.setattr(dry_run, "dry_run", lambda *_: {**found, "seconds_at_most": 9000})
    assert run("train", "--dry-run") == 0
    out = capsys.readouterr().out
    for text in ("parameters   1,000,000", "memory       about 13 MB", "2.0 ms, 41 steps"):
        assert text in out
    assert "training     at most 2.5 h for 7 epochs and compiling; nothing written" in out
    assert run("train", "--dry-run", "--json") == 0
    assert json_of(capsys)["seconds_at_most"] == 9000
    assert not list(tmp_path.iterdir())
    assert not hasattr(no_training, "recipe")


def test_minutes_become_epochs(no_training, monkeypatch, tmp_path, capsys):
    found = {"seconds_to_compile": 10.0, "seconds_per_epoch": 7.0}
    monkeypatch.setattr(dry_run, "measure", lambda *_: (None, found))
    for minutes, epochs in ((2, 15), (0.1, 1)):
        assert run("train", "--minutes", minutes, "--json") == 0
        assert no_training.recipe.epochs == epochs
    for epochs in (("--epochs", 3), ("--set", "epochs=3")):
        assert run("train", "--minutes", 2, *epochs) == 2
        assert "give --minutes or a number of epochs, not both" in capsys.readouterr().err
    assert run("train", "--minutes", 2, "--strategy", "mirrored") == 2
    assert "--minutes measures one process" in capsys.readouterr().err
    # The same command continues a run that has begun.
    begun = RunFolder(tmp_path / "begun")
    begun.path.mkdir()
    begun.write_config({**dataclasses.asdict(get("realnvp-digits")), "epochs": 9, "run": "1f"})
    assert run("train", "--resume", "--output", begun.path, "--minutes", 2, "--json") == 0
    assert no_training.recipe.epochs == 9
    assert run("train", "--minutes", 0) == 2
    assert "minutes` must be a number above 0. Received: 0.0" in capsys.readouterr().err


def test_evaluate_repeats_the_likelihood_of_training(trained, capsys):
    assert run("evaluate", trained.run.path, "--json") == 0
    expected = trained.run.metrics()["test"]
    np.testing.assert_allclose(json_of(capsys)["nats"], expected["nats"], rtol=1e-5)
    assert run("evaluate", trained.run.model, "--split", "validation", "--draws", 1) == 0
    assert capsys.readouterr().out.startswith("validation likelihood")


def test_a_run_of_images_is_evaluated_on_its_images_or_on_others(scans_run, scans, capsys):
    made = scans_run.path
    for options, rows in (([], 2), (["--images", scans], 20)):
        assert run("evaluate", made, *options, "--draws", 1, "--json") == 0
        found = json_of(capsys)
        assert found["rows"] == rows
        # By two grey levels; 256 levels would give far more.
        assert found["bits_per_dim"] < 4
    pathlib.Path("wide").mkdir()
    Image.open(scans / "0.png").resize((8, 4)).save("wide/0.png")
    # At the model's size, of one image; in the run's folder there can be others.
    assert run("evaluate", made, "--images", "wide", "--draws", 1, "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rows"] == 1
    assert "1 of 1 images in wide are of another size, and are cropped and resized" in captured.err
    assert run("evaluate", made, "--images", "wide", "--image-size", 8) == 2
    assert "`--image-size` of images for a flow of 4 x 4 pixels" in capsys.readouterr().err


def test_other_images_lie_on_the_background_of_the_run(scans, capsys):
    flow = tfnvp.NICE((4, 4, 1), couplings=2, hidden_units=(4,), levels=2)
    made = RunFolder("made")
    made.path.mkdir()
    made.save_model(flow)
    pathlib.Path("new").mkdir()
    Image.new("LA", (4, 4), (255, 0)).save("new/0.png")
    for stored, option, expected in (
        ({}, [], "white"),
        ({"background": "black"}, [], "black"),
        ({"background": "black"}, ["--background", "#ff0000"], "#ff0000"),
    ):
        made.write_config({"dataset": "scans", "source_of_data": {"images": str(scans)} | stored})
        assert run("evaluate", made.path, "--images", "new", "--draws", 1, *option) == 0
        assert f"and lie on `--background {expected}`" in capsys.readouterr().err


def test_samples_are_single_files_in_an_empty_folder(scans_run, capsys):
    sample = ("sample", scans_run.path, "-n", 3, "--seed", 1)
    assert run(*sample, "--separate", "drawn/deeper", "--json") == 0
    assert json_of(capsys) == {"output": "drawn/deeper", "samples": 3}
    files = sorted(pathlib.Path("drawn/deeper").iterdir())
    assert [file.name for file in files] == ["001.png", "002.png", "003.png"]
    expected = tfnvp.quantization.quantize(load_model(scans_run.path).sample(3, seed=1), 2)
    found = tfnvp.data.images.ImageFolder("drawn/deeper", levels=2).rows()
    np.testing.assert_array_equal(found, expected)
    files[2].unlink()
    assert run(*sample, "--separate", "drawn/deeper") == 2
    assert "drawn/deeper is not empty: choose another folder" in capsys.readouterr().err
    assert not files[2].exists()
    assert run(*sample, "--separate", "drawn/deeper", "--force") == 0
    assert files[2].exists()


def test_sample_writes_pictures_and_arrays(trained):
    made = trained.run.path
    assert run("sample", made, "-n", 9, "--seed", 1, "--output", "nine.png") == 0
    assert Image.open("nine.png").size == (224, 224)
    for name in ("a.npy", "b.npy"):
        assert run("sample", made, "-n", 5, "--seed", 1, "--output", name) == 0
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    assert np.load("a.npy").shape == (5, 8, 8)


def test_an_array_is_written_whole_or_not(trained, monkeypatch, capsys):
    def fail(file, array):
        pathlib.Path(file).write_bytes(b"half")
        raise OSError("no room")

    pathlib.Path("a.npy").write_bytes(b"before")
    monkeypatch.setattr(np, "save", fail)
    assert run("sample", trained.run.path, "-n", 2, "--force", "-o", "a.npy") == 1
    assert "no room" in capsys.readouterr().err
    assert [path.read_bytes() for path in pathlib.Path().iterdir()] == [b"before"]


def test_options_of_images_are_for_the_images_of_the_run_too(scans_run, capsys):
    assert run("evaluate", scans_run.path, "--image-size", 4, "--draws", 1, "--json") == 0
    assert json_of(capsys)["rows"] == 2


def test_outputs_lie_beside_the_run_and_replace_no_file(scans_run, scans, capsys):
    made = pathlib.Path(shutil.copytree(scans_run.path, "made"))
    (made / "samples.png").write_text("of the training")
    sample = ("sample", made, "-n", 2, "--json")
    assert run(*sample) == 0
    assert json_of(capsys) == {"output": "made/samples-1.png", "samples": 2}
    drawn = (made / "samples-1.png").read_bytes()
    assert run(*sample) == 2
    assert "made/samples-1.png exists already: `--force` replaces it" in capsys.readouterr().err
    assert (made / "samples-1.png").read_bytes() == drawn
    assert run(*sample, "--seed", 3, "--force") == 0
    assert (made / "samples-1.png").read_bytes() != drawn
    assert (made / "samples.png").read_text() == "of the training"
    assert run("reconstruct", made / "model.keras", "--images", scans, "-n", 2) == 0
    assert (made / "reconstruction.png").is_file()
    # A single file has no run folder.
    shutil.copy(made / "model.keras", "lone.keras")
    capsys.readouterr()
    assert run("sample", "lone.keras", "-n", 2, "--json") == 0
    assert json_of(capsys)["output"] == "samples.png"


def test_a_model_that_ships_goes_by_its_name_unless_a_file_has_it(scans_run, capsys):
    assert run("sample", "digits", "-n", 2, "-o", "a.npy") == 0
    assert np.load("a.npy").shape == (2, 8, 8)
    shutil.copytree(scans_run.path, "digits")
    assert run("sample", "digits", "-n", 2, "-o", "b.npy") == 0
    assert np.load("b.npy").shape == (2, 4, 4, 1)


def test_the_example_is_a_table_that_ships_unless_a_file_has_its_name(no_training):
    assert run("train", "--table", "example", "--bounds", "rain=0:,humidity=0:1", "--json") == 0
    assert no_training.splits.columns == ("temperature", "humidity", "rain", "wind")
    assert sum(len(part) for part in no_training.splits[1:4]) == 1000
    assert files.EXAMPLE.stat().st_size < 100_000
    pathlib.Path("example").write_text("a table of another kind")
    assert run("train", "--table", "example", "--json") == 2


@pytest.fixture
def exported(monkeypatch):
    """Replaces the export by a function that keeps its arguments."""
    calls = []

    def export(flow, path, **options):
        calls.append((path, options))
        return path / "1"

    monkeypatch.setattr(tfnvp.Flow, "export", export)
    return calls


def test_export_names_the_model_and_writes_its_card(trained, exported, capsys):
    made = trained.run.path
    assert run("export", made, "--weights-dtype", "bfloat16", "--json") == 0
    assert json_of(capsys) == {"saved_model": "saved_models/digits-real_nvp/1"}
    assert exported[-1][1]["weights_dtype"] == "bfloat16"
    assert "bfloat16" in exported[-1][1]["card"]["Test likelihood"]["measured with"]
    assert run("export", trained.run.model, "--name", "mine", "--warmup", 4) == 0
    path, options = exported[-1]
    assert (path.name, options["warmup"]) == ("mine", [4])
    # A run with a name of its own is a model of that name.
    shutil.copytree(made, "own")
    assert run("export", "own") == 0
    assert exported[-1][0].name == "own"


def test_a_missing_package_is_one_line(trained, monkeypatch, capsys):
    def missing(*arguments, **options):
        raise ImportError("this needs a package: `pip install it`")

    monkeypatch.setattr(tfnvp.Flow, "export", missing)
    assert run("export", trained.run.path) == 1
    assert "error: this needs a package: `pip install" in capsys.readouterr().err


def test_a_report_names_the_run_and_its_data(trained, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("tfnvp.report.write_report", lambda *arguments: calls.append(arguments))
    assert run("report", trained.run.path, "--rows", 20, "--json") == 0
    assert json_of(capsys) == {"output": str(trained.run.path / "report.html")}
    _, _, splits, folder, other, title, rows, _, _ = calls[-1]
    assert (splits.name, folder, title, rows) == ("digits", trained.run.path, title, 20)
    assert other is None
    # A table that is not known by name is not loaded.
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    flow.save("plain.keras")
    assert run("report", "plain.keras") == 0
    assert calls[-1][2] is None
    assert calls[-1][5] == "plain"


def test_records_of_images(scans, capsys):
    shutil.copytree(scans, "scans")
    pathlib.Path("scans/broken.png").write_text("nothing")
    records = ("records", "streamed", "--images", "scans", "--levels", 2)
    assert run(*records) == 2
    shutil.rmtree("streamed", ignore_errors=True)
    capsys.readouterr()
    assert run(*records, "--skip-bad") == 0
    assert "warning: 1 of 21 images in" in capsys.readouterr().err
    splits = tfnvp.data.read_records("streamed")
    assert splits.levels == 2
    assert {int(splits.validation.max()), int(splits.validation.min())} == {0, 1}
    assert run("records", "other", "--images", scans, "--levels", 3) == 2
    assert "`--levels` of images in files must be one of" in capsys.readouterr().err


def test_recipes_are_listed(capsys):
    assert run("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    (digits,) = (line for line in lines if " realnvp-digits " in line)
    assert "232 k" in digits
    assert " min " in digits
    assert lines.index("tables") < lines.index("image sets by name")
    assert run("recipes", "--json") == 0
    found = json_of(capsys)["nice-digits"]
    assert found["options"]["hidden_units"] == [256, 256]
    assert found["parameters"] == 494_849


def test_commands_refuse_conditional_models(capsys):
    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), condition_shape=2)
    flow.save("conditional.keras")
    np.save("table.npy", np.zeros((4, 3), "float32"))
    for command in (["sample"], ["score", "table.npy"], ["report"], ["evaluate"], ["reconstruct"]):
        assert run(command[0], "conditional.keras", *command[1:]) == 2
        assert "give `condition=` to its methods" in capsys.readouterr().err


def test_export_takes_conditional_models(exported):
    tfnvp.RealNVP(3, couplings=2, hidden_units=(8,), condition_shape=2).save("conditional.keras")
    assert run("export", "conditional.keras", "--name", "c") == 0
    assert exported[0][1]["card"] is None


def test_a_source_keeps_only_what_is_given():
    assert Source().given == {}
    assert Source(images="a", levels=0).given == {"images": "a", "levels": 0}
    assert not Source(data_dir="d").names_data
    assert Source(dataset="mnist").names_data
    assert not Source(dataset="mnist").names_files
    with pytest.raises(ValueError, match="give one of"):
        Source(table="a.csv", records="b")


def test_a_folder_of_runs_has_no_default_for_a_missing_one(capsys):
    assert run("train", "--resume", "--output", "missing") == 2
    error = capsys.readouterr().err
    assert "no run in missing to resume" in error
    assert "`--recipe`" in error
    assert not RunFolder("missing").path.exists()
