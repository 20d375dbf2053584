"""Loading runs no code, whatever a file holds, and the error of a damaged file names it."""

import inspect
import io
import json
import os
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfnvp
from tfnvp.flows import serialization
from tfnvp.runs import folder as run_folder


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    file = tmp_path_factory.mktemp("saved") / "flow.keras"
    tfnvp.RealNVP(2, couplings=2, hidden_units=(4,)).save(file)
    return file


@pytest.fixture
def saved(original, tmp_path):
    """A saved flow, to be changed by a test."""
    return shutil.copy(original, tmp_path / "flow.keras")


def rewrite(path, name, change):
    """Changes one member of a .keras file, given as bytes."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files[name] = change(files[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in files.items():
            archive.writestr(member, content)


def rewrite_config(path, change):
    """Changes the configuration in a .keras file."""

    def changed(content):
        config = json.loads(content)
        change(config)
        return json.dumps(config).encode()

    rewrite(path, "config.json", changed)


def lambda_layer(marker):
    layer = keras.layers.Lambda(lambda x: __import__("os").system("touch marker") or x)
    return keras.saving.serialize_keras_object(layer)


def call_of(module, name):
    return {"module": module, "class_name": name, "config": {}, "registered_name": name}


def function_of(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def dense_with(activation):
    return call_of("keras.layers", "Dense") | {"config": {"units": 2, "activation": activation}}


def as_dict(items):
    return {"tfnvp_type": "dict", "items": items}


# Descriptions of functions, which a layer, a distribution or a bijector would call.
FUNCTIONS = {
    "function": lambda: as_keras(function_of("keras.datasets.mnist", "load_data")),
    "function_as_a_class": lambda: as_keras(call_of("keras.datasets.mnist", "load_data")),
    "activation": lambda: as_keras(dense_with(function_of("keras.datasets.mnist", "load_data"))),
    "activation_as_a_class": lambda: as_keras(dense_with(call_of("keras.utils", "get_file"))),
    "harmless_function": lambda: as_keras(function_of("keras.activations", "relu")),
    "in_a_list": lambda: [as_keras(function_of("builtins", "relu"))],
    "dictionary": lambda: as_dict(function_of("keras.datasets.mnist", "load_data")),
    "nested_dictionary": lambda: as_dict({"a": [call_of("keras.utils", "get_file")]}),
    "lambda": lambda: as_dict({"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}),
    "module_of_a_stranger": lambda: as_keras(call_of("evil.layers", "Layer")),
}


def in_config(key, value):
    return lambda config: config["config"].update({key: value})


def as_keras(value):
    return {"tfnvp_type": "keras", "object": value}


@keras.saving.register_keras_serializable("tests")
class Runs:
    """A class registered with Keras that is neither bijector nor distribution."""

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
def test_no_code_of_a_file_is_run(saved, tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    ran = []
    monkeypatch.setattr(os, "system", lambda command: ran.append(command) or 0)
    rewrite_config(saved, ATTACKS[attack](tmp_path / "marker"))
    with pytest.raises(OSError, match=r"flow\.keras cannot be loaded"):
        run_folder.load_model(saved)
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        keras.saving.load_model(saved)
    assert not ran
    assert not (tmp_path / "marker").exists()


def public_classes():
    for kind in ("tfnvp.bijectors", "tfnvp.partitions", "tfp.bijectors", "tfp.distributions"):
        module, base = serialization._NAMESPACES[kind]
        for name in dir(module):
            cls = getattr(module, name)
            if isinstance(cls, type) and issubclass(cls, base):
                yield kind, name, list(inspect.signature(cls.__init__).parameters)[1:]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_argument_of_any_class_can_be_a_function(function, monkeypatch):
    ran = []
    for module, name in ((keras.datasets.mnist, "load_data"), (keras.utils, "get_file")):
        monkeypatch.setattr(module, name, lambda *args: ran.append(args))
    classes = list(public_classes())
    assert len(classes) > 150
    for kind, name, parameters in classes:
        for parameter in parameters:
            given = {parameter: FUNCTIONS[function]()}
            with pytest.raises((ValueError, TypeError)):
                serialization.deserialize({"tfnvp_type": kind, "name": name, "arguments": given})
    assert not ran


@pytest.mark.parametrize("key", ["activation", "conditioner_dtype", "base", "partition"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_argument_of_a_flow_can_be_a_function(key, function):
    config = {"event_shape": 2, "couplings": 2, "hidden_units": [4]}
    with pytest.raises((ValueError, TypeError)):
        tfnvp.RealNVP.from_config({**config, key: FUNCTIONS[function]()})


HOSTILE = [None, True, -1, 0, 10**9, 1e308, "", "os.system", "../x", [], [[]], {}, {"x": 1}]


def places(config, path=()):
    """The paths of all values inside of JSON types."""
    yield path
    items = config.items() if isinstance(config, dict) else enumerate(config)
    for key, value in items if isinstance(config, (dict, list)) else ():
        yield from (
            places(value, (*path, key)) if isinstance(value, (dict, list)) else [(*path, key)]
        )


def test_any_value_in_any_place_of_a_configuration_loads_or_is_refused(original):
    # Keras reads a file's archive, then its configuration: here the file is opened only once.
    flow = keras.saving.load_model(original)
    config = keras.saving.serialize_keras_object(flow)
    generator = np.random.default_rng(0)
    values = [*HOSTILE, *(make() for make in FUNCTIONS.values())]
    everywhere = [path for path in places(config) if path]
    assert len(everywhere) * len(values) > 300
    for path in everywhere:
        for i in generator.permutation(len(values))[:6]:
            changed = json.loads(json.dumps(config))
            part = changed
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = values[i]
            try:
                made = keras.saving.deserialize_keras_object(changed)
            except (ValueError, TypeError, RuntimeError, KeyError, AttributeError):
                continue
            assert isinstance(made, (tfnvp.RealNVP, dict, type(None))), (path, values[i])


def test_no_metric_of_a_file_is_a_foreign_function(saved):
    flow = keras.saving.load_model(saved)
    flow.compile("adam", metrics=[keras.metrics.Mean()])
    flow.save(saved)
    assert keras.saving.load_model(saved).compiled

    def change(config):
        config["compile_config"]["metrics"] = [function_of("keras.datasets.mnist", "load_data")]

    rewrite_config(saved, change)
    with pytest.raises(ValueError, match="only objects of Keras that compute"):
        keras.saving.load_model(saved)


def test_a_pickle_in_place_of_a_model_or_a_backup_is_not_read(tmp_path):
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
def test_the_error_of_a_truncated_model_names_it(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(OSError, match=r"flow\.keras cannot be loaded"):
        run_folder.load_model(saved)


def test_the_error_of_damaged_weights_names_the_model(saved):
    rewrite(saved, "model.weights.h5", lambda content: content[:2000])
    with pytest.raises(OSError, match=r"flow\.keras cannot be loaded"):
        run_folder.load_model(saved)


@pytest.mark.parametrize("name", ["config.json", "assets/zeros.bin"])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_not_read(saved, monkeypatch, name):
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            if member != name:
                archive.writestr(member, content)
        with archive.open(name, "w") as member:
            # 65 MiB of spaces are too many for a configuration, zeros for everything together.
            for _ in range(65 if name == "config.json" else 100):
                member.write(bytes(2**20) if name != "config.json" else b" " * 2**20)
            member.write(files.get(name, b""))
    monkeypatch.setattr(keras.saving, "load_model", None)
    with pytest.raises(
        OSError, match=r"flow\.keras cannot be loaded.* unpacks to .* at most .* are"
    ):
        run_folder.load_model(saved)


def declares_too_much(weights, folder):
    for i in range(2):
        weights.create_dataset(f"values_{i}", (2**24,), "f4", chunks=(2**20,))


def compresses_too_much(weights, folder):
    weights.create_dataset("values", data=np.zeros(2**25, "f4"), compression=9)


def link_to(make):
    def change(weights, folder):
        with h5py.File(folder / "other.h5", "w") as other:
            other["vars"] = np.ones(3)
        weights["link"] = make(folder)

    return change


def of_raw_bytes(weights, folder):
    (folder / "raw").write_bytes(bytes(2**12))
    weights.create_dataset("raw", (4,), "f4", external=[(str(folder / "raw"), 0, 16)])


def virtual(weights, folder):
    os.mkfifo(folder / "pipe.h5")  # To open it would wait for ever.
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "pipe.h5"), "x", (4,), "f4")
    weights.create_virtual_dataset("virtual", layout)


def cyclic(weights, folder):
    weights["again"] = weights["/"]
    weights.create_dataset("values", data=np.zeros(2**25, "f4"), compression=9)


WEIGHTS = {
    "declared": (declares_too_much, "bytes, and at most"),
    "compressed": (compresses_too_much, "bytes, and at most"),
    "cycle": (cyclic, "bytes, and at most"),
    "soft link": (link_to(lambda _: h5py.SoftLink("/layers")), "'link' in it is a link"),
    "external link": (
        link_to(lambda folder: h5py.ExternalLink(str(folder / "other.h5"), "/vars")),
        "'link' in it is a link",
    ),
    "link to a pipe": (
        link_to(lambda folder: os.mkfifo(folder / "p") or h5py.ExternalLink(folder / "p", "/")),
        "'link' in it is a link",
    ),
    "raw bytes": (of_raw_bytes, "'raw' in it holds not numbers alone"),
    "virtual": (virtual, "'virtual' in it holds not numbers alone"),
    "texts": (
        lambda weights, _: weights.create_dataset("text", data=["a" * 100] * 9),
        "'text' in it holds not numbers alone",
    ),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_numbers_inside_of_the_file(saved, tmp_path, monkeypatch, name):
    change, message = WEIGHTS[name]

    def changed(content):
        stream = io.BytesIO(content)
        with h5py.File(stream, "r+") as weights:
            change(weights, tmp_path)
        return stream.getvalue()

    rewrite(saved, "model.weights.h5", changed)
    monkeypatch.setattr(keras.saving, "load_model", None)
    with pytest.raises(OSError, match=rf"flow\.keras cannot be loaded.*{message}"):
        run_folder.load_model(saved)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_warning_names_weights_that_are_not_finite(saved, recwarn, bad):
    flow = run_folder.load_model(saved)
    assert not recwarn
    weight = flow.trainable_variables[1]
    weight.assign(np.full(weight.shape, bad))
    flow.save(saved)
    with pytest.warns(UserWarning, match="holds NaN or infinite weights, first in") as caught:
        run_folder.load_model(saved)
    assert weight.path.split("/", 1)[-1] in str(caught[0].message)
    assert caught[0].filename == __file__


def test_names_inside_an_archive_do_not_escape(saved, tmp_path):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("../escaped.txt", "out")
        archive.writestr(str(tmp_path / "escaped.txt"), "out")
        archive.writestr("assets/../../escaped.txt", "out")
    run_folder.load_model(saved)
    assert not (tmp_path.parent / "escaped.txt").exists()
    assert not (tmp_path / "escaped.txt").exists()


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..", "a/b", ""])
def test_names_of_data_do_not_escape_the_folders_of_output(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be plain"):
        getattr(run_folder, "RunFolder", run_folder).create(None, name)
    assert not list(tmp_path.iterdir())


def test_a_saved_model_is_no_flow(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(ValueError, match=r"tf\.saved_model\.load"):
        run_folder.load_model(tmp_path)


def test_an_unfinished_run_has_no_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="no model at"):
        run_folder.load_model(tmp_path)


def test_other_files_are_no_models(tmp_path):
    file = tmp_path / "notes.keras"
    file.write_text("no archive")
    with pytest.raises(OSError, match=r"notes\.keras cannot be loaded: it is damaged, or no model"):
        run_folder.load_model(file)
