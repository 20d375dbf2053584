"""The models that come with the package, and their exports that come with the repository."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import tfnvp
from tfnvp import pretrained

SAVED_MODELS = pathlib.Path(__file__).parents[1] / "saved_models"


def load(version):
    return tf.saved_model.load(str(version)).signatures


def description_of(version):
    return json.loads((version / "signature.json").read_text())


PROGRAM = """
import json, pathlib, sys
import numpy as np, tensorflow as tf
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tfnvp", "keras", "tf_keras", "tensorflow_probability"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
folder = pathlib.Path(sys.argv[1])
for name, rows in np.load(sys.argv[2]).items():
    served = tf.saved_model.load(str(folder / name / "1")).signatures
    levels = json.loads((folder / name / "1" / "signature.json").read_text())["flow"]["levels"]
    log_probs = []
    for i in range(10 if levels else 1):
        x = tf.cast(rows, tf.float32)
        if levels:
            x = (x + tf.random.stateless_uniform(x.shape, (2, i), alg="philox")) / levels
        log_probs.append(served["log_prob"](x=x)["log_prob"])
    print(name, float(tf.reduce_mean(log_probs)))
"""


pytestmark = pytest.mark.usefixtures("eagerly_throughout")


@pytest.fixture(scope="module")
def held_out():
    from sklearn.datasets import make_moons

    digits = tfnvp.data.load_digits().test
    moons = make_moons(10_000, noise=0.05, random_state=2)[0].astype("float32")
    return {"digits": digits, "digits-nice": digits, "two-moons": moons}


@pytest.fixture(scope="module")
def likelihoods_by_tensorflow_alone(held_out, tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(file, **held_out)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, SAVED_MODELS, file],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return {line.split()[0]: float(line.split()[1]) for line in run.stdout.splitlines()}


@pytest.mark.parametrize("name", ["digits", "digits-nice", "two-moons"])
def test_saved_model_reproduces_the_likelihood_of_its_card(name, likelihoods_by_tensorflow_alone):
    card = description_of(SAVED_MODELS / name / "1")["card"]
    assert likelihoods_by_tensorflow_alone[name] == pytest.approx(
        card["Test likelihood"]["nats"], rel=1e-5
    )
    assert card["Test likelihood"]["nats_standard_error"] > 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name.startswith("mnist") else name
        for name in pretrained.PRETRAINED
    ],
)
def test_pretrained_flow_is_the_saved_model(name):
    flow = tfnvp.load_pretrained(name)
    x = flow.sample(2, seed=0)
    served = load(SAVED_MODELS / name / "1")["log_prob"]
    got = served(x=x)["log_prob"]
    np.testing.assert_allclose(got, flow.log_prob(x), rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif("TFDS_DATA_DIR" not in os.environ, reason="MNIST is not at TFDS_DATA_DIR")
@pytest.mark.parametrize("name", ["mnist", "mnist-modern"])
def test_mnist_has_the_likelihood_of_its_card(name):
    flow = tfnvp.load_pretrained(name)
    flow.compile()
    test = tfnvp.data.load_named("mnist").test
    loss, _ = flow.evaluate(test[::5], batch_size=500, verbose=0)
    card = description_of(SAVED_MODELS / name / "1")["card"]["Test likelihood"]
    # The standard error of a fifth of the images of the card.
    assert -loss == pytest.approx(card["nats"], abs=5**0.5 * card["nats_standard_error"])


def test_pretrained_models_are_small_and_complete():
    files = list(itertools.chain(SAVED_MODELS.rglob("*"), pretrained.FOLDER.rglob("*")))
    assert sum(file.stat().st_size for file in files if file.is_file()) < 25_000_000
    assert {file.stem for file in pretrained.FOLDER.glob("*.keras")} == set(pretrained.PRETRAINED)
    for name in pretrained.PRETRAINED:
        assert (SAVED_MODELS / name / "1" / "model_card.md").is_file()


def test_unknown_pretrained_name():
    with pytest.raises(ValueError, match=r"`name` must be one of digits.*cifar10"):
        tfnvp.load_pretrained("cifar10")


def test_pretrained_moons_look_like_moons(held_out):
    flow = tfnvp.load_pretrained("two-moons")
    samples = flow.sample(2000, seed=0).numpy()
    distances = np.linalg.norm(samples[:, None] - held_out["two-moons"][None, :2000], axis=-1)
    assert np.quantile(distances.min(axis=1), 0.9) < 0.1
