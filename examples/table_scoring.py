"""Unusual rows of a table: a flow against scikit-learn's density models and isolation forest.

The table is scikit-learn's breast cancer data: 30 measurements of cell nuclei. Models see benign
cases only, and score benign and malignant cases that they have not seen. Everybody's settings are
chosen by the likelihood of the same validation rows (the isolation forest has no likelihood: it
gets its defaults and 500 trees).
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

import tfnvp
from tfnvp import scoring

FLOWS = [
    {"couplings": 4, "hidden_units": (units,), "dropout": dropout}
    for units, dropout in ((16, 0.2), (64, 0.2), (64, 0.5))
]


def split(seed):
    """Benign rows for training, validation and test (60/20/20), and all malignant ones.

    All in units of the training rows' standard deviations, so that nats are comparable.
    """
    x, benign = load_breast_cancer(return_X_y=True)
    usual = np.random.default_rng(seed).permutation(x[benign == 1])
    train, validation, test = np.split(usual, [int(0.6 * len(usual)), int(0.8 * len(usual))])
    mean, deviation = train.mean(0), train.std(0)
    parts = (train, validation, test, x[benign == 0])
    return [((part - mean) / deviation).astype("float32") for part in parts]


def fit_flow(kind, train, validation, seed, epochs, settings):
    """The flow whose validation rows are likeliest, of all settings."""
    # An "epoch" of ten passes: a validation after every few steps would take longer than the steps.
    batches = tf.data.Dataset.from_tensor_slices(train).shuffle(len(train)).repeat(10).batch(64)
    flows = []
    for options in settings:
        keras.utils.set_random_seed(seed)
        flow = kind(train.shape[1], partition="random", **options)
        flow.compile(keras.optimizers.AdamW(1e-3, weight_decay=1e-2, global_clipnorm=100.0))
        stopping = keras.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
        flow.fit(
            batches,
            epochs=epochs,
            validation_data=(validation, None),
            callbacks=[stopping],
            verbose=0,
        )
        flows.append((stopping.best, len(flows), flow))
    return min(flows)[-1]


def best(models, validation):
    return max(models, key=lambda model: model.score_samples(validation).mean())


def fit_mixture(train, validation, seed):
    return best(
        [
            GaussianMixture(k, covariance_type=kind, reg_covar=floor, random_state=seed).fit(train)
            for k in (1, 2, 3, 5, 8)
            for kind in ("full", "tied", "diag")
            for floor in (1e-4, 1e-3, 1e-2, 1e-1)
        ],
        validation,
    )


def fit_kernels(train, validation):
    return best(
        [KernelDensity(bandwidth=width).fit(train) for width in np.geomspace(0.1, 2.0, 20)],
        validation,
    )


def scorers(train, validation, seed, epochs, settings):
    """Name to a function from rows to log-densities (or to scores of no unit)."""
    flow = fit_flow(tfnvp.RealNVP, train, validation, seed, epochs, settings)
    whitened = [{**options, "whiten": True} for options in settings]
    nice = fit_flow(tfnvp.NICE, train, validation, seed, epochs, whitened)
    forest = IsolationForest(n_estimators=500, random_state=seed).fit(train)
    return {
        "Real NVP": lambda rows: flow.log_prob(rows).numpy(),
        "NICE, whitened": lambda rows: nice.log_prob(rows).numpy(),
        "GaussianMixture": fit_mixture(train, validation, seed).score_samples,
        "KernelDensity": fit_kernels(train, validation).score_samples,
        "IsolationForest": forest.score_samples,
    }


def measure(seed, epochs, settings):
    """For each model: nats and AUC, and the shares of test rows that a threshold of 5 % flags."""
    train, validation, test, malignant = split(seed)
    rows = np.concatenate([test, malignant])
    unusual = np.arange(len(rows)) >= len(test)
    results = {}
    for name, score in scorers(train, validation, seed, epochs, settings).items():
        scores = score(rows)
        reference = scoring.Reference(None, np.sort(score(validation)))
        flagged = scoring.quantiles(scores, reference) <= 0.05
        results[name] = (
            scores[~unusual].mean(dtype="float64"),
            roc_auc_score(unusual, -scores),
            flagged[~unusual].mean(),
            flagged[unusual].mean(),
        )
    return results


def main(seeds=5, epochs=100, settings=FLOWS):
    results = [measure(seed, epochs, settings) for seed in range(seeds)]
    print("| | nats, benign test rows | ROC-AUC | benign flagged | malignant flagged |")
    print("|---|---|---|---|---|")
    for name in results[0]:
        numbers = np.array([result[name] for result in results])
        mean = numbers.mean(axis=0)
        error = numbers.std(axis=0, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros_like(mean)
        nats, *shares = zip(mean, error, strict=True)
        cells = ["none" if name == "IsolationForest" else "{:.2f} ± {:.2f}".format(*nats)]
        cells += ["{:.3f} ± {:.3f}".format(*share) for share in shares]
        print(f"| {name} | {' | '.join(cells)} |")
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    quick = {"seeds": 1, "epochs": 1, "settings": FLOWS[:1]}
    main(**(quick if parser.parse_args().quick else {}))
