"""Exit codes and messages of the command line."""

import signal
import warnings

import pytest

from tests.command_line import run
from tfnvp.cli import options
from tfnvp.runs.folder import unfinished

# "RUN" stands for the folder of a run.
BAD_USE = [
    (["train", "--recipe", "nothing"], "unknown recipe 'nothing'"),
    (["train", "--recipe", "nice-mnis"], "did you mean nice-mnist"),
    (["train", "--dataset", "fashion-mnst"], "did you mean fashion_mnist?"),
    (["train", "--set", "patience=0"], "`patience` must be null, to train for all"),
    (["train", "--set", "residual=yes"], "`residual` must be True or False. Received: 'yes'"),
    (["train", "--set", "hidden_units=null"], "`hidden_units` must be a positive int"),
    (["train", "--recipe", "realnvp-power"], "--data-dir"),
    (["train", "--output", "a:b"], "must be plain"),
    (["train", "--model", "nothing"], "unknown model 'nothing': choose one of real_nvp, nice"),
    (["train", "--model", "nice", "--recipe", "nice-digits"], "not both"),
    (["train", "--epochs", "0"], "`--epochs` must be an int of 1 or more. Received: 0"),
    (["train", "--learning-rate", "-1"], "`--learning-rate` must be a number above 0"),
    (["train", "--epochs", "many"], "should be a valid integer"),
    (["train", "--on-divergence", "go"], "`--on-divergence` must be one of stop, roll-back"),
    (["train", "--start-from", "mnst"], "no model at mnst"),
    (["train", "--start-from", "mnist"], "`--start-from` must be a RealNVP with the options of"),
    (["train", "--nothing"], "No such option"),
    (["nothing"], "nothing"),
    (["train", "--output", "runs"], "is not overwritten"),
    (["train", "--set", "epochs"], "expected NAME=VALUE"),
    (["train", "--set", "nothing=1"], "nothing"),
    (["train", "--dataset", "digits", "--table", "x.csv"], "give one of"),
    (["train", "--table", "x.csv"], "no table at x.csv"),
    (["train", "--images", "nowhere"], "no folder nowhere"),
    (["train", "--images", "runs/empty"], "no images in runs/empty"),
    (["train", "--levels", "2"], "--levels are those of --images"),
    (["train", "--background", "black"], "--background is that of --images"),
    (["train", "--dry-run", "--image-size", "8"], "--image-size is that of --images"),
    (["evaluate", "RUN", "--follow-links"], "--follow-links are those of --images"),
    (
        ["evaluate", "RUN", "--table", "RUN/history.csv", "--image-size", "8", "--follow-links"],
        "--image-size and --follow-links are those of --images",
    ),
    (["train", "--columns", "a"], "--columns are those of a --table"),
    (
        ["train", "--recipe", "realnvp-table"],
        "the recipe realnvp-table has no data set of its own: give --table",
    ),
    (["train", "--recipe", "realnvp-images"], "has no data set of its own: give --images"),
    (["records", "x", "--table", "a.csv", "--levels", "2"], "--levels are those of --images"),
    (["records", "x"], "give one of --images and --table"),
    (["report", "RUN", "-o", "nowhere/x.html"], "no folder nowhere"),
    (
        ["report", "RUN", "-o", "page.pdf"],
        "`--output` must end in .html or .htm. Received: page.pdf",
    ),
    (["sample", "RUN", "-o", "RUN/config.json"], "`--output` must end in .png or .csv"),
    (["reconstruct", "RUN", "-o", "RUN/samples.png"], "exists already: `--force` replaces it"),
    (["interpolate", "RUN", "--corners", "1,2"], "`--corners` must be"),
    (["inpaint", "RUN", "--mask", "inside"], "`--mask` must be one of"),
    (["hierarchy", "RUN"], "has no scales"),
    (["evaluate", "nothing"], "no model at nothing"),
    (["evaluate", "RUN", "--split", "half"], "unknown split 'half'"),
    (["evaluate", "RUN", "--dataset", "nothing"], "unknown data set"),
    (["evaluate", "nothing", "--images", "a", "--table", "b.csv"], "give one of --dataset"),
    (["evaluate", "two-moons"], "without data of its own: give a `--table`"),
    (["train", "--strategy", "all"], "`--strategy` must be one of none, mirrored, multi_worker"),
    (["train", "--records", "nowhere"], "no records in nowhere"),
    (["evaluate", "RUN/config.json"], "cannot be loaded"),
    (["sample", "RUN", "--temperature", "nan"], "`--temperature` must be a number of 0 or more"),
    (["sample", "RUN", "--separate", "a", "-o", "b.png"], "--output or --separate, not both"),
    (["sample", "RUN", "--separate", "RUN/config.json"], "is not a folder"),
    (["score", "RUN"], "give a table, or --images with its options"),
    (["score", "RUN", "RUN/history.csv", "--images", "RUN"], "give a table, or --images"),
    (["score", "RUN", "--skip-bad"], "give a table, or --images"),
    (["sample", "RUN", "-n", "0"], "greater than or equal to 1"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_USE)
def test_bad_use_ends_with_code_2_and_a_message(trained, tmp_path, capsys, arguments, message):
    (tmp_path / "runs/empty").mkdir(parents=True)
    assert run(*[word.replace("RUN", str(trained.run.path)) for word in arguments]) == 2
    captured = capsys.readouterr()
    text = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert message in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["mass [kg]", "rate [/s]", "scores[final].csv", "a:car:"])
