"""The content of a model card, from the files in a run folder."""

import os
from typing import Any

from tfnvp import recipes
from tfnvp._atomic import reading
from tfnvp.runs.data_of_run import CHECKSUMS
from tfnvp.runs.folder import RunFolder

_NOT_ON_CARDS = ("options", "published", "source_of_data", "inodes", *CHECKSUMS)


def read_card(path: str | os.PathLike, weights_dtype: str = "float32") -> dict[str, Any] | None:
    """Returns what the files of a run say about its model, in the form that `flow.export` takes.

    Args:
      path: the run folder, or a model in it.
      weights_dtype: type that the weights are exported in.

    Returns:
      Dictionary of headings to texts or dictionaries, or None if there is no configuration.

    Raises:
      OSError: if one of the files is damaged.
    """
    run = RunFolder.of(path)
    config, metrics = run.config(), run.metrics()
    if not config:
        return None
    with reading(run.path):
        return _content(run, config, metrics, weights_dtype)


def _content(run, config, metrics, weights_dtype):
    training = {key: value for key, value in config.items() if key not in _NOT_ON_CARDS}
    if (division := training.pop("division", None)) is not None:
        training["rows divided by"] = division
    recipe = recipes.RECIPES.get(config["name"])
    if recipe is not None and recipe.dataset != config["dataset"]:
        training["description"] = f"the recipe {recipe.name}, on {config['dataset']}"
    card = {"Training": {**training, **config["options"]}}
    if metrics:
        likelihood = {k: v for k, v in metrics["test"].items() if v is not None}
        if weights_dtype != "float32":
            likelihood["measured with"] = f"float32 weights, before they became {weights_dtype}"
        card["Training"]["epochs run"] = metrics["epochs"]
        card["Split"] = {part: f"{rows} rows" for part, rows in metrics["rows"].items()}
        card["Test likelihood"] = likelihood
    if (reference := run.reference()) is not None:
        card |= _of_table(reference)
    return card


def _of_table(reference):
    """The order of the columns, and the log-density below which a row is an outlier."""
    threshold = reference.default_threshold
    low, high = reference.flagged_share(threshold)
    outliers = {
        "a row is an outlier where its log_prob is below": reference.cut(threshold),
        "which is a quantile of at most": threshold,
        "validation rows": len(reference.log_density),
        "share of usual rows below, 95 % interval for so many rows": f"{low:.2g} to {high:.2g}",
    }
    if reference.columns is None:
        return {"Outliers": outliers}
    return {"Columns of x, in this order": ", ".join(reference.columns), "Outliers": outliers}
