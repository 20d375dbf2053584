"""Which run to resume, what a resumed run trains, and whether it is the same training."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfnvp import recipes
from tfnvp.data.division import BY_CONTENT
from tfnvp.data.splits import Splits
from tfnvp.recipes import Recipe
from tfnvp.runs import data_of_run
from tfnvp.runs.folder import CONFIG, RUNS, RunFolder

# Entries of the configuration that change nothing in the training.
_IGNORED = {"description", "inodes", "published", "run", "source", "source_of_data", "tfnvp"}

# Texts longer than this are cut in messages.
_LONGEST = 200


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to train, from the arguments of a user and from the run to resume, if any.

    Attributes:
      recipe: the recipe.
      source: dictionary that says where the data comes from.
      seed: int.
      output: folder of the run, or None for a new one with a default name.
      is_resumed: whether `output` holds a run to resume.
      chosen_batch_size: whether the batch size is given, by the user or by the run.
      start_from: path of the flow whose weights the training begins with, or None.
      division: how the rows are divided, as for `split_at_random`: a run keeps its division.
    """

    recipe: Recipe
    source: dict[str, Any]
    seed: int
    output: pathlib.Path | None
    is_resumed: bool
    chosen_batch_size: bool
    start_from: str | None = None
    division: str | None = BY_CONTENT

    def recipe_for(self, splits: Splits) -> Recipe:
        """Returns the recipe, with smaller batches for small tables unless their size is given."""
        if self.recipe.dataset == "table" and not self.chosen_batch_size:
            return self.recipe.for_rows(len(splits.train))
        return self.recipe


def plan(
    recipe: str | None = None,
    changes: Sequence[str] = (),
    source: dict[str, Any] | None = None,
    seed: int | None = None,
    output: str | os.PathLike | None = None,
    resume: bool = False,
    start_from: str | os.PathLike | None = None,
) -> Plan:
    """Combines what a user gives with the configuration of the run to resume.

    Arguments that are not given keep their values in the run.

    Args:
      recipe: name of a recipe. Default: that of the run, or the one for the kind of data.
      changes: texts "name=value", see `tfnvp.recipes.Recipe.override`.
      source: dictionary that says where the data comes from, such as `{"table": "rows.csv"}`.
        Default: the source of the run, or the recipe's data set.
      seed: int. Default: that of the run, or 0.
      output: the run folder. Default, to resume: the newest unfinished run.
      resume: whether to resume the run in `output`. A folder without a run begins a new one.
      start_from: path of the flow whose weights a new run begins with.

    Raises:
      ValueError: if there is no run to resume and nothing says what to train, or the run is
        finished.
    """
    source, stored = source or {}, {}
    named = recipes.get(recipe) if recipe else None
    if resume:
        run = run_to_resume(output, recipe, source.get("dataset"))
        output, stored = run.path, run.config()
        if not (stored or recipe or source):
            raise ValueError(
                f"no run in {output} to resume: give the folder of a run, or for a new run in this "
                "folder a recipe or data (`recipe`, `dataset`, `images`, `table`, `records`)"
            )
    if stored and recipe in (None, stored.get("name")):
        chosen = _recipe_of(stored)
    else:
        chosen = named or recipes.default(_kind(source))
    return Plan(
        recipe=chosen.override(changes),
        source=run.source_of_data(source) if stored else source,
        seed=stored.get("seed", 0) if seed is None else seed,
        output=None if output is None else pathlib.Path(output),
        is_resumed=bool(stored),
        chosen_batch_size=bool(stored) or any(c.startswith("batch_size=") for c in changes),
        start_from=stored.get("start_from") if start_from is None else str(start_from),
        division=division_of(stored),
    )


def division_of(config: Mapping[str, Any]) -> str | None:
    """Returns how the rows of a run are divided; runs before `division` was stored have None.

    Args:
      config: the configuration of the run, empty where there is no run.
    """
    return config.get("division") if config else BY_CONTENT


def _recipe_of(config):
    """Returns the recipe of a run; fields that are younger than the run have their defaults."""
    recipe = Recipe(**{name: config[name] for name in recipes.FIELDS if name in config})
    if "run" in config or recipe.model not in ("nice", "real_nvp"):
        return recipe
    # Flows of 0.1.0 had a trained standardisation, or none.
    standardize = recipe.options.get("standardize", recipe.model == "real_nvp")
    standardize = "trained" if standardize is True else standardize
    return recipe.replace(options={**recipe.options, "standardize": standardize})


def run_to_resume(
    output: str | os.PathLike | None, recipe: str | None = None, dataset: str | None = None
) -> RunFolder:
    """Returns the folder in which a training resumes: `output`, or the newest unfinished run.

    Args:
      output: the run folder, which need not hold a run yet, or None.
      recipe: name of the recipe of the newest run. Default: any.
      dataset: name of its data set. Default: any.

    Raises:
      ValueError: if the run is finished, or there is none.
    """
    run = newest_unfinished(recipe, dataset) if output is None else RunFolder(output)
    if run.is_run and run.is_finished:
        raise ValueError(f"{run.path} is finished: there is nothing to resume")
    return run


def newest_unfinished(
    recipe: str | None = None, dataset: str | None = None, runs: str | os.PathLike = RUNS
) -> RunFolder:
    """Finds the unfinished run that began last and that no other process is training.

    Args:
      recipe: name of the run's recipe. Default: any.
      dataset: name of the run's data set. Default: any.
      runs: the folder of runs.

    Raises:
      ValueError: if there is no such run.
    """
    found = []
    for file in pathlib.Path(runs).glob(f"*/{CONFIG}"):
        run = RunFolder(file.parent)
        config = run.config()
        agrees = recipe in (None, config.get("name")) and dataset in (None, config.get("dataset"))
        if agrees and not run.is_finished:
            found.append((file.stat().st_mtime, run.path))
    for _, path in sorted(found, reverse=True):
        with contextlib.suppress(ValueError), RunFolder(path).held():
            return RunFolder(path)
    what = "".join(f" of {name}" for name in (recipe, dataset) if name is not None)
    raise ValueError(
        f"no unfinished run{what} in {runs}: give a folder as `output`, or leave out `resume`"
    )


def check_same(run: RunFolder, config: dict[str, Any]) -> None:
    """Raises `ValueError` if a run began with another configuration.

    Args:
      run: the folder of the run.
      config: the configuration with which the training would continue.
    """
    stored = run.config()
    # With lists in place of tuples, as in the file.
    stored |= json.loads(json.dumps(dataclasses.asdict(_recipe_of(stored))))
    config = json.loads(json.dumps(config))
    for name in data_of_run.CHECKSUMS:
        if stored.get(name) is None:  # A run of an older version.
            config.pop(name, None)
    differences = [
        f"{key} was {_short(stored.get(key))}, now {_short(config.get(key))}"
        for key in sorted((config.keys() | stored.keys()) - _IGNORED)
        if stored.get(key) != config.get(key)
    ]
    if differences:
        raise ValueError(
            f"{run.path} is another training: {'; '.join(differences)}. Settings that are not "
            "given again keep their values"
        )


def _kind(source):
    """Returns "images", "table" or "digits": the kind of data, by which the recipe is chosen."""
    if source.get("records") is not None:
        from tfnvp.data.record_description import describe

        return "table" if describe(source["records"])["levels"] is None else "images"
    return next((kind for kind in ("images", "table") if source.get(kind) is not None), "digits")


def _short(value):
    text = json.dumps(value)
    return text if len(text) < _LONGEST else f"{text[:_LONGEST]}..."