def test_names_are_printed_as_they_are(capsys, name):
    options.print_result(name, {}, json_output=False)
    assert capsys.readouterr().out == f"{name}\n"


@pytest.fixture
def failing(monkeypatch):
    """Lets `tfnvp sample` do something else, such as fail."""

    def replace(action):
        monkeypatch.setattr("tfnvp.cli.options.import_tensorflow", action)

    return replace


def raising(error):
    def action():
        raise error

    return action


def test_an_interrupt_ends_with_130(failing, capsys):
    failing(raising(KeyboardInterrupt()))
    assert run("sample", "digits") == 130
    assert capsys.readouterr() == ("", "")


def test_work_that_fails_ends_with_code_1(failing, capsys):
    for error in (OSError("no room"), RuntimeError("[bold]no[/] room")):
        failing(raising(error))
        assert run("sample", "digits") == 1
        assert capsys.readouterr().err == f"error: {error}\n"


def test_arguments_of_the_library_become_flags(failing, capsys):
    text = "`temperature=0.5` and `seed` are flags, `n` is --number; `levels` and `x` are not"
    failing(raising(ValueError(text)))
    assert run("sample", "digits") == 2
    expected = "`--temperature 0.5` and `--seed` are flags, `--number` is --number; "
    assert capsys.readouterr().err == f"error: {expected}`levels` and `x` are not\n"


def test_an_error_says_how_its_run_goes_on(failing, capsys):
    failing(raising(unfinished(InterruptedError("interrupted"), "a/run")))
    assert run("sample", "digits") == 1
    expected = "error: interrupted. `tfnvp train --resume --output a/run` continues it\n"
    assert capsys.readouterr().err == expected


def test_warnings_are_lines_and_only_of_commands(failing, capsys):
    def warn():
        warnings.warn("`seed=3` is odd", stacklevel=1)
        raise OSError("end")

    failing(warn)
    shown = warnings.showwarning
    assert run("sample", "digits") == 1
    assert capsys.readouterr().err == "warning: `--seed 3` is odd\nerror: end\n"
    assert warnings.showwarning is shown


def test_sigterm_interrupts_unless_it_is_ignored():
    before = signal.getsignal(signal.SIGTERM)
    try:
        for handler, expected in (
            (signal.SIG_DFL, signal.default_int_handler),
            (signal.SIG_IGN, signal.SIG_IGN),
        ):
            signal.signal(signal.SIGTERM, handler)
            assert run("--version") == 0
            assert signal.getsignal(signal.SIGTERM) is expected
    finally:
        signal.signal(signal.SIGTERM, before)


def test_json_has_null_for_what_it_cannot_hold(capsys):
    options.print_json({"a": [float("nan"), 1.5], "b": float("inf")})
    assert capsys.readouterr().out.split() == [
        "{",
        '"a":',
        "[",
        "null,",
        "1.5",
        "],",
        '"b":',
        "null",
        "}",
    ]
