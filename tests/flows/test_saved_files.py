"""Flows saved by tfnvp 0.1.0 load, and give the numbers that they gave then.

`saved_files/` holds small flows of every class and option, with weights away from their start, as
`flow.save` of tfnvp 0.1.0 wrote them. For each of them `expected.npz` holds data `NAME/x` (and
`NAME/condition`), its `NAME/log_prob`, and `NAME/sample`, which is
`flow.sample(3, seed=1, condition=condition[0])`. `write_saved_files.py` wrote them all. A later
version adds files for its new options and leaves these as they are.
"""

import json
import pathlib
import zipfile

import keras
import numpy as np
import pytest

import tfnvp

FOLDER = pathlib.Path(__file__).parent / "saved_files"
NAMES = sorted(file.stem for file in FOLDER.glob("*.keras"))


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as arrays:
        return dict(arrays)


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


def test_every_expected_file_is_there(expected):
    assert {key.partition("/")[0] for key in expected} == set(NAMES)
    assert len(NAMES) == 19


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_flow_gives_the_numbers_of_the_version_that_wrote_it(name, expected):
    flow = keras.saving.load_model(FOLDER / f"{name}.keras")
    condition = expected.get(f"{name}/condition")
    log_prob = flow.log_prob(expected[f"{name}/x"], condition).numpy()
    wanted = expected[f"{name}/log_prob"]
    # Processors round bfloat16, of eight bits, at different places of a product.
    digits = 2**-8 if "mixed_bfloat16" in str(flow.get_config()) else 1e-4
    np.testing.assert_allclose(log_prob, wanted, rtol=digits, atol=digits * np.abs(wanted).max())
    one = None if condition is None else condition[0]
    wanted = expected[f"{name}/sample"]
    sample = flow.sample(3, seed=1, condition=one)
    np.testing.assert_allclose(sample, wanted, rtol=1e-3, atol=digits * np.abs(wanted).max())
    with zipfile.ZipFile(FOLDER / f"{name}.keras") as archive:
        stored = json.loads(archive.read("config.json"))["config"]
    config = flow.get_config()
    assert set(config) >= set(stored)
    if type(flow) is not tfnvp.Flow:  # Its bijector describes the shapes of built layers, too.
        assert {key: config[key] for key in stored} == stored


def test_a_trained_flow_has_its_optimizer():
    flow = keras.saving.load_model(FOLDER / "real_nvp_trained.keras")
    assert int(flow.optimizer.iterations) == 2
    moments = [v for v in flow.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
    assert len(moments) == 2 * len(flow.trainable_variables)
    assert all(np.abs(moment).max() > 0 for moment in moments)
