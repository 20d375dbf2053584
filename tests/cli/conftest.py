"""One small training, of which the tests of all commands ask something."""

import contextlib
import io
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfnvp
from tests.command_line import run
from tests.conftest import perturb
from tfnvp.runs.folder import RunFolder

TINY = ["--set", "couplings=2", "--set", "hidden_units=[4]"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """`tfnvp train` on the digits for two epochs: its run, output and folder of SavedModels."""
    work = tmp_path_factory.mktemp("work")
    printed, healthy = io.StringIO(), tfnvp.Flow.export

    def export(flow, path, card):
        tf.config.run_functions_eagerly(False)
        # All signatures are exported in the tests of exports.
        return healthy(flow, path, card=card, signatures=["log_prob"])

    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(work),
        contextlib.redirect_stdout(printed),
    ):
        patch.setattr(tfnvp.Flow, "export", export)
        # Tracing takes longer than so few steps.
        tf.config.run_functions_eagerly(True)
        try:
            assert run("train", *TINY, "--epochs", 2, "--batch-size", 1300) == 0
        finally:
            tf.config.run_functions_eagerly(False)
    return SimpleNamespace(
        run=RunFolder(work / "runs/digits-real_nvp-1"),
        saved_models=work / "saved_models",
        printed=printed.getvalue(),
    )


@pytest.fixture(scope="session")
def scans(tmp_path_factory):
    """A folder of 20 black and white images of 4 x 4 pixels."""
    folder = tmp_path_factory.mktemp("scans")
    generator = np.random.default_rng(0)
    for i in range(20):
        pixels = 255 * generator.integers(0, 2, (4, 4)).astype("uint8")
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def scans_run(tmp_path_factory, scans):
    """The run folder of a flow of the scans, in two grey levels."""
    flow = tfnvp.NICE((4, 4, 1), couplings=2, hidden_units=(4,), levels=2)
    made = RunFolder(tmp_path_factory.mktemp("scans-run"))
    made.save_model(perturb(flow, 0.1))
    source = {"images": str(scans), "levels": 2}
    made.write_config({"dataset": "scans", "model": "nice", "source_of_data": source})
    return made
