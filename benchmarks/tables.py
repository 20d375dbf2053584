"""Flows against Gaussian mixtures on tables, by the likelihood of held-out rows."""

import functools
import math

import numpy as np
from sklearn.mixture import GaussianMixture

from tfnvp import recipes
from tfnvp.data import Splits
from tfnvp.data.splits import split_at_random
from tfnvp.runs import train_recipe as training

# Components and ridges of the mixtures, of which validation rows choose.
_COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
_RIDGES = (1e-6, 1e-4, 1e-2)

# Of columns that are more correlated than this only one is kept, as in the benchmark's GAS.
_CORRELATION = 0.98


def prepare(name, rows, seed):
    """Makes a table fit for densities, and standardises it by its training rows.

    Without constant columns, and with one of each correlated pair. Repeated values would have
    infinite density: each is spread uniformly over the way to the next larger one, so that the
    logarithm of a density is at most that of the probability of the cell.

    Returns:
      `Splits`; likelihoods are in nats in units of the training rows' standard deviations.
    """
    rows = np.asarray(rows, "float64")
    rows = rows[:, np.ptp(rows, axis=0) > 0]
    keep = []
    correlation = np.abs(np.corrcoef(rows.T))
    for i in range(rows.shape[1]):
        if all(correlation[i, j] <= _CORRELATION for j in keep):
            keep.append(i)
    generator = np.random.default_rng(seed)
    rows = np.stack([_spread(rows[:, i], generator) for i in keep], axis=1)
    # The division of the published results.
    splits = split_at_random(name, rows, division=None)
    mean, deviation = splits.train.mean(axis=0), splits.train.std(axis=0)
    parts = (((part - mean) / deviation).astype("float32") for part in splits[1:4])
    return Splits(name, *parts)


def _spread(column, generator):
    values, place = np.unique(column, return_inverse=True)
    gaps = np.diff(values, append=2 * values[-1] - values[-2])
    return column + generator.uniform(size=len(column)) * gaps[place]


def mixture(splits, seed):
    """Log-densities of the test rows under the mixture that validation rows like best."""
    best, choice = None, -math.inf
    for components in (n for n in _COMPONENTS if 10 * n <= len(splits.train)):
        for ridge in _RIDGES:
            model = GaussianMixture(components, reg_covar=ridge, random_state=seed)
            score = model.fit(splits.train).score(splits.validation)
            if score > choice:
                best, choice = model, score
    return best.score_samples(splits.test), {"components": best.n_components}


def gaussian(splits, seed):
    """Log-densities of the test rows under one Gaussian."""
    model = GaussianMixture(1, random_state=seed).fit(splits.train)
    return model.score_samples(splits.test), {}


def flow(splits, seed, name, folder, steps):
    """Log-densities of the test rows under a flow by the recipe `name`."""
    recipe = recipes.get(name).for_rows(len(splits.train))
    epochs = math.ceil(steps / math.ceil(len(splits.train) / recipe.batch_size))
    recipe = recipe.replace(epochs=epochs, patience=max(10, epochs // 4))
    trained, metrics, _, _ = training.train(
        recipe,
        splits,
        folder / f"{splits.name}-{name}-{seed}",
        folder / "saved_models",
        seed,
        verbose=0,
        resume=True,
    )
    chosen = {"epochs": metrics["epochs"], "validation_nats": -metrics["validation_loss"]}
    return trained.log_prob(splits.test).numpy(), chosen


def measure(name, rows, seed, flows, folder, steps):
    """Yields one result for each model: nats of the test rows with their standard error.

    After several flows, the one with the largest likelihood of the validation rows comes once more.
    """
    splits = prepare(name, rows, seed)
    models = {
        "one Gaussian": gaussian,
        "GaussianMixture": mixture,
    }
    for recipe in flows:
        models[recipe] = functools.partial(flow, name=recipe, folder=folder, steps=steps)
    of_flows = []
    for model, score in models.items():
        nats, chosen = score(splits, seed)
        result = {
            "table": name,
            "rows": len(rows),
            "columns": splits.event_shape[0],
            "seed": seed,
            "model": model,
            "nats": float(np.mean(nats, dtype="float64")),
            "standard_error": float(np.std(nats, ddof=1, dtype="float64") / math.sqrt(len(nats))),
            **chosen,
        }
        if model in flows:
            of_flows.append(result)
        yield result
    if len(of_flows) > 1:
        best = max(of_flows, key=lambda result: result["validation_nats"])
        yield {**best, "model": "chosen by validation rows", "recipe": best["model"]}


def markdown(results):
    """Table of test likelihoods, the best of each line in bold."""
    models = list(dict.fromkeys(result["model"] for result in results))
    lines = [f"| table | rows | columns | {' | '.join(models)} |", "|---" * (3 + len(models)) + "|"]
    for name in dict.fromkeys(result["table"] for result in results):
        of_table = {result["model"]: result for result in results if result["table"] == name}
        best = max(of_table.values(), key=lambda result: result["nats"])
        cells = []
        for model in models:
            result = of_table[model]
            text = f"{result['nats']:.2f} ± {result['standard_error']:.2f}"
            cells.append(f"**{text}**" if result is best else text)
        lines.append(f"| {name} | {best['rows']} | {best['columns']} | {' | '.join(cells)} |")
    return "\n".join(lines)
