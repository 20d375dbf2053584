"""Which run to resume, what a resumed run trains, and whether it is the same training."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from tfnvp import recipes
from tfnvp.data.splits import Splits
from tfnvp.recipes import Recipe
from tfnvp.runs.folder import CONFIG, RUNS, RunFolder

# Entries of the configuration that change nothing in the training.
_IGNORED = {"description", "published", "source", "source_of_data", "tfnvp"}

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
    """

    recipe: Recipe
    source: dict[str, Any]
    seed: int
    output: pathlib.Path | None
    is_resumed: bool
    chosen_batch_size: bool

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

    Raises:
      ValueError: if there is no run to resume and nothing says what to train, or the run is
        finished.
    """
    source, stored = source or {}, {}
    output = None if output is None else pathlib.Path(output)
    if resume:
        output = output or newest_unfinished(recipe, source.get("dataset")).path
        stored = RunFolder(output).config()
        if stored:
            check_unfinished(RunFolder(output))
        elif recipe is None and not source:
            raise ValueError(
                f"no run in {output} to resume: give the folder of a run, or for a new run in this "
                "folder a recipe or data (`recipe`, `dataset`, `images`, `table`, `records`)"
            )
    if stored and recipe is None:
        chosen = Recipe(**{name: stored[name] for name in recipes.FIELDS if name in stored})
    elif recipe is None:
        chosen = recipes.default(_kind(source))
    else:
        chosen = recipes.get(recipe)
    return Plan(
        recipe=chosen.override(changes),
        source=source or stored.get("source_of_data", {}),
        seed=stored.get("seed", 0) if seed is None else seed,
        output=output,
        is_resumed=bool(stored),
        chosen_batch_size=bool(stored) or any(c.startswith("batch_size=") for c in changes),
    )


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
        if agrees and not run.is_finished and not run.is_in_use:
            found.append((file.stat().st_mtime, run.path))
    if not found:
        what = "".join(f" of {name}" for name in (recipe, dataset) if name is not None)
        raise ValueError(
            f"no unfinished run{what} in {runs}: give the folder of a run as `output`, or begin a "
            "new run without `resume`"
        )
    return RunFolder(max(found)[1])


def check_unfinished(run: RunFolder) -> None:
    """Raises `ValueError` if a run is finished."""
    if run.is_finished:
        raise ValueError(f"{run.path} is finished: there is nothing to resume")


def check_same(run: RunFolder, config: dict[str, Any]) -> None:
    """Raises `ValueError` if a run is finished, or began with another configuration.

    Args:
      run: the folder of the run.
      config: the configuration with which the training would continue.
    """
    check_unfinished(run)
    # As in the file: with lists in place of tuples.
    config = json.loads(json.dumps(config))
    stored = run.config()
    if stored.get("data_crc32") is None:  # A run of an older version, on records.
        config.pop("data_crc32", None)
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
        from tfnvp.data.records import describe

        return "table" if describe(source["records"])["levels"] is None else "images"
    return next((kind for kind in ("images", "table") if source.get(kind) is not None), "digits")


def _short(value):
    text = json.dumps(value)
    return text if len(text) < _LONGEST else f"{text[:_LONGEST]}..."
