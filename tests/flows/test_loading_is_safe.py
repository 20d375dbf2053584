"""Loading runs no code, whatever a file says, and names the file that is damaged."""

import json
import os
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tests.cli.test_command_line import run
from tfnvp.runs import folder as run_folder


@pytest.fixture
def saved(tmp_path):
    """A saved flow; the marker is a file that code in it would leave."""
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    flow.save(tmp_path / "flow.keras")
    return tmp_path / "flow.keras"


def rewrite(path, change):
    """Changes the configuration inside a .keras file."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    change(config)
    files["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def lambda_layer(marker):
    layer = keras.layers.Lambda(lambda x: __import__("os").system("touch marker") or x)
    return keras.saving.serialize_keras_object(layer)


def call_of(module, name):
    return {"module": module, "class_name": name, "config": {}, "registered_name": name}


def in_config(key, value):
    return lambda config: config["config"].update({key: value})


def as_keras(value):
    return {"tfnvp_type": "keras", "object": value}


@keras.saving.register_keras_serializable("tests")
class Runs:
    """Known to Keras, but neither bijector nor distribution."""

    def __init__(self, command):
        os.system(command)

    def get_config(self):
        return {}


ATTACKS = {
    "lambda": lambda m: in_config("base", as_keras(lambda_layer(m))),
    "lambda_activation": lambda m: in_config(
        "activation", as_keras({"class_name": "__lambda__", "config": {"value": "4wEAAAA="}})
    ),
    "os_system": lambda m: in_config("base", as_keras(call_of("os", "system"))),
    "builtin": lambda m: in_config("base", as_keras(call_of("builtins", "exec"))),
    "loader_of_tfp": lambda m: in_config(
        "base", {"tfnvp_type": "tfp.distributions", "name": "__loader__", "arguments": {}}
    ),
    "other_namespace": lambda m: in_config(
        "base", {"tfnvp_type": "os", "name": "system", "arguments": {"command": f"touch {m}"}}
    ),
    "registered": lambda m: in_config(
        "base", {"tfnvp_type": "registered", "name": "tests>Runs", "arguments": {"command": f"{m}"}}
    ),
    "root": lambda m: (
        lambda config: config.update(
            module="os", class_name="system", registered_name=None, config={"command": f"touch {m}"}
        )
    ),
    "bijector_of_code": lambda m: in_config(
        "base", {"tfnvp_type": "tfp.bijectors", "name": "Inline", "arguments": {"forward_fn": "os"}}
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_code_of_a_file_is_run(saved, tmp_path, monkeypatch, capsys, attack):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(os, "system", lambda command: ran.append(command) or 0)
    rewrite(saved, ATTACKS[attack](tmp_path / "marker"))
    with pytest.raises(OSError, match=r"flow\.keras cannot be loaded"):
        run_folder.load_model(saved)
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        keras.saving.load_model(saved)
    assert run("sample", saved) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not ran
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "samples.png").exists()


def test_a_pickle_in_the_place_of_a_model_or_of_weights_is_not_read(saved, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "marker"),)

    np.save(tmp_path / "pickle.npy", np.array([Evil()]), allow_pickle=True)
    payload = (tmp_path / "pickle.npy").read_bytes()
    (tmp_path / "evil.keras").write_bytes(payload)
    with pytest.raises(OSError, match=r"evil\.keras cannot be loaded"):
        run_folder.load_model(tmp_path / "evil.keras")
    (tmp_path / "backup.npz").write_bytes(payload)
    with pytest.raises(ValueError, match="is not a backup"):
        tfnvp.callbacks.Backup(tmp_path / "backup.npz")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_truncated_models_are_named(saved, capsys, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    assert run("evaluate", saved) == 1
    error = capsys.readouterr().err
    assert "flow.keras cannot be loaded" in error
    assert "Traceback" not in error


def test_damaged_weights_are_named(saved, capsys):
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["model.weights.h5"] = files["model.weights.h5"][:2000]
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    assert run("evaluate", saved) == 1
    assert "flow.keras cannot be loaded" in capsys.readouterr().err


def test_names_inside_an_archive_do_not_escape(saved, tmp_path):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("../escaped.txt", "out")
        archive.writestr("/tmp/escaped-tfnvp.txt", "out")
        archive.writestr("assets/../../escaped.txt", "out")
    run_folder.load_model(saved)
    assert not (tmp_path.parent / "escaped.txt").exists()
    assert not os.path.exists("/tmp/escaped-tfnvp.txt")


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/b", ""])
def test_names_of_data_do_not_escape_the_folders_of_output(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be plain"):
        run_folder.create(None, name)
    assert not list(tmp_path.iterdir())


def test_a_saved_model_is_told_from_a_flow_and_its_damage_is_named(tmp_path, capsys):
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(4,))
    version = flow.export(tmp_path / "served", signatures=["log_prob"])
    assert run("evaluate", version) == 2
    assert "tf.saved_model.load" in capsys.readouterr().err
    graph = version / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:100])
    with pytest.raises(OSError, match=r"saved_model\.pb"):
        tf.saved_model.load(str(version))


def test_a_run_that_has_not_ended_says_how_it_goes_on(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no model at .*`tfnvp train --resume --output"):
        run_folder.load_model(tmp_path)


def test_what_keras_did_not_write_is_called_that(tmp_path):
    file = tmp_path / "notes.keras"
    file.write_text("no archive")
    with pytest.raises(OSError, match=r"notes\.keras cannot be loaded: it is damaged, or no model"):
        run_folder.load_model(file)
