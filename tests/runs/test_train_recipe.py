"""Trainings in this process, stopped in every way."""

import contextlib
import errno
import os
import pathlib
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp import data, recipes
from tfnvp.data import Splits
from tfnvp.fitting.divergence import NonFiniteLossError
from tfnvp.runs import train_recipe
from tfnvp.runs.build import make_flow
from tfnvp.runs.folder import RunFolder
from tfnvp.runs.interruption import ending_between_steps
from tfnvp.runs.train_recipe import RunOptions, TrainedRun, train

# Dropout, averaged weights, a schedule, and early stopping, at small size.
RECIPE = recipes.get("realnvp-table").override(
    ["couplings=2", "hidden_units=[4]", "epochs=3", "batch_size=24", "warmup_epochs=1"]
)
ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
SPLITS = Splits("table", ROWS[:48], ROWS[48:54], ROWS[54:], columns=("a", "b"))


@pytest.fixture(autouse=True, scope="module")
def _small_and_eager():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfnvp.Flow, "export", lambda flow, path, card: path / "1")
        # Tracing takes longer than these steps.
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class At(keras.callbacks.Callback):
    """Does something when an epoch begins."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch, self.action = epoch, action

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action()


def fail(error):
    def action():
        raise error

    return action


def run(output="run", action=None, at=2, resume=False, seed=0, splits=SPLITS, **options):
    callbacks = () if action is None else (At(at, action),)
    options = RunOptions(callbacks, **options)
    return train(RECIPE, splits, output, "saved", seed, 0, resume, options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    with contextlib.chdir(tmp_path_factory.mktemp("whole")):
        return run(pathlib.Path.cwd() / "whole")


def test_a_run_has_names_and_unpacks(whole):
    assert isinstance(whole, TrainedRun)
    flow, metrics, folder, exported = whole
    assert (folder.name, str(exported)) == ("whole", "saved/whole/1")
    made = RunFolder(folder)
    assert made.is_finished
    assert made.metrics() == metrics
    assert metrics["rows"] == {"train": 48, "validation": 6, "test": 6}
    assert metrics["epochs"] == 3
    assert made.reference().columns == ("a", "b")
    names = {"config.json", "history.csv", "metrics.json", "model.keras", "reference.json"}
    assert {path.name for path in folder.iterdir()} == {*names, "samples.png"}
    for a, b in zip(flow.weights, made.load_model().weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("stop", ["interrupt", "full_disk"])
def test_a_stopped_training_keeps_its_best_weights_and_goes_on(whole, monkeypatch, stop):
    def fill_disk():
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr("numpy.savez", lambda *args, **kwargs: fail(full)())

    with monkeypatch.context() as patch:
        if stop == "interrupt":
            with pytest.raises(InterruptedError, match="interrupted: the best weights") as info:
                run(action=fail(KeyboardInterrupt()))
        else:
            with pytest.raises(OSError, match="no backup could be written: No space") as info:
                run(action=fill_disk)
    assert "are in run/model.keras" in str(info.value)
    made = RunFolder("run")
    assert info.value.unfinished_run == made.path
    assert made.load_model().event_shape == (2,)
    assert made.reference().columns == ("a", "b")
    assert not list(made.path.glob("writing-*"))
    assert not made.is_finished
    resumed = run(resume=True)
    for a, b in zip(resumed.flow.variables, whole.flow.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert made.losses("epoch") == [0, 1, 2]
    np.testing.assert_allclose(made.losses(), RunFolder(whole.folder).losses(), rtol=1e-5)
    assert {p.name for p in made.path.iterdir()} == {p.name for p in whole.folder.iterdir()}


def test_a_flipped_bit_in_records_is_named_and_the_best_weights_are_kept(tmp_path):
    # By `fit`, whose errors of damaged records come from within TensorFlow.
    folder = data.write_records([ROWS], 60, tmp_path / "records")
    shard = max(folder.glob("train-*"), key=lambda file: file.stat().st_size)
    splits = data.read_records(folder)
    whole = splits.fingerprint()

    def flip():
        content = bytearray(shard.read_bytes())
        content[-6] ^= 1
        shard.write_bytes(content)

    with pytest.raises(OSError, match=rf"{shard.name} is broken after \d+ of .* best weights"):
        run(action=flip, splits=splits)
    assert RunFolder("run").load_model().event_shape == (2,)
    assert splits.fingerprint() != whole
    with pytest.raises(ValueError, match=f"data_crc32 was {whole}, now"):
        run(resume=True, splits=splits)


def test_a_training_stopped_in_its_first_epoch_has_no_weights_to_keep():
    with pytest.raises(InterruptedError, match="no epoch had ended"):
        run(action=fail(KeyboardInterrupt()), at=0)
    assert not RunFolder("run").model.exists()


def test_an_interrupt_that_tensorflow_loses_ends_a_training():
    ended = []

    def interrupt():
        # As C code that calls `__len__`, and takes any error for an object without a length.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        ended.append(True)

    with pytest.raises(InterruptedError, match="interrupted: the best weights"):
        run(action=interrupt)
    assert ended == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_does_not_wait_for_the_step():
    def steps():
        with ending_between_steps() as end:
            end.on_train_batch_end(0)
            signal.raise_signal(signal.SIGINT)
            for later in (end.on_train_batch_end, lambda _: signal.raise_signal(signal.SIGINT)):
                with pytest.raises(KeyboardInterrupt):
                    later(0)

    with pytest.raises(KeyboardInterrupt):
        steps()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored():
    with contextlib.ExitStack() as stack:
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGTERM, before)
        with ending_between_steps() as end:
            signal.raise_signal(signal.SIGTERM)
            end.on_epoch_end(0)


def test_a_training_starts_from_a_trained_flow(whole):
    class AtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            for old, new in zip(whole.flow.get_weights(), self.model.get_weights(), strict=True):
                np.testing.assert_array_equal(old, new)
            raise KeyboardInterrupt

    # Other rows, from which nothing may be initialised.
    shifted = Splits("table", *(part + 5 for part in (ROWS[:48], ROWS[48:54], ROWS[54:])))
    # By a relative path, which must lead to it from other folders too.
    options = RunOptions((AtBegin(),), start_from=os.path.relpath(whole.folder))
    with pytest.raises(InterruptedError):
        train(RECIPE, shifted, "more", "saved", 1, 0, options=options)
    assert RunFolder("more").config()["start_from"] == str(whole.folder)
    wider = RECIPE.override(["hidden_units=[5]"])
    with pytest.raises(ValueError, match=r"`start_from` must be a RealNVP .* \d+ parameters"):
        train(wider, SPLITS, "wider", options=options)
    assert not pathlib.Path("wider").exists()


def test_a_diverged_training_is_not_offered_for_resuming():
    with pytest.raises(RuntimeError, match=r"NaN; the best weights.*would diverge again") as info:
        run(action=fail(NonFiniteLossError("NaN")))
    assert not hasattr(info.value, "unfinished_run")
    with pytest.raises(ValueError, match="`on_divergence` must be one of stop, roll-back"):
        RunOptions(on_divergence="go")


def test_the_same_seed_gives_the_same_weights_bit_for_bit(whole):
    again = run("again")
    for a, b in zip(whole.flow.get_weights(), again.flow.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    keras.utils.set_random_seed(1)
    other = make_flow(RECIPE, SPLITS).get_weights()
    keras.utils.set_random_seed(0)
    same = make_flow(RECIPE, SPLITS).get_weights()
    assert any(np.any(a != b) for a, b in zip(other, same, strict=True))


def test_another_training_and_a_finished_one_are_not_resumed(whole):
    shutil.copytree(whole.folder, "whole")
    with pytest.raises(ValueError, match="is finished"):
        run("whole", resume=True)
    RunFolder("whole").backup.write_bytes(b"")
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        run("whole", resume=True, seed=1)
    with pytest.raises(ValueError, match="is not overwritten"):
        run("whole")


@pytest.mark.parametrize("folders", [("file/folder", "saved"), ("run", "file/folder")])
def test_a_folder_that_cannot_be_written_fails_before_training(monkeypatch, tmp_path, folders):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tfnvp.Flow, "fit", None)
    with pytest.raises(OSError, match="cannot write there"):
        train(RECIPE, SPLITS, *folders)


def test_the_folder_is_held_once_from_the_configuration_to_the_end(monkeypatch):
    held, used, write = RunFolder.held, [], RunFolder.write_config

    def look(*arguments):
        with pytest.raises(ValueError, match="is in use"), held(RunFolder("run")):
            pass
        used.append(arguments)

    times = []
    monkeypatch.setattr(RunFolder, "held", lambda run: times.append(1) or held(run))
    monkeypatch.setattr(RunFolder, "write_config", lambda *args: look() or write(*args))
    monkeypatch.setattr(train_recipe._Training, "run", look)
    run()
    assert (len(times), len(used)) == (1, 2)
    # Another process finds the folder empty, and then trains into it.
    monkeypatch.setattr(RunFolder, "create", lambda *args: RunFolder("run"))
    with pytest.raises(ValueError, match="another process has just trained into it"):
        run()


def test_options_and_data_of_a_recipe_are_checked():
    with pytest.raises(ValueError, match="real_nvp has no option 'depth': it has couplings"):
        make_flow(RECIPE.override(["depth=3"]), SPLITS)
    with pytest.raises(ValueError, match=r"is for pixels: .* Received: the table table"):
        make_flow(recipes.get("realnvp-digits"), SPLITS)


def test_a_learned_base_starts_from_records(tmp_path):
    rows = np.random.default_rng(0).integers(0, 4, (100, 6)).astype("uint8")
    splits = data.read_records(data.write_records([rows], 100, tmp_path / "records", levels=4))
    recipe = recipes.get("nice-digits").override(
        ["base=logistic_mixture", "hidden_units=[4]", "couplings=2", "logit_alpha=null"]
    )
    flow = make_flow(recipe, splits)
    assert flow.distribution.distribution.name == "logistic_mixture"
    assert np.isfinite(flow.log_prob(np.full((2, 6), 0.4, "float32"))).all()
