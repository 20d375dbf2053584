"""The command that checks the installation: versions, devices, data, small computations."""

import importlib.metadata
import os
import pathlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Annotated, NamedTuple

import typer
from rich.table import Column, Table
from rich.text import Text

import tfnvp
from tfnvp.cli import options

_PACKAGES = ("tensorflow", "tensorflow-probability", "tf-keras", "keras", "numpy", "scikit-learn")
_OPTIONAL = ("tensorboard", "tensorflow-serving-api")
_MARKS = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("–")}


def doctor(
    source: Annotated[options.Source, "data_dir"], json_output: options.Json = False
) -> None:
    """Check the installation: versions, devices, XLA, numerics, data sets.

    Exit code 1 if something that is needed does not work.

    Example: tfnvp doctor
    """
    options.import_tensorflow()
    with options.console.status("checking"):
        checks = list(examine(source.data_dir))
    if json_output:
        options.print_json([check._asdict() for check in checks])
    else:
        table = Table("", "", Column(overflow="fold"), box=None, show_header=False)
        for check in checks:
            table.add_row(_MARKS[check.works], check.name, check.details)
        options.console.print(table)
    if any(check.works is False for check in checks):
        raise typer.Exit(1)


class Check(NamedTuple):
    """One check: its name, whether it works (None: not installed, and not needed), and details."""

    name: str
    works: bool | None
    details: str


def examine(data_dir: str | os.PathLike | None = None) -> Iterator[Check]:
    """Runs all checks, one after the other.

    Args:
      data_dir: folder of prepared data sets. Default: TFDS_DATA_DIR, or TFDS's own default.

    Yields:
      `Check`.
    """
    yield Check("python", True, f"{platform.python_version()} on {platform.platform()}")
    yield from _versions()
    yield run_check("devices", _devices)
    yield run_check("GPU", _gpu)
    yield run_check("XLA", _xla)
    yield run_check("numerics", _numerics)
    yield run_check("training", _training)
    yield run_check("saving", _saving)
    yield from _data(data_dir)


def run_check(name: str, check: Callable[[], tuple[bool | None, str]]) -> Check:
    """Runs a function that returns whether something works, and details; an error is a result."""
    start = time.perf_counter()
    try:
        works, details = check()
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}".splitlines()[0])
    return Check(name, works, f"{details} ({time.perf_counter() - start:.1f} s)")


def _versions():
    for package in (*_PACKAGES, *_OPTIONAL):
        try:
            yield Check(package, True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, None if package in _OPTIONAL else False, "not installed")


def _devices():
    import tensorflow as tf

    devices = ", ".join(device.name for device in tf.config.list_logical_devices())
    return True, f"{devices}; {os.cpu_count()} processor cores"


def _gpu():
    import numpy as np
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU")
    if not devices:
        built = "" if tf.test.is_built_with_cuda() else "; this TensorFlow has no CUDA"
        return None, f"none found{built}; for NVIDIA: pip install 'tensorflow[and-cuda]'"
    with tf.device(devices[0].name):
        product = tf.linalg.matmul(tf.ones([256, 256]), tf.ones([256, 256]))
    model = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
    name = model.get("device_name", devices[0].name)
    return bool(np.all(product.numpy() == 256.0)), f"{len(devices)} of {name}: the product is right"


def _xla():
    import tensorflow as tf

    x = tf.linspace(-1.0, 1.0, 12)
    compiled = tf.function(lambda x: tf.reduce_sum(tf.tanh(x) ** 2), jit_compile=True)
    error = abs(float(compiled(x)) - float(tf.reduce_sum(tf.tanh(x) ** 2)))
    return error < 1e-5, f"a compiled function gives the same as an eager one, to {error:.0e}"


def _flow():
    import tensorflow as tf

    flow = tfnvp.RealNVP(3, couplings=2, hidden_units=(8,))
    for i, weight in enumerate(flow.trainable_variables):
        weight.assign_add(0.3 * tf.random.stateless_normal(weight.shape, (i, 0)))
    return flow


def _numerics():
    flow = _flow()
    x = flow.sample(64, seed=0)
    tfnvp.testing.check_bijector(flow.bijector, x)
    error = flow.check(x).round_trip_max
    return error < 1e-3, f"log-dets as by automatic differentiation, round trip to {error:.0e}"


def _training():
    import numpy as np

    x = np.random.default_rng(0).normal(size=(256, 2)).astype("float32")
    x[:, 1] += x[:, 0] ** 2
    flow = tfnvp.RealNVP(2, couplings=2, hidden_units=(16,))
    flow.compile("adam")
    losses = flow.fit(x, batch_size=64, epochs=5, shuffle=False, verbose=0).history["loss"]
    return losses[-1] < losses[0], f"the loss falls, {losses[0]:.3f} to {losses[-1]:.3f} nats"


def _saving():
    import keras
    import numpy as np

    flow = _flow()
    x = flow.sample(8, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "flow.keras"
        flow.save(file)
        error = np.abs(keras.saving.load_model(file).log_prob(x) - flow.log_prob(x)).max()
    return bool(error < 1e-5), "a saved and loaded flow gives the same"


def _data(data_dir):
    yield Check("data: digits", True, "comes with scikit-learn")
    default = os.environ.get("TFDS_DATA_DIR", pathlib.Path.home() / "tensorflow_datasets")
    folder = pathlib.Path(data_dir or default)
    image_sets = tfnvp.data.named.IMAGE_SETS
    names = {name: image_set.tfds_name for name, image_set in image_sets.items()}
    known = {tfds_name.split("/")[0] for tfds_name in names.values()}
    others = {path.name for path in folder.glob("*")} - known
    for name, tfds_name in [*names.items(), *((other, other) for other in sorted(others))]:
        if any((folder / tfds_name).glob("*/dataset_info.json")):
            yield Check(f"data: {name}", True, f"prepared in {folder}")
        elif name in names:
            yield Check(f"data: {name}", None, "not prepared")
