"""What needs a process of its own: importing, shells, signals, and trainings that are killed."""

import csv
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tfnvp
from tfnvp.runs.folder import RunFolder, load_model

# The package under test, wherever the process starts.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(tfnvp.__file__).parents[1])}

# What pip writes for a console script.
CONSOLE_SCRIPT = "import sys\nfrom tfnvp.cli import main\nsys.exit(main())\n"

HEAVY = ("tensorflow", "keras", "tensorflow_probability", "sklearn")

# Dropout, averaged weights, a schedule, dequantization noise and early stopping, at small size.
TRAIN = ["train", "--epochs", "25", "--batch-size", "32", "--seed", "3", "--set", "couplings=2"]
TRAIN += ["--set", "hidden_units=[16]", "--set", "warmup_epochs=2", "--json"]
RUN = "runs/digits-real_nvp-1"


def python(*arguments, environment=(), **options):
    """Runs Python as a process, and returns it with its output."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, **dict(environment)},
        **options,
    )


@pytest.mark.parametrize("start", ["module", "script"])
def test_help_needs_no_tensorflow(tmp_path, start):
    script = tmp_path / "tfnvp"
    script.write_text(CONSOLE_SCRIPT)
    command = ["-m", "tfnvp"] if start == "module" else [script]
    result = python("-X", "importtime", *command, "--help")
    assert result.returncode == 0, result.stderr
    assert "evaluate" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "tfnvp.cli.app" in imported
    assert imported.isdisjoint(HEAVY)


# A console script that runs one command after the other, where TensorFlow cannot be imported.
COMMANDS = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from tfnvp.cli import main
for words in open(sys.argv[1]):
    try:
        main(words.split())
    except SystemExit as ended:
        print(ended.code)
"""


def test_bad_use_is_found_without_tensorflow(tmp_path):
    commands = {
        "evaluate nothing": "no model at nothing",
        "score digits --images nowhere": "no folder nowhere",
        "train --table nothing.csv": "no table at nothing.csv",
        "train --records nowhere": "no records in nowhere",
        "train --recipe nothing": "unknown recipe 'nothing'",
        "train --dataset mnits": "did you mean mnist",
        "train --dataset power": "give `--data-dir`",
        "train --set nothing=1": "has no option 'nothing'",
        "train --output .": "is not overwritten",
        "train --resume": "no unfinished run",
        "train --strategy all": "`--strategy` must be one of",
        "train --on-divergence go": "`--on-divergence` must be one of",
        "train --table example --bounds snow=0:": "snow",
        "sample digits -o a.pdf": "must end in",
        "report digits -o script": "must end in",
        "report digits --ood mnits": "unknown data set",
        "inpaint digits --mask inside": "`--mask` must be one of",
        "export digits --weights-dtype int8": "`--weights-dtype` must be one of",
    }
    (tmp_path / "tfnvp").write_text(COMMANDS)
    (tmp_path / "commands").write_text("\n".join(commands))
    result = python(tmp_path / "tfnvp", tmp_path / "commands", cwd=tmp_path)
    assert result.stdout.split() == ["2"] * len(commands), result.stderr
    for message, line in zip(commands.values(), result.stderr.splitlines(), strict=True):
        assert message in line


