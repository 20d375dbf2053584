import json

import keras
import pytest
import tensorflow as tf

import tfnvp
from tests.command_line import run
from tfnvp.bijectors import AffineCoupling
from tfnvp.cli import doctor


@pytest.mark.usefixtures("eagerly")
def test_a_healthy_machine(tmp_path, capsys):
    prepared = tmp_path / "mnist" / "3.0.1"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    (tmp_path / "own_faces" / "1.0.0").mkdir(parents=True)
    (tmp_path / "own_faces" / "1.0.0" / "dataset_info.json").write_text("{}")
    assert run("doctor", "--data-dir", tmp_path, "--json") == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    for name in ("tensorflow", "devices", "numerics", "training", "saving"):
        assert checks[name]["works"] is True, checks[name]
    assert checks["tensorflow"]["details"] == tf.__version__
    assert checks["data: digits"]["works"]
    assert checks["data: mnist"]["works"]
    assert checks["data: own_faces"]["works"]
    assert checks["data: cifar10"] == {
        "name": "data: cifar10",
        "works": None,
        "details": "not prepared",
    }
    if not tf.config.list_logical_devices("GPU"):
        assert checks["GPU"]["works"] is None


def test_xla_is_tried():
    assert doctor.run_check("XLA", doctor._xla).works is True


def test_what_is_broken_is_told_and_ends_with_code_1(monkeypatch, capsys):
    def broken():
        raise RuntimeError("no [compiler]\nlong trace")

    monkeypatch.setattr(doctor, "_xla", broken)
    for name in ("_numerics", "_training", "_saving"):
        monkeypatch.setattr(doctor, name, lambda: (True, "left out"))
    assert run("doctor") == 1
    out = capsys.readouterr().out
    assert "✗" in out
    assert "RuntimeError: no [compiler]" in out
    assert "long trace" not in out


@pytest.mark.usefixtures("eagerly")
def test_wrong_log_dets_are_found(monkeypatch):
    healthy = AffineCoupling._inverse_moved

    def wrong(*args):
        moved, log_det = healthy(*args)
        return moved, log_det + 0.1

    monkeypatch.setattr(AffineCoupling, "_inverse_moved", wrong)
    assert doctor.run_check("numerics", doctor._numerics).works is False


@pytest.mark.usefixtures("eagerly")
def test_training_that_learns_nothing_is_found(monkeypatch):
    healthy = tfnvp.RealNVP.compile
    still = keras.optimizers.SGD(0.0)
    monkeypatch.setattr(tfnvp.RealNVP, "compile", lambda flow, _: healthy(flow, still))
    assert doctor.run_check("training", doctor._training).works is False


@pytest.mark.usefixtures("eagerly")
def test_a_file_that_lost_its_weights_is_found(monkeypatch):
    loaded = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    monkeypatch.setattr(keras.saving, "load_model", lambda file: loaded)
    assert doctor.run_check("saving", doctor._saving).works is False
