"""Trains the models that come with the package, and exports them with their cards.

Writes tfnvp/pretrained_models/NAME.keras and saved_models/NAME/1, of all models or of those named:

    python saved_models/train.py two-moons digits digits-nice

Trains in runs/NAME: what is interrupted goes on there, and what is finished is taken as it is.
`mnist` takes two processor cores more than an hour, `mnist-modern` four hours; both need MNIST from
TensorFlow Datasets.
"""

import dataclasses
import json
import pathlib
import shutil
import sys
import zipfile

import tensorflow as tf
from sklearn.datasets import make_moons

from tfnvp import pretrained, recipes
from tfnvp.data import Splits, load_named
from tfnvp.evaluation import evaluate
from tfnvp.runs import folder as run_folder
from tfnvp.runs import train_recipe as training

HERE = pathlib.Path(__file__).parent
SEED = 0
DRAWS = 8


def moons(rows, seed):
    """Two moons as scikit-learn makes them."""
    return make_moons(rows, noise=0.05, random_state=seed)[0].astype("float32")


def digits(recipe):
    """Returns recipe, data, and the card's words for the data and their split."""
    data = "scikit-learn's 8x8 handwritten digits, 17 grey levels, x = (level + u) / 17 in [0, 1)"
    split = "1293 train, 144 validation, 360 test, by numpy.random.RandomState(0).permutation"
    return recipes.get(recipe), load_named("digits"), data, split


def mnist(recipe):
    """The same for MNIST."""
    data = "MNIST, 28x28 handwritten digits, 256 grey levels, x = (level + u) / 256 in [0, 1)"
    split = "50000 train, 10000 validation (the last of the published training images), 10000 test"
    return recipe, load_named("mnist"), data, split


def two_moons():
    """The same for points in the plane."""
    recipe = dataclasses.replace(
        recipes.get("realnvp-table"),
        name="two-moons",
        dataset="two-moons",
        options={"couplings": 8, "hidden_units": (64, 64)},
        epochs=200,
    )
    splits = Splits("two-moons", moons(10_000, 0), moons(2_000, 1), moons(10_000, 2))
    data = "sklearn.datasets.make_moons(rows, noise=0.05), not scaled"
    split = "10000 train, 2000 validation, 10000 test: random_state 0, 1 and 2"
    return recipe, splits, data, split


MODERN = recipes.get("realnvp-mnist-modern")
MODELS = {
    "two-moons": two_moons,
    "digits": lambda: digits("realnvp-digits"),
    "digits-nice": lambda: digits("nice-digits"),
    "mnist": lambda: mnist(recipes.get("realnvp-mnist-small")),
    "mnist-modern": lambda: mnist(MODERN.replace(epochs=12, learning_rate=6e-3)),
}

# Trainings before those of MODELS: each starts from the weights of the last, with the next seed.
BEFORE = {
    "mnist-modern": (MODERN.replace(epochs=5), MODERN.replace(epochs=3, learning_rate=4e-3)),
}

# Of the others, each with a graph of all networks, the repository has no need.
SIGNATURES = {
    "mnist": ("log_prob", "encode", "decode", "sample_rows", "log_prob_uint8"),
    "mnist-modern": ("log_prob", "decode", "log_prob_uint8_draws"),
}


def round_kernels(flow):
    """Rounds what a SavedModel with bfloat16 weights stores rounded, so that both are the same."""
    for weight in flow.trainable_variables:
        if len(weight.shape) > 1:
            weight.assign(tf.cast(tf.cast(weight.value, tf.bfloat16), tf.float32))


def save(flow, file):
    """Saves a flow in a compressed `.keras` file: rounded weights are half zeros."""
    file.parent.mkdir(exist_ok=True)
    flow.save(file)
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def measured(flow, rows):
    """Returns the likelihood of test rows, of grey levels by both bounds."""
    found = evaluate(flow, rows, DRAWS)._asdict()
    found = {key: value for key, value in found.items() if value is not None}
    if flow.levels is None:
        return found
    weighted = evaluate(flow, rows, DRAWS, bound="iwae")
    return found | {
        "importance_weighted_bits_per_dim": weighted.bits_per_dim,
        "importance_weighted_bits_per_dim_standard_error": weighted.bits_per_dim_standard_error,
    }


def train(recipe, splits, folder, seed, start=None):
    """Trains into a folder, unless it has a finished run, and returns the folder."""
    if not (folder / "metrics.json").is_file():
        places = folder, folder / "saved_models"
        options = training.RunOptions(start_from=start)
        training.train(recipe, splits, *places, seed, 0, resume=True, options=options)
    return folder


def make(name):
    """Trains one model, and writes what `load_pretrained` and a server read."""
    recipe, splits, data, split = MODELS[name]()
    folder, seed, start, before = pathlib.Path("runs") / name, SEED, None, BEFORE.get(name, ())
    for earlier in before:
        start = train(earlier, splits, folder.with_name(f"{name}-seed-{seed}"), seed, start)
        seed += 1
    began = "; ".join(f"{r.epochs} epochs, rate {r.learning_rate:g}" for r in before)
    train(recipe, splits, folder, seed, start)
    flow, metrics = run_folder.load_model(folder), json.loads((folder / "metrics.json").read_text())
    # A copy has the weights, and not the optimizer's state.
    trained, flow = flow, type(flow).from_config(flow.get_config())
    flow.set_weights(trained.get_weights())
    round_kernels(flow)
    save(flow, pretrained.FOLDER / f"{name}.keras")
    options = dataclasses.asdict(recipe)
    options = {key: value for key, value in options.items() if key not in ("name", "description")}
    test = measured(flow, splits.test)
    card = {
        "What it is": f"{pretrained.PRETRAINED[name]}. Licence: Apache 2.0, as the package.",
        "Data": data,
        "Split": split,
        "Training": {
            **options.pop("options"),
            **options,
            **({"start_from": began} if began else {}),
            "seed": seed,
            "ran": metrics["epochs"],
        },
        "Test likelihood": {**test, "nats_before_rounding": metrics["test"]["nats"]},
        "How it was measured": "The mean of log p(x) over the test split, in nats; for images also "
        f"over {DRAWS} draws of noise, u = tf.random.stateless_uniform(shape, (2 + k, draw), "
        "alg='philox') for each 1000 images from the k-th on; importance-weighted is the logarithm "
        "of the mean density over draws. "
        "The standard error is that of the mean over data points.",
    }
    shutil.rmtree(HERE / name, ignore_errors=True)
    version = flow.export(
        HERE / name,
        signatures=SIGNATURES.get(name),
        weights_dtype="bfloat16",
        warmup=(1,),
        card=card,
    )
    print(version, test)


if __name__ == "__main__":
    for model in sys.argv[1:] or MODELS:
        make(model)