# Ctrl-C while a module is imported.
INTERRUPTED = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from tfnvp.cli import main
main(["sample", "digits"])
"""


@pytest.mark.parametrize("module", ["typer", "numpy", "tensorflow"])
def test_an_interrupt_of_an_import_ends_with_130_and_no_traceback(tmp_path, module):
    (tmp_path / "tfnvp").write_text(INTERRUPTED)
    result = python(tmp_path / "tfnvp", module, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_names_of_image_sets_of_tfds_are_known_without_it():
    from tfnvp.data.named import require_named

    for name in ("kmnist", "emnist/letters", "cifar100", "stl10", "oxford_flowers102:2.1.1"):
        require_named(name)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m tfnvp train", True),
        ("python -X dev -Wd -Im tfnvp train", True),
        ("python -mtfnvp", True),
        ("python -W error /usr/bin/tfnvp", True),
        ("python --check-hash-based-pycs never -m tfnvp", True),
        ("python -m app tfnvp", False),
        ("python -m tfnvp.data.digits", False),
        ("python app.py tfnvp", False),
        ("python -c tfnvp", False),
        ("python -i", False),
        ("python", False),
        ("", False),
    ],
)
def test_only_the_command_line_puts_off_registering(command, expected):
    assert tfnvp._is_command(command.split()) is expected


def test_a_program_started_as_a_module_loads_our_classes(tmp_path):
    app = tmp_path / "app"
    app.mkdir()
    (app / "__init__.py").write_text("import tfnvp\n")
    (app / "__main__.py").write_text(
        "import keras\nprint(keras.saving.get_registered_object('tfnvp>RealNVP').__name__)\n"
    )
    result = python("-m", "app", "tfnvp", cwd=tmp_path)
    assert result.stdout == "RealNVP\n", result.stderr


@pytest.mark.slow
def test_commands_are_quiet(tmp_path):
    flow = tfnvp.RealNVP((8, 8), couplings=2, hidden_units=(8,), levels=17, logit_alpha=0.05)
    flow.save(tmp_path / "model.keras")
    environment = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("TF_CPP")}
    result = subprocess.run(
        [sys.executable, "-m", "tfnvp", "evaluate", tmp_path, "--draws", "1"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith("test likelihood")


@pytest.mark.slow
def test_the_doctor_finds_a_healthy_machine():
    result = python("-m", "tfnvp", "doctor")
    assert result.returncode == 0, result.stdout
    assert "XLA" in result.stdout
    assert "✗" not in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_shown(shell):
    # Without the variable, the shell is that of the parent process.
    undetected = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = python("-m", "tfnvp", "--show-completion", shell, environment=undetected)
    assert result.returncode == 0, result.stderr
    assert f"_TFNVP_COMPLETE=complete_{shell}" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tfnvp eval", "evaluate"),
        ("tfnvp train --dry", "--dry-run"),
        ("tfnvp train --recipe realnvp-mnist-s", "realnvp-mnist-small"),
        ("tfnvp train --dataset fas", "fashion_mnist"),
        ("tfnvp train --table exa", "example"),
        ("tfnvp sample two", "two-moons"),
        ("tfnvp inpaint digits --mask cen", "center"),
    ],
)
def test_words_are_completed(tmp_path, words, expected):
    count = str(len(words.split()) - 1)
    typed = {"_TFNVP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": count}
    result = python("-m", "tfnvp", environment=typed, cwd=tmp_path)
    assert result.stdout.split() == [expected]


@pytest.mark.slow
def test_completion_is_installed(tmp_path):
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    result = python("-m", "tfnvp", "--install-completion", "bash", environment=home)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / ".bash_completions" / "tfnvp.sh").is_file()
    assert "tfnvp.sh" in (tmp_path / ".bashrc").read_text()


def start(arguments, cwd, interrupt=signal.SIG_DFL):
    """Starts Python as a process in which SIGINT is as given, however the tests were started."""
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
    )


def epochs_in(file):
    return len(file.read_text().splitlines()) - 1 if file.exists() else 0


def wait_for_epochs(process, file, epochs):
    while epochs_in(file) < epochs:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def assert_same_training(first, second):
    """Weights, optimizer, and losses of all epochs are the same."""
    one, two = load_model(first), load_model(second)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    tables = []
    for folder in (first, second):
        with (folder / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == list(range(25))
        tables.append([float(row[name]) for row in rows for name in ("loss", "val_loss")])
    np.testing.assert_allclose(*tables, rtol=1e-5)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run that went on to its end, as it ignores an interrupt: it is started under nohup."""
    folder = tmp_path_factory.mktemp("unbroken")
    process = start(["-m", "tfnvp", *TRAIN], folder, signal.SIG_IGN)
    wait_for_epochs(process, folder / RUN / "history.csv", 2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 0, process.stderr.read()
    process.stderr.close()
    return folder / RUN


@pytest.mark.slow
def test_killed_and_stopped_at_any_moment_it_ends_at_the_same_weights(unbroken, tmp_path):
    folder = tmp_path / RUN
    history = folder / "history.csv"
    resume = ["-m", "tfnvp", "train", "--resume", "--json"]
    for epochs, command, stop in (
        (3, ["-m", "tfnvp", *TRAIN], signal.SIGKILL),
        (6, resume, signal.SIGINT),
        (9, resume, signal.SIGTERM),
    ):
        process = start(command, tmp_path)
        wait_for_epochs(process, history, epochs)
        time.sleep(np.random.default_rng().uniform(0.0, 0.1))
        process.send_signal(stop)
        error = process.stderr.read().decode()
        assert process.wait() == (-stop if stop == signal.SIGKILL else 1), error
        process.stderr.close()
        assert (folder / "backup.npz").exists()
        if stop == signal.SIGKILL:
            assert not (folder / "model.keras").exists()
        else:
            assert "error: training interrupted: the best weights, of epoch" in error
            assert f"`tfnvp train --resume --output {RUN}` continues it" in error
            assert RunFolder(folder).load_model().event_shape == (8, 8)
    # Omitted options keep their values.
    assert python(*resume, cwd=tmp_path).returncode == 0
    assert_same_training(unbroken, folder)
    assert {path.name for path in folder.iterdir()} == {path.name for path in unbroken.iterdir()}
    result = python(*resume, cwd=tmp_path)
    assert result.returncode == 2
    assert "no unfinished run" in result.stderr


@pytest.mark.slow
def test_a_training_under_nohup_ignores_an_interrupt(unbroken):
    assert RunFolder(unbroken).is_finished
    assert RunFolder(unbroken).losses("epoch") == list(range(25))


SCRIPT = """
import sys
import keras, tfnvp

keras.utils.set_random_seed(0)
digits = tfnvp.data.load_digits()
flow = tfnvp.RealNVP(
    (8, 8), levels=17, logit_alpha=0.01, couplings=2, hidden_units=(16,), dropout=0.2
)
schedule = keras.optimizers.schedules.CosineDecay(1e-3, 41 * 25)
flow.compile(keras.optimizers.Adam(schedule, use_ema=True))
epoch = tfnvp.data.Epoch()
flow.fit(
    tfnvp.data.training_dataset(digits.train, 17, 32, seed=0, epoch=epoch),
    validation_data=tfnvp.data.dequantize(digits.validation, 17, seed=(0, 0)),
    epochs=25,
    verbose=0,
    callbacks=[
        epoch,
        keras.callbacks.BackupAndRestore(sys.argv[1] + "/backup", double_checkpoint=True),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.CSVLogger(sys.argv[1] + "/history.csv", append=True),
    ],
)
flow.save(sys.argv[1] + "/model.keras")
"""


@pytest.mark.slow
def test_a_script_with_keras_own_backup_goes_on_after_a_kill(tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    folders = [tmp_path / "broken", tmp_path / "unbroken"]
    for folder in folders:
        folder.mkdir()
    process = start([script, folders[0]], tmp_path)
    wait_for_epochs(process, folders[0] / "history.csv", 4)
    # Within an epoch: Keras writes its two files at the end of one.
    time.sleep(0.03)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    done = epochs_in(folders[0] / "history.csv")
    for folder in folders:
        monkeypatch.setattr(sys, "argv", [str(script), str(folder)])
        runpy.run_path(str(script), run_name="__main__")
    assert 25 <= epochs_in(folders[0] / "history.csv") <= 26
    assert done < 20
    one, two = (load_model(folder) for folder in folders)
    for a, b in zip(one.variables, two.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
